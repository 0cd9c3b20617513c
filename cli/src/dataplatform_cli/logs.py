"""Show what the stack's programs have printed."""

from __future__ import annotations

import time
from pathlib import Path

from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.supervisor import Supervisor, tail


def show_logs(settings: StackSettings, program: str | None, lines: int, follow: bool) -> None:
    """Print the end of one program's log or of all, and keep on where asked to.

    Args:
        settings: The stack.
        program: A program, or a service (`airflow` is its four programs), or None for all.
        lines: How many lines of each.
        follow: Print what comes until Ctrl-C.

    Raises:
        PlatformError: there is no such log.
    """
    folder = Supervisor(settings).logs
    paths = sorted(folder.glob("*.log"))
    if program:
        paths = [path for path in paths if path.stem == program or path.stem.startswith(f"{program}-")]
    if not paths:
        known = ", ".join(path.stem for path in sorted(folder.glob("*.log"))) or "none yet: `dp up` starts the stack"
        raise PlatformError(f"there is no log of '{program or 'the stack'}'", f"logs there are: {known}")
    for path in paths:
        _print_block(path, tail(path, lines))
    if follow:
        _follow(paths)


def _follow(paths: list[Path]) -> None:
    positions = {path: path.stat().st_size for path in paths}
    while True:
        for path, position in positions.items():
            size = path.stat().st_size if path.exists() else 0
            if size == position:
                continue
            with path.open("rb") as file:
                file.seek(position if size > position else 0)  # a smaller file has been rotated
                _print_block(path, file.read().decode("utf-8", "replace").rstrip("\n"))
                positions[path] = file.tell()
        time.sleep(0.5)


def _print_block(path: Path, text: str) -> None:
    for line in text.splitlines():
        out.print(f"[cyan]{path.stem:>22}[/] ", end="")
        out.print(line, markup=False, soft_wrap=True)
