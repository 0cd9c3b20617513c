"""Failed files and rejected rows, taken in again after a contract or the data was mended.

A failed file goes back to where it arrived; its row in the ledger counts the attempts. Rejected rows become a file of
their own, in the shape of the one they came from, under `raw/<dataset>/replays/`; its row in the ledger names that
file in `replay_of`. What is rejected again waits there in its turn. Nothing is taken twice: contents are known by hash.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import psycopg

from data_quality.contract import Contract, RejectBudget
from pipelines.ingestion import core, ledger
from pipelines.ingestion.cleaning import TIE
from pipelines.ingestion.content import Content, inspect, sha256
from pipelines.ingestion.model import FileOutcome, Limits, SourceFile, Stage
from pipelines.ingestion.objects import ObjectStore
from pipelines.ingestion.readers import delimited
from pipelines.ingestion.settling import REJECTED

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Entry:
    """A file in the ledger that can be replayed: it failed, or has rejected rows that nobody has taken in since."""

    id: int
    dataset: str
    path: str
    moved_to: str | None
    stage: Stage | None
    error: str | None
    rows_rejected: int
    rejects_uri: str | None
    attempts: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


class NotReplayable(Exception):
    """A file or its rows are no longer where the ledger says."""


def failed_files(
    connection: Connection, dataset: str, *, stage: Stage | None = None, match: str = "*", ids: tuple[int, ...] = ()
) -> list[Entry]:
    """Return the failed files of a dataset, oldest first.

    Args:
        connection: The warehouse.
        dataset: The dataset's name.
        stage: Only those that failed at this stage.
        match: Shell pattern for their names.
        ids: Only these rows of the ledger.
    """
    found = _entries(connection, dataset, "log.status = 'failed'", ids)
    return [entry for entry in found if stage in (None, entry.stage) and fnmatchcase(entry.name, match)]


def rejected_files(connection: Connection, dataset: str, *, match: str = "*", ids: tuple[int, ...] = ()) -> list[Entry]:
    """Return the loaded files of a dataset that have rejected rows which were not replayed yet, oldest first."""
    open_rejects = (
        "log.status = 'succeeded' AND log.rows_rejected > 0 AND log.rejects_uri IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM audit.file_ingestion_log AS later WHERE later.replay_of = log.id AND later.status = 'succeeded')"
    )
    return [entry for entry in _entries(connection, dataset, open_rejects, ids) if fnmatchcase(entry.name, match)]


def _entries(connection: Connection, dataset: str, condition: str, ids: tuple[int, ...]) -> list[Entry]:
    ledger.ensure_ledger(connection)
    rows = connection.execute(
        "SELECT id, dataset, path, moved_to, stage, error, rows_rejected, rejects_uri, attempts"
        f" FROM audit.file_ingestion_log AS log WHERE dataset = %s AND ({condition})"
        " AND (cardinality(%s::bigint[]) = 0 OR id = ANY(%s)) ORDER BY source_modified, id",
        [dataset, list(ids), list(ids)],
    ).fetchall()
    return [Entry(*row) for row in rows]


def put_back(entry: Entry, store: ObjectStore) -> SourceFile:
    """Move a failed file back to where it arrived, where ingestion takes it. Safe to repeat.

    Raises:
        NotReplayable: it is not in the bucket any more, or never was.
    """
    if not entry.path.startswith("s3://"):
        raise NotReplayable(f"{entry.path} is no object: load it with `dp ingest`")
    if entry.moved_to and store.find(entry.moved_to) is not None:
        found = store.find(entry.moved_to)
        store.move(entry.moved_to, entry.path, found.size if found else 0)
        store.delete(entry.moved_to + REJECTED)
    here = store.find(entry.path)
    if here is None:
        raise NotReplayable(f"{entry.moved_to or entry.path} is not in the bucket any more")
    return SourceFile(entry.path, entry.dataset, here.size, here.modified.isoformat())


def replay_rejected(
    entry: Entry,
    contract: Contract,
    connection: Connection,
    store: ObjectStore,
    *,
    mended: Path | None = None,
    run_id: str = "",
    limits: Limits | None = None,
) -> FileOutcome:
    """Take a file's rejected rows in again; those that still break the contract are rejected again.

    Args:
        entry: The file.
        contract: The contract as it is now.
        connection: The warehouse.
        store: The object store.
        mended: A file of the rows as somebody has mended them, instead of the rows as they were.
        run_id: The run, for the ledger.
        limits: How much may be taken for reading.

    Raises:
        NotReplayable: the rows, or the file with their header, are gone.
    """
    contract = _lenient(contract)
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        path = mended or rebuild(entry, contract, store, Path(scratch))
        uri = f"s3://{store.raw}/{entry.dataset}/replays/{entry.id}/{sha256(path)[:12]}-{path.name}"
        if store.find(uri) is None:  # the same rows have the same address: a replay can be repeated
            store.upload(path, uri)
    return core.ingest_file(uri, contract, connection, store, run_id=run_id, limits=limits, replay_of=entry.id)


def _lenient(contract: Contract) -> Contract:
    """Return the contract as rows that were rejected once need it: any number of them may be bad, in any format."""
    budget = RejectBudget(max_percent=100, max_rows=2**62)
    options = replace(contract.ingest, rejects=budget, format="auto", file=type(contract.ingest.file)())
    return replace(contract, ingest=options)


def rebuild(entry: Entry, contract: Contract, store: ObjectStore, folder: Path) -> Path:
    """Write a file's rejected rows, as they stood in it, as a file of the same shape and return its path.

    Raises:
        NotReplayable: the rows, or the file with their header, are gone.
    """
    original = _download(entry.moved_to or entry.path, store, folder / "original")
    rejects = _download(entry.rejects_uri or "", store, folder / "rejects.parquet")
    encoding = contract.ingest.csv.encoding
    content = inspect(original, folder / "original", encoding, Limits())
    stem = entry.name.partition(".")[0]
    if content.kind != "csv":
        path = folder / f"{stem}.ndjson"
        with path.open("w", encoding="utf-8") as out:
            out.writelines(" ".join(raw.splitlines()) + "\n" for raw in _raw(rejects))
        return path
    path = folder / f"{stem}.csv"
    with path.open("wb") as out:
        out.write(_head(content, contract).decode().encode(encoding or "utf-8"))
        for raw in _raw(rejects):
            out.write((raw + "\n").encode(encoding or "utf-8"))
    return path


def _head(content: Content, contract: Contract) -> bytes:
    """Return a CSV's lines before its first record."""
    form = delimited.layout(content, contract)
    with content.path.open("rb") as file:
        head = file.read(form.offset)
    return head if not head or head.endswith((b"\n", b"\r")) else head + b"\n"


def _raw(rejects: Path) -> Iterator[str]:
    """Yield the text of rejected rows. Those that lost a tie stay: by themselves they would win over the other row."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(rejects).iter_batches(columns=["raw", "rule"]):
        rows = zip(batch["raw"].to_pylist(), batch["rule"].to_pylist(), strict=True)
        yield from (raw for raw, rule in rows if raw is not None and rule != TIE)


def _download(uri: str, store: ObjectStore, path: Path) -> Path:
    try:
        if not uri.startswith("s3://"):
            return Path(uri).resolve(strict=True)
        store.download(uri, path)
    except FileNotFoundError as error:
        raise NotReplayable(f"{uri or 'what was rejected'} is not there any more") from error
    return path
