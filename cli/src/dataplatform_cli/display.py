"""What the commands print while they work and when they are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.stack.lifecycle import Progress, Watcher

REDIRECTED_WIDTH = 140
"""Columns where the output goes to a file or a program, which has no width of its own."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else REDIRECTED_WIDTH)
"""For results."""
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else REDIRECTED_WIDTH)
"""For progress and errors, so that --json leaves standard output to the result alone."""

MARKS = {"ready": "[green]✔[/]", "failed": "[red]✘[/]", "waiting": "[dim]·[/]", "cancelled": "[dim]-[/]"}


def print_error(error: PlatformError) -> None:
    """Print what is wrong and what helps."""
    err.print("[red]error:[/] ", end="")
    err.print(str(error), markup=False, soft_wrap=True)
    if error.cure:
        err.print("[yellow]cure:[/]  ", end="")
        err.print(error.cure, markup=False, soft_wrap=True)


@contextmanager
def start_display() -> Iterator[Watcher]:
    """Yield a watcher that shows each service with its seconds: live on a terminal, a line each elsewhere."""
    if not err.is_terminal:
        yield _LineWatcher()
        return
    with Live(console=err, refresh_per_second=8, transient=False) as live:
        yield lambda progress: live.update(_start_table(progress))


class _LineWatcher:
    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __call__(self, progress: list[Progress]) -> None:
        for item in progress:
            name = item.service.name
            if item.phase in ("ready", "failed") and self._seen.get(name) != item.phase:
                seconds = f" {item.seconds:.1f} s" if item.seconds is not None else ""
                err.print(f"  {MARKS[item.phase]} {item.service.title}: {item.phase}{seconds}")
            self._seen[name] = item.phase


def _start_table(progress: list[Progress]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for item in progress:
        if item.seconds is not None:
            seconds = f"{item.seconds:.1f} s"
        else:
            seconds = f"{time.monotonic() - item.started:.0f} s" if item.started else ""
        mark = MARKS.get(item.phase, "[cyan]…[/]")
        where = item.service.url if item.phase == "ready" else item.phase
        table.add_row(f"  {mark}", item.service.title, seconds, f"[dim]{where}[/]")
    return table
