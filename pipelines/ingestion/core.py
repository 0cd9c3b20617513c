"""Ingestion: files → contract → clean Parquet → warehouse and ledger in one transaction → files moved.

`ingest_batch` does all of it for a batch of files. Small files go together, up to GROUP_FILES in a transaction; a
large one streams: while it is still being read its first rows are on their way into the table. Nothing counts before
the transaction commits, and what comes after (the moves) can be made good from the ledger, so a batch can be repeated
after a crash at any point. A broken file fails alone, as an outcome; a service that is away is an exception.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from data_quality.contract import Contract
from pipelines.ingestion import ledger
from pipelines.ingestion.arrivals import discover, plan
from pipelines.ingestion.groups import TRANSFERS, Fetched, fetch, groups, split_rejects
from pipelines.ingestion.loading import Loaded, Rows, keyed_later, load_rows
from pipelines.ingestion.model import FileOutcome, FileRefused, Limits, PreparedFile, SourceFile
from pipelines.ingestion.objects import ObjectStore, split
from pipelines.ingestion.sandbox import Reading, Request, reader
from pipelines.ingestion.scratch import scratch_folder
from pipelines.ingestion.settling import GONE, settle, settle_all

__all__ = [
    "GONE", "connected", "discover", "ingest_batch", "ingest_file", "plan", "prepare", "settle",
]  # fmt: skip

Dsn = str | psycopg.Connection[Any]  # the warehouse's URL, or a connection in autocommit mode to use again


class _Refused(Exception):
    """A file by itself is refused after rows of it went into the transaction, which has to be undone."""

    def __init__(self, outcome: FileOutcome) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


@contextmanager
def connected(dsn: Dsn) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to the warehouse: the caller's own, left open, or a new one."""
    if isinstance(dsn, str):
        options = {"options": "-c timezone=UTC", "application_name": "dataplatform-ingestion"}
        with psycopg.connect(dsn, autocommit=True, **options) as connection:  # type: ignore[arg-type]
            yield connection
    else:
        yield dsn


def ingest_batch(
    sources: Iterable[SourceFile],
    contract: Contract,
    dsn: Dsn,
    store: ObjectStore | None,
    *,
    run_id: str = "",
    limits: Limits | None = None,
    replay_of: int | None = None,
) -> list[FileOutcome]:
    """Take files in, in their order, and move them to where they belong.

    Args:
        sources: The files, of one dataset.
        contract: The dataset's contract.
        dsn: The warehouse.
        store: The object store; may be None where all files are local.
        run_id: The run, for the ledger.
        limits: How much may be taken for a file.
        replay_of: The ledger's id of the file whose rejected rows these files hold.

    Raises:
        psycopg.OperationalError: the database is away; try again.
        botocore.exceptions.BotoCoreError: the object store is; try again.
    """
    outcomes: list[FileOutcome] = []
    reader().warm_up(limits or Limits())
    with connected(dsn) as connection:
        ledger.ensure_ledger(connection)
        batch = _Batch(contract, connection, store, run_id, limits or Limits(), replay_of)
        for group in groups(sources, contract):
            taken = batch.ingest(group)
            outcomes += settle_all(taken, contract, connection, store, run_id=run_id)
    return outcomes


# The reader's answers, the rejected rows of each file that has some, and where they were put.
_Stored = tuple[list[dict[str, Any]], dict[int, Path], dict[int, str | None]]


