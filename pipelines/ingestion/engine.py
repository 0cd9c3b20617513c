"""The embedded engine: one DuckDB a process, since making one costs more than reading a small file."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from typing import Any

import duckdb

from pipelines.ingestion.scratch import prefix

MEMORY_LIMIT = "256MB"
THREADS = 2


def engine() -> duckdb.DuckDBPyConnection:
    """Return a connection of its own to the process's DuckDB; close it to drop its temporary tables."""
    connection = _database(os.getpid()).cursor()  # after a fork the parent's database must not be used
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@cache  # a forked child must not close its parent's either
def _database(process: int) -> duckdb.DuckDBPyConnection:
    spill = tempfile.mkdtemp(prefix=prefix())
    atexit.register(_remove, spill, process)
    config: dict[str, Any] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": THREADS,
        "temp_directory": spill,
        "preserve_insertion_order": True,
        "autoinstall_known_extensions": False,  # nothing is fetched at run time
    }
    return duckdb.connect(config=config)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
