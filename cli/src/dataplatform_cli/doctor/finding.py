"""What was looked at, and how it is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rich.console import Console

from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError

MARKS = {"ok": "[green]✔[/]", "warn": "[yellow]![/]", "stop": "[red]✘[/]"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. Level: ok, warn (it will run, worse) or stop (it can't run)."""

    check: str
    level: str
    message: str
    cure: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the finding as JSON-ready words."""
        return asdict(self)


def print_findings(findings: list[Finding], console: Console = out) -> None:
    """Print one line a finding, its cure below it."""
    for finding in findings:
        console.print(f"  {MARKS[finding.level]} [bold]{finding.check:<13}[/]{finding.message}", soft_wrap=True)
        if finding.cure:
            console.print(f"    [yellow]cure:[/] {finding.cure}", soft_wrap=True)


def stop_if_hopeless(findings: list[Finding]) -> None:
    """Raise what keeps the stack from running, if anything does.

    Raises:
        PlatformError: with the message and the cure of every finding of level stop.
    """
    hopeless = [finding for finding in findings if finding.level == "stop"]
    if hopeless:
        raise PlatformError("; ".join(f.message for f in hopeless), "; ".join(f.cure for f in hopeless))