class _Batch:
    """Files that are taken in group by group: for each one reading, one transaction."""

    def __init__(
        self,
        contract: Contract,
        connection: psycopg.Connection[Any],
        store: ObjectStore | None,
        run_id: str,
        limits: Limits,
        replay_of: int | None,
    ) -> None:
        self.contract, self.connection, self.store = contract, connection, store
        self.run_id, self.limits, self.replay_of = run_id, limits, replay_of
        self.has_table = False

    def ingest(self, sources: Sequence[SourceFile]) -> list[FileOutcome]:
        """Return what became of a group's files; failures are not in the ledger yet, and no file has been moved."""
        with scratch_folder() as scratch:
            fetched = fetch(sources, self.store, scratch, self.contract, self.replay_of)
            done: dict[int, FileOutcome] = {}
            fresh: dict[str, int] = {}
            entries = ledger.find_succeeded(
                self.connection, self.contract.name, [file.content_hash for file in fetched]
            )
            copies: list[int] = []
            for place, file in enumerate(fetched):
                if file.path is None:  # the batch is repeated after it was cut short: the ledger knows
                    done[place] = ledger.find_delivery(self.connection, file.source) or file.outcome(GONE, "validation")
                elif file.content_hash in entries or file.content_hash in fresh:
                    copies.append(place)
                else:
                    fresh[file.content_hash] = place
            places = list(fresh.values())
            taken = self._take([fetched[place] for place in places], scratch)
            done |= dict(zip(places, taken, strict=True))
            for place in copies:
                done[place] = self._known(fetched[place])
            return [done[place] for place in range(len(fetched))]

    def _known(self, file: Fetched) -> FileOutcome:
        """The content is in. By this very delivery: its load was cut short after the commit. Else it is a duplicate."""
        found = ledger.find_succeeded(self.connection, self.contract.name, [file.content_hash])
        entry = found.get(file.content_hash)
        if entry is None:  # a copy of a file of the same group that failed: it fails the same way
            with scratch_folder() as scratch:
                return self._take([file], scratch)[0]
        if entry.is_delivery(file.source):
            return replace(file.outcome(), **entry.counts.to_dict())
        outcome = replace(file.outcome(), status="duplicate")
        with self.connection.transaction():
            ledger.record(self.connection, [outcome], self.run_id)
        return outcome

    def _take(self, files: list[Fetched], scratch: Path) -> list[FileOutcome]:
        """Take new files in, together; if that fails for one of them, one by one."""
        if not files:
            return []
        began = time.monotonic()
        try:
            outcomes = self._transact(files, Path(tempfile.mkdtemp(dir=scratch)))
        except (psycopg.OperationalError, psycopg.errors.UniqueViolation):
            raise  # the database is away, or somebody else writes to the table: try again
        except _Refused as refused:
            outcomes = [refused.outcome]
        except FileRefused as refused:
            if len(files) > 1:
                return [outcome for file in files for outcome in self._take([file], scratch)]
            outcomes = [files[0].outcome(str(refused), refused.stage)]
        except ledger.LoadedMeanwhile:
            return [self._known(file) for file in files]
        except Exception as error:
            if _is_service(error):
                raise
            if len(files) > 1:
                return [outcome for file in files for outcome in self._take([file], scratch)]
            outcomes = [files[0].outcome(f"{type(error).__name__}: {_brief(error)}", "loading")]
        each = round((time.monotonic() - began) / len(files), 3)
        return [replace(outcome, seconds=each) for outcome in outcomes]

    def _transact(self, files: list[Fetched], work: Path) -> list[FileOutcome]:
        if not self.has_table:
            ledger.ensure_schema(self.connection, self.contract)
            self.has_table = True
        folder = work / "reading"
        folder.mkdir()
        staged, rejects = work / "staged.parquet", work / "rejects.parquet"
        paths = tuple(file.path for file in files if file.path)
        ordered = not keyed_later(self.connection, self.contract, sum(file.source.size for file in files))
        request = Request(paths, self.contract, folder, staged, rejects, self.limits, ordered)
        with (
            reader().read(request) as reading,
            ThreadPoolExecutor(1) as aside,
            self.connection.transaction(),
        ):
            ledger.lock(self.connection, f"table {self.contract.table}")
            hashes = [file.content_hash for file in files]
            if ledger.find_succeeded(self.connection, self.contract.name, hashes):
                raise ledger.LoadedMeanwhile
            outcomes = [file.outcome() for file in files]
            ids = ledger.new_ids(self.connection, outcomes)
            stored: list[Future[_Stored]] = []

            def tables() -> Iterator[Any]:
                yield from reading.tables()
                # What is left of the load is the server's work: the files are put away meanwhile.
                stored.append(aside.submit(self._put_away, reading, outcomes, staged, rejects))

            size = sum(file.source.size for file in files)
            loaded = load_rows(self.connection, self.contract, Rows(reading.schema, tables(), size), ids)
            results, parts, uris = stored[0].result()
            outcomes = [
                self._outcome(outcome, result, done, uris.get(part))
                for part, (outcome, result, done) in enumerate(zip(outcomes, results, loaded, strict=True))
            ]
            if len(files) == 1 and outcomes[0].status == "failed":
                raise _Refused(outcomes[0])
            good = [part for part, outcome in enumerate(outcomes) if outcome.status == "succeeded"]
            ledger.record(
                self.connection,
                [outcomes[part] for part in good],
                self.run_id,
                ids=[ids[part] for part in good],
                rejects={place: parts[part] for place, part in enumerate(good) if part in parts},
            )
        return outcomes

    def _put_away(self, reading: Reading, outcomes: list[FileOutcome], staged: Path, rejects: Path) -> _Stored:
        """Put good and rejected rows into their bucket once all are read."""
        results = reading.results()
        parts = split_rejects(rejects, len(outcomes))
        uris = self._upload_rejects(parts, outcomes)
        if any(result["error"] is None for result in results):
            self._upload(staged, outcomes[0], "")  # a group's under its first file's hash
        return results, parts, uris

    def _outcome(
        self, outcome: FileOutcome, result: dict[str, Any], loaded: Loaded, rejects_uri: str | None
    ) -> FileOutcome:
        counts = {name: result[name] for name in ("rows_read", "rows_rejected", "rejects_by_rule", "notes")}
        outcome = replace(outcome, rejects_uri=rejects_uri, **counts)
        if result["error"] is not None:
            return replace(outcome, status="failed", stage=result["stage"], error=result["error"])
        merged = (loaded.inserted, loaded.updated, loaded.unchanged)
        if sum(merged) != result["rows_staged"]:
            raise AssertionError(f"loaded {sum(merged)} rows of {result['rows_staged']}")
        return replace(
            outcome,
            rows_deduplicated=result["rows_deduplicated"],
            rows_inserted=merged[0],
            rows_updated=merged[1],
            rows_unchanged=merged[2],
        )

    def _upload_rejects(self, parts: dict[int, Path], outcomes: list[FileOutcome]) -> dict[int, str | None]:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            done = pool.map(lambda part: self._upload(parts[part], outcomes[part], "rejected/"), parts)
            return dict(zip(parts, done, strict=True))

    def _upload(self, path: Path, outcome: FileOutcome, folder: str) -> str | None:
        if self.store is None:
            return None
        name = f"{outcome.dataset}/{folder}dt={outcome.source.day}/{outcome.content_hash}.parquet"
        uri = f"s3://{self.store.staging}/{name}"
        self.store.upload(path, uri)
        return uri


