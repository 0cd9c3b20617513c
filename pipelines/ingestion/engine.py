"""The embedded engine: one DuckDB a process, since making one costs more than reading a small file."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from typing import Any

import duckdb

MEMORY_LIMIT = "512MB"
THREADS = 2


def engine() -> duckdb.DuckDBPyConnection:
    """Return a connection of its own to the process's DuckDB; close it to drop its temporary tables."""
    connection = _database(os.getpid()).cursor()  # after a fork the parent's database must not be used
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@lru_cache(maxsize=1)
def _database(process: int) -> duckdb.DuckDBPyConnection:
    spill = tempfile.mkdtemp(prefix=f"ingest-spill-{process}-")
    atexit.register(shutil.rmtree, spill, ignore_errors=True)
    config: dict[str, Any] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": THREADS,
        "temp_directory": spill,
        "preserve_insertion_order": True,
        "autoinstall_known_extensions": False,  # nothing is fetched at run time
    }
    return duckdb.connect(config=config)
