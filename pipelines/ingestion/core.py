"""Ingestion: files → contract → clean Parquet → warehouse and ledger in one transaction → file moved.

Each stage is a function whose arguments and result are JSON-serialisable, so that each can be a task of its own:
`discover` → `plan` → `prepare` → `load` → `settle`. A stage can be repeated after a crash at any point: nothing
counts before the transaction of `load`, and everything after it can be made good from the ledger.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psycopg

from data_quality.contract import Contract
from pipelines.ingestion import ledger
from pipelines.ingestion.arrivals import discover, plan
from pipelines.ingestion.content import inspect, sha256
from pipelines.ingestion.model import FileOutcome, FileRefused, PreparedFile, SourceFile, Stage
from pipelines.ingestion.objects import ObjectStore, split

__all__ = ["connected", "discover", "ingest_batch", "ingest_file", "load", "plan", "prepare", "settle"]

MAX_UNPACKED = 64 * 1024**3

GONE = "is no longer there: moved or deleted before it was read"

Dsn = str | psycopg.Connection[Any]  # the warehouse's URL, or a connection in autocommit mode to use again


def prepare(
    source: SourceFile,
    contract: Contract,
    store: ObjectStore | None,
    *,
    dsn: Dsn | None = None,
    folder: Path | None = None,
) -> PreparedFile:
    """Validate and clean a file and put the result into the staging bucket.

    Args:
        source: The file.
        contract: Its dataset's contract.
        store: The object store; may be None for a local file, then `folder` is given.
        dsn: The warehouse, to recognise content that is loaded already without reading it.
        folder: Where the Parquet stays if there is no store.

    Returns:
        The prepared file; bad data is an outcome (`failed` with stage and error), not an exception.
    """
    began, started = time.monotonic(), dt.datetime.now(dt.UTC).isoformat()
    with tempfile.TemporaryDirectory(prefix="ingest-") as scratch:
        work = Path(scratch)
        try:
            path = _fetch(source, store, work)
        except FileNotFoundError:
            return PreparedFile(source, "", contract.version, "gone", error=GONE, started_at=started)
        base = PreparedFile(source, sha256(path), contract.version, "failed", started_at=started)
        if dsn and _is_loaded(dsn, contract, base.content_hash):
            prepared = replace(base, status="duplicate")
        else:
            prepared = _prepare(base, path, contract, store, work, folder)
    return replace(prepared, seconds=round(time.monotonic() - began, 3))


def _fetch(source: SourceFile, store: ObjectStore | None, work: Path) -> Path:
    if not source.is_object:
        return Path(source.uri)
    if store is None:
        raise ValueError(f"{source.uri} needs an object store")
    path = work / "source"
    store.download(source.uri, path)
    return path


@contextmanager
def connected(dsn: Dsn) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to the warehouse: the caller's own, left open, or a new one."""
    if isinstance(dsn, str):
        options = {"options": "-c timezone=UTC", "application_name": "dataplatform-ingestion"}
        with psycopg.connect(dsn, autocommit=True, **options) as connection:  # type: ignore[arg-type]
            yield connection
    else:
        yield dsn


def _is_loaded(dsn: Dsn, contract: Contract, content_hash: str) -> bool:
    with connected(dsn) as connection:
        row = connection.execute("SELECT to_regclass('audit.file_ingestion_log') IS NOT NULL").fetchone()
        ready = row is not None and row[0]
        return bool(ready and ledger.find_succeeded(connection, contract.name, content_hash))


def _prepare(
    base: PreparedFile, path: Path, contract: Contract, store: ObjectStore | None, work: Path, folder: Path | None
) -> PreparedFile:
    from pipelines.ingestion.cleaning import BudgetExceeded

    staged, rejects = work / "staged.parquet", work / "rejects.parquet"
    try:
        prepared = _clean(base, path, contract, work, staged, rejects)
    except BudgetExceeded as refused:
        result = refused.result
        counted = replace(base, rows_read=result.rows_read, rows_rejected=result.rows_rejected)
        prepared = replace(counted, stage="validation", error=str(refused), rejects_by_rule=result.rejects_by_rule)
    except FileRefused as refused:
        return replace(base, stage=refused.stage, error=str(refused))
    except Exception as error:  # whatever a hostile file provokes is the file's failure, not the batch's
        return replace(base, stage="processing", error=f"{type(error).__name__}: {_brief(error)}")
    name = f"{base.source.dataset}/{{}}dt={base.source.day}/{base.content_hash}.parquet"
    if prepared.status == "staged":
        prepared = replace(prepared, staged_uri=_keep(staged, name.format(""), store, folder))
    if rejects.exists():
        prepared = replace(prepared, rejects_uri=_keep(rejects, name.format("rejected/"), store, folder))
    return prepared


