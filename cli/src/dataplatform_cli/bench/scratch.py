"""Servers for a benchmark, configured as the local stack's, in a folder that goes afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import lifecycle
from dataplatform_cli.stack.ports import free_port_above

_FIRST_PORT = 42_000


@contextmanager
def scratch_stack(settings: StackSettings, services: tuple[str, ...]) -> Iterator[tuple[StackSettings, Path]]:
    """Start services of their own; give their settings and the folder. The repository's stack is not touched."""
    folder = Path(tempfile.mkdtemp(prefix="dp-bench-"))
    folder.chmod(0o755)  # the user who runs Postgres must be able to enter
    port = _FIRST_PORT
    ports = {}
    for name in ("postgres", "minio", "metadata", "airflow", "superset"):
        port = free_port_above(port)
        ports[f"{name}_port"] = port
        port += 1
    scratch = settings.model_copy(update={"dp_home": folder / "stack", **ports})
    try:
        lifecycle.up(scratch, services)
        yield scratch, folder
    finally:
        lifecycle.destroy(scratch)
        shutil.rmtree(folder, ignore_errors=True)
