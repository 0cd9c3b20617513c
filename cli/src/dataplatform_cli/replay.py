"""`dp replay`: failed files and rejected rows, taken in again by hand."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rich.table import Table

from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.ingest import find_contract, object_store, report, told
from dataplatform_cli.settings import StackSettings

if TYPE_CHECKING:
    from pipelines.ingestion.model import FileOutcome
    from pipelines.ingestion.replay import Entry


def waiting(settings: StackSettings, dataset: str, rejected: bool, match: str, ids: Sequence[int]) -> list[Entry]:
    """Return what can be replayed: failed files, or files with rejected rows."""
    from pipelines.ingestion import core, replay

    find_contract(settings, dataset)
    find = replay.rejected_files if rejected else replay.failed_files
    with core.connected(settings.dsn("loader")) as connection:
        return find(connection, dataset, match=match, ids=tuple(ids))


def replay_entries(
    settings: StackSettings, dataset: str, entries: Sequence[Entry], rejected: bool, mended: Path | None
) -> list[dict[str, Any]]:
    """Take entries in again and return what became of each.

    Raises:
        PlatformError: a mended file was given for more than one entry, or for a failed one.
    """
    from pipelines.ingestion import core, replay

    if mended is not None and (not rejected or len(entries) != 1):
        raise PlatformError("a mended file stands for the rejected rows of one file", "give --rejected and one --id")
    contract, store, run_id = find_contract(settings, dataset), object_store(settings), str(uuid4())
    outcomes: list[FileOutcome | OSError] = []
    with core.connected(settings.dsn("loader")) as connection, err.status("replaying") as status:
        for number, entry in enumerate(entries, 1):
            status.update(f"replaying {entry.name} ({number} of {len(entries)})")
            try:
                if rejected:
                    options: dict[str, Any] = {"mended": mended, "run_id": run_id}
                    outcomes.append(replay.replay_rejected(entry, contract, connection, store, **options))
                else:
                    source = replay.put_back(entry, store)
                    outcomes += core.ingest_batch([source], contract, connection, store, run_id=run_id)
            except replay.NotReplayable as error:
                outcomes.append(FileNotFoundError(str(error)))
    report(settings, contract, [item for item in outcomes if not isinstance(item, OSError)], run_id)
    return [told(entry.path, outcome) | {"id": entry.id} for entry, outcome in zip(entries, outcomes, strict=True)]


def export(settings: StackSettings, dataset: str, entries: Sequence[Entry], folder: Path) -> list[Path]:
    """Write each file's rejected rows as a file of its shape, to be mended by hand. Overwrites nothing.

    Raises:
        PlatformError: a file is there already, or the rows are gone.
    """
    from pipelines.ingestion import replay

    contract, store = find_contract(settings, dataset), object_store(settings)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for entry in entries:
        with tempfile.TemporaryDirectory(prefix="export-") as scratch:
            try:
                path = replay.rebuild(entry, contract, store, Path(scratch))
            except replay.NotReplayable as error:
                raise PlatformError(str(error)) from error
            target = folder / f"{entry.id}-{path.name}"
            if target.exists():
                raise PlatformError(f"{target} is there already", "give another folder")
            shutil.move(path, target)
            written.append(target)
    return written


def print_entries(entries: Sequence[Entry], rejected: bool) -> None:
    """Print what waits."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("id", "file", "rejected" if rejected else "stage", "" if rejected else "error"):
        table.add_column(name, justify="right" if name in ("id", "rejected") else "left")
    for entry in entries:
        facts = (f"{entry.rows_rejected:,}", "") if rejected else (entry.stage or "", entry.error or "")
        table.add_row(str(entry.id), entry.name, *facts)
    out.print(table)