def _is_service(error: BaseException) -> bool:
    """Whether a service is away: the object store's client has no one class of error for it."""
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, BotoCoreError | ClientError)


def prepare(
    source: SourceFile,
    contract: Contract,
    store: ObjectStore | None,
    *,
    folder: Path,
    limits: Limits | None = None,
) -> PreparedFile:
    """Read and clean a file, and load nothing: what a contract makes of a file.

    Args:
        source: The file.
        contract: Its dataset's contract.
        store: The object store; may be None for a local file.
        folder: Where the Parquet of good rows and of rejected rows is put.
        limits: How much may be taken for it.

    Returns:
        The prepared file; bad data is an outcome (`failed` with stage and error), not an exception.
    """
    began = time.monotonic()
    with scratch_folder() as scratch:
        [file] = fetch([source], store, scratch, contract, None)
        base = PreparedFile(source, file.content_hash, contract.version, "failed", started_at=file.started_at)
        if file.path is None:
            return replace(base, stage="validation", error=GONE)
        work = scratch / "reading"
        work.mkdir()
        target = folder / (file.content_hash or "file")
        target.mkdir(parents=True, exist_ok=True)
        staged, rejects = target / "staged.parquet", target / "rejected.parquet"
        for old in (staged, rejects):
            old.unlink(missing_ok=True)
        try:
            with reader().read(Request((file.path,), contract, work, staged, rejects, limits or Limits())) as reading:
                [result] = reading.results()
        except FileRefused as refused:
            return replace(base, stage=refused.stage, error=str(refused))
    counts = {
        name: result[name] for name in ("rows_read", "rows_rejected", "rejects_by_rule", "notes", "error", "stage")
    }
    prepared = replace(base, **counts, seconds=round(time.monotonic() - began, 3))
    if rejects.exists():
        prepared = replace(prepared, rejects_uri=str(rejects))
    if prepared.error is not None:
        staged.unlink(missing_ok=True)
        return prepared
    done = {name: result[name] for name in ("rows_staged", "rows_deduplicated")}
    return replace(prepared, status="staged", staged_uri=str(staged), **done)


def ingest_file(
    path: str,
    contract: Contract,
    dsn: Dsn,
    store: ObjectStore | None = None,
    *,
    run_id: str = "",
    limits: Limits | None = None,
    replay_of: int | None = None,
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
    else:
        file = Path(path).resolve(strict=True)
        with file.open("rb"):
            status = file.stat()
        modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).isoformat()
        source, store = SourceFile(str(file), contract.name, status.st_size, modified), None
    options: dict[str, Any] = {"run_id": run_id, "limits": limits, "replay_of": replay_of}
    return ingest_batch([source], contract, dsn, store, **options)[0]


def _brief(error: BaseException) -> str:
    """Return an error's first lines, without values of rows that Postgres puts into its details."""
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else ""