def _keep(path: Path, name: str, store: ObjectStore | None, folder: Path | None) -> str:
    if store is not None:
        uri = f"s3://{store.staging}/{name}"
        store.upload(path, uri)
        return uri
    if folder is None:
        raise ValueError("without an object store a folder for the staged Parquet is needed")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    return str(target)


def _clean(base: PreparedFile, path: Path, contract: Contract, work: Path, staged: Path, rejects: Path) -> PreparedFile:
    from pipelines.ingestion.cleaning import clean
    from pipelines.ingestion.engine import engine
    from pipelines.ingestion.readers import DELIMITERS, read

    csv = contract.ingest.csv
    delimiters = (csv.delimiter,) if csv.delimiter else DELIMITERS
    content = inspect(path, work, csv.encoding, csv.quote, delimiters, MAX_UNPACKED)
    with engine() as connection:
        source = read(content, contract, connection, work)
        result = clean(source, contract, connection, staged, rejects)
    return replace(
        base,
        status="staged",
        rows_read=result.rows_read,
        rows_rejected=result.rows_rejected,
        rows_deduplicated=result.rows_deduplicated,
        rows_staged=result.rows_staged,
        rejects_by_rule=result.rejects_by_rule,
        notes={"format": content.kind, **source.notes},
    )


def load(
    prepared: PreparedFile, contract: Contract, dsn: Dsn, store: ObjectStore | None, *, run_id: str = ""
) -> FileOutcome:
    """Load a prepared file: rows, ledger entry and rejected rows in one transaction. A failed one passes through.

    Raises:
        psycopg.OperationalError: the database is away, or broke the transaction off; try again.
    """
    began = time.monotonic()
    outcome = _outcome(prepared)
    if prepared.status == "failed":
        return outcome
    try:
        with tempfile.TemporaryDirectory(prefix="load-") as scratch:
            outcome = _load(prepared, outcome, contract, dsn, store, Path(scratch), run_id)
    except psycopg.OperationalError:
        raise
    except Exception as error:
        outcome = replace(outcome, status="failed", stage="loading", error=f"{type(error).__name__}: {_brief(error)}")
    return replace(outcome, seconds=round(prepared.seconds + time.monotonic() - began, 3))


_STATUS: dict[str, Literal["succeeded", "failed", "duplicate"]] = {
    "staged": "succeeded",
    "failed": "failed",
    "duplicate": "duplicate",
    "gone": "failed",
}


def _outcome(prepared: PreparedFile) -> FileOutcome:
    source = prepared.source
    return FileOutcome(
        path=source.uri,
        dataset=source.dataset,
        status=_STATUS[prepared.status],
        stage="validation" if prepared.status == "gone" else prepared.stage,
        error=prepared.error,
        rows_read=prepared.rows_read,
        rows_rejected=prepared.rows_rejected,
        rows_deduplicated=prepared.rows_deduplicated,
        seconds=prepared.seconds,
        content_hash=prepared.content_hash,
        contract_version=prepared.contract_version,
        size=source.size,
        modified=source.modified,
        rejects_uri=prepared.rejects_uri,
        rejects_by_rule=prepared.rejects_by_rule,
        started_at=prepared.started_at,
    )


def _load(
    prepared: PreparedFile,
    outcome: FileOutcome,
    contract: Contract,
    dsn: Dsn,
    store: ObjectStore | None,
    work: Path,
    run_id: str,
) -> FileOutcome:
    from pipelines.ingestion.warehouse import load_rows

    staged = _local(prepared.staged_uri, store, work / "staged.parquet")
    rejects = _local(prepared.rejects_uri, store, work / "rejects.parquet")
    with connected(dsn) as connection:
        ledger.ensure_schema(connection, contract)
        if prepared.status == "gone":  # the task is run again after it was killed: the ledger knows
            return ledger.find_delivery(connection, prepared.source) or outcome
        with connection.transaction():
            ledger.lock(connection, f"table {contract.table}")
            entry = ledger.find_succeeded(connection, contract.name, prepared.content_hash)
            if entry is not None:
                return _known(connection, entry, outcome, run_id)
            if staged is None:
                raise FileRefused(
                    "was recognised as loaded, but the ledger no longer has it: prepare it again", "loading"
                )
            entry_id = ledger.new_id(connection, outcome)
            done = load_rows(connection, contract, staged, prepared.rows_staged, entry_id)
            outcome = replace(
                outcome, rows_inserted=done.inserted, rows_updated=done.updated, rows_unchanged=done.unchanged
            )
            ledger.record(connection, entry_id, outcome, run_id, rejects)
    return outcome


