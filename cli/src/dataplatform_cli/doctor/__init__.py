"""`dp doctor`: what would slow the platform here, what would stop it, and the cure of each."""

from __future__ import annotations

from dataplatform_cli.doctor import containers, machine
from dataplatform_cli.doctor.finding import Finding, print_findings, stop_if_hopeless
from dataplatform_cli.settings import StackSettings

__all__ = ["Finding", "examine", "print_findings", "stop_if_hopeless"]


def examine(settings: StackSettings) -> list[Finding]:
    """Return what was found, for both kinds of stack."""
    return [*machine.examine(settings), *containers.examine(settings)]
