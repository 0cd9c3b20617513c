"""A file of JSON lines, one an event, span or point; any number of processes may write to one."""

from __future__ import annotations

import os
from pathlib import Path

from data_lineage_hub_sdk.batch import Batch, Outcome


class FileTransport:
    """Appends to a file; a batch is one write, so that lines of several processes don't mix.

    Args:
        path: the file; its folder is made. It is readable by its owner only.
    """

    otlp = False

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def send(self, batch: Batch) -> Outcome:
        """Append a batch."""
        lines = b"".join(item + b"\n" for item in batch.items)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                written = file.write(lines)
        except OSError as error:
            return Outcome("retry", f"{self._path}: {error.strerror}")
        return Outcome("sent") if written == len(lines) else Outcome("retry", f"{self._path}: the disk is full")

    def close(self) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing."""
