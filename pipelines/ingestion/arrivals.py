"""The files that wait in a dataset's `incoming/` folder, and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterable

from data_quality.contract import Contract
from pipelines.ingestion.model import SourceFile
from pipelines.ingestion.objects import ObjectStore


def discover(store: ObjectStore, contract: Contract) -> list[SourceFile]:
    """Return the files waiting in `raw/<dataset>/incoming/`, oldest first (of the same age: by name)."""
    found = store.list(store.raw, f"{contract.name}/incoming/")
    files = [SourceFile(entry.uri, contract.name, entry.size, entry.modified.isoformat()) for entry in found]
    return sorted(files, key=lambda file: (file.modified, file.uri))


def plan(files: Iterable[SourceFile], max_files: int = 200, max_bytes: int = 256 * 1024**2) -> list[list[SourceFile]]:
    """Cut files into batches of at most so many files and bytes, keeping their order. A larger file stands alone."""
    batches: list[list[SourceFile]] = []
    size = 0
    for file in files:
        if not batches or len(batches[-1]) >= max_files or size + file.size > max_bytes:
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file.size
    return batches