def _known(connection: Any, entry: ledger.Entry, outcome: FileOutcome, run_id: str) -> FileOutcome:
    """The content is in. By this very delivery: its load was cut short after the commit. Else it is a duplicate."""
    if entry.is_delivery(outcome.source):
        return replace(outcome, status="succeeded", stage=None, error=None, **entry.counts.to_dict())
    outcome = replace(
        outcome, status="duplicate", rows_read=0, rows_rejected=0, rows_deduplicated=0, rejects_by_rule={}
    )
    ledger.record(connection, ledger.new_id(connection, outcome), outcome, run_id, None)
    return outcome


def _local(uri: str | None, store: ObjectStore | None, path: Path) -> Path | None:
    if uri is None or not uri.startswith("s3://"):
        return None if uri is None else Path(uri)
    if store is None:
        raise ValueError(f"{uri} needs an object store")
    store.download(uri, path)
    return path


def settle(
    outcome: FileOutcome, contract: Contract, dsn: Dsn, store: ObjectStore | None, *, run_id: str = ""
) -> FileOutcome:
    """Record a failure in the ledger and move the file to `processed/` or `failed/<stage>_failed/`. Safe to repeat."""
    with connected(dsn) as connection:
        if outcome.status == "failed":
            _record_failure(outcome, connection, store, run_id)
        if store is None or not _is_incoming(outcome.source, store):
            return outcome
        target = _move(outcome, store)
        if target is not None:
            ledger.record_move(connection, outcome, target)
    return replace(outcome, moved_to=target)


def _record_failure(outcome: FileOutcome, connection: Any, store: ObjectStore | None, run_id: str) -> None:
    with tempfile.TemporaryDirectory(prefix="settle-") as scratch, connection.transaction():
        ledger.lock(connection, "ddl")
        ledger.ensure_schemas(connection)
        ledger.ensure_ledger(connection)
        recorded = ledger.find_delivery(connection, outcome.source)
        if recorded is not None and recorded.started_at == outcome.started_at:
            return  # this very attempt, settled a second time
        rejects = _local(outcome.rejects_uri, store, Path(scratch) / "rejects.parquet")
        ledger.record(connection, ledger.new_id(connection, outcome), outcome, run_id, rejects)


def _is_incoming(source: SourceFile, store: ObjectStore) -> bool:
    return source.uri.startswith(f"s3://{store.raw}/{source.dataset}/incoming/")


def _folder(stage: Stage | None) -> str:
    return f"failed/{stage}_failed" if stage else "processed"


def _move(outcome: FileOutcome, store: ObjectStore) -> str | None:
    """Move a file out of incoming, never over another one, and return its new address, None if it is not known."""
    source = outcome.source
    target = f"s3://{store.raw}/{source.dataset}/{_folder(outcome.stage)}/dt={source.day}/{source.name}"
    here, there = store.find(source.uri), store.find(target)
    if here is None:  # a move cut short after its delete, or somebody took it away
        return target if there is not None else None
    if there is not None and (there.size, there.etag) != (here.size, here.etag):
        stem, dot, extension = target.rpartition("/")[2].partition(".")
        target = f"{target.rpartition('/')[0]}/{stem}.{outcome.content_hash[:12]}{dot}{extension}"
    store.move(source.uri, target)
    return target


def ingest_batch(
    sources: Iterable[SourceFile], contract: Contract, dsn: Dsn, store: ObjectStore | None, *, run_id: str = ""
) -> list[FileOutcome]:
    """Take files in, one after the other. A broken one fails alone; a service that is away stops the batch."""
    outcomes = []
    with connected(dsn) as connection:
        for source in sources:
            prepared = prepare(source, contract, store, dsn=connection)
            outcome = load(prepared, contract, connection, store, run_id=run_id)
            outcomes.append(settle(outcome, contract, connection, store, run_id=run_id))
    return outcomes


def ingest_file(
    path: str, contract: Contract, dsn: Dsn, store: ObjectStore | None = None, *, run_id: str = ""
) -> FileOutcome:
    """Take one file in: a local path (no store needed, it stays where it is) or `s3://bucket/key`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if path.startswith("s3://"):
        if store is None:
            raise ValueError(f"{path} needs an object store")
        split(path)
        found = store.find(path)
        if found is None:
            raise FileNotFoundError(f"no object {path}")
        source = SourceFile(path, contract.name, found.size, found.modified.isoformat())
        return ingest_batch([source], contract, dsn, store, run_id=run_id)[0]
    file = Path(path).resolve(strict=True)
    status = file.stat()
    modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).isoformat()
    source = SourceFile(str(file), contract.name, status.st_size, modified)
    with tempfile.TemporaryDirectory(prefix="staged-") as folder:
        prepared = prepare(source, contract, None, dsn=dsn, folder=Path(folder))
        return settle(load(prepared, contract, dsn, None, run_id=run_id), contract, dsn, None, run_id=run_id)


def _brief(error: BaseException) -> str:
    """Return an error's first lines, without values of rows that Postgres puts into its details."""
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else ""
