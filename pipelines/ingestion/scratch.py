"""Folders for work in progress, named after their process, so that what a killed one left can be told and removed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = re.compile(r"ingestion-(\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that is removed at the end, and remove those of processes that are no more."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=prefix()) as folder:
        yield Path(folder)


def prefix() -> str:
    """Return how the name of this process's folders begins."""
    return f"ingestion-{os.getpid()}-"


def sweep() -> None:
    """Remove the folders of processes that are no more."""
    for folder in Path(tempfile.gettempdir()).glob("ingestion-*"):
        found = _NAME.fullmatch(folder.name)
        if found and not _is_alive(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
