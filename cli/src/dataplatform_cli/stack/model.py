"""What a service of a stack is: the programs it runs, what it needs, how it is made ready, and how it is doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict


def nothing() -> None:
    """Stand in for a step that a service has no need of."""


@dataclass(frozen=True)
class Program:
    """One process under supervisor."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    """Run as this user (only where the stack runs as root)."""
    folder: Path = Path("/")
    stop_signal: str = "TERM"
    stop_seconds: int = 15


@dataclass(frozen=True)
class Service:
    """A part of the stack that is started, checked and stopped as one."""

    name: str
    title: str
    programs: list[Program]
    url: str
    ports: Mapping[str, int]
    """The variable of `.env` that moves each port → the port."""
    is_ready: Callable[[], bool]
    """Whether the service answers. May raise; that counts as no."""
    needs: tuple[str, ...] = ()
    """Services that have to run for this one to be of use."""
    after: tuple[str, ...] = ()
    """Those of them that have to be ready before this one can start."""
    prepare: Callable[[], None] = nothing
    """Runs before the programs start."""
    finish: Callable[[], None] = nothing
    """Runs once the service is ready, at every start: it has to be safe to repeat, and quick."""
    ready_seconds: float = 120


class ProcessStatus(TypedDict):
    """One program of a service."""

    name: str
    state: str
    pid: int | None
    memory_mb: float


class ServiceStatus(TypedDict):
    """A service: state is running, starting, stopped, done (ran once), degraded (a part of it is down) or failed."""

    name: str
    state: str
    url: str
    pid: int | None
    memory_mb: float
    processes: list[ProcessStatus]
