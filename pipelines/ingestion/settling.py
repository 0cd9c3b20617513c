"""After the transaction: failures go into the ledger, files out of `incoming/`. All of it can be repeated."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from data_quality.contract import Contract
from pipelines.ingestion import ledger
from pipelines.ingestion.groups import TRANSFERS
from pipelines.ingestion.model import FileOutcome, SourceFile
from pipelines.ingestion.objects import ObjectStore, StoredObject

GONE = "is no longer there: moved or deleted before it was read"
REJECTED = ".rejected.parquet"

Connection = psycopg.Connection[Any]


def settle(
    outcome: FileOutcome, contract: Contract, connection: Connection, store: ObjectStore | None, *, run_id: str = ""
) -> FileOutcome:
    """Settle one file."""
    return settle_all([outcome], contract, connection, store, run_id=run_id)[0]


def settle_all(
    outcomes: Sequence[FileOutcome],
    contract: Contract,
    connection: Connection,
    store: ObjectStore | None,
    *,
    run_id: str = "",
) -> list[FileOutcome]:
    """Record failures in the ledger and move files to `processed/` or `failed/<stage>_failed/`. Safe to repeat.

    The rejected rows of a failed file are put beside it, as Parquet.
    """
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        _record_failures(failed, connection, store, run_id)
    if store is None:
        return list(outcomes)
    incoming = [place for place, outcome in enumerate(outcomes) if _is_incoming(outcome.source, store)]
    movers = _Moves(store, [outcomes[place] for place in incoming])
    with ThreadPoolExecutor(TRANSFERS) as pool:
        copied = list(pool.map(movers.copy, [outcomes[place] for place in incoming]))
    moved = movers.delete(copied)
    settled = dict(zip(incoming, moved, strict=True))
    ledger.record_moves(connection, [outcome for outcome in moved if outcome.moved_to])
    return [settled.get(place, outcome) for place, outcome in enumerate(outcomes)]


def _record_failures(
    outcomes: list[FileOutcome], connection: Connection, store: ObjectStore | None, run_id: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="settle-") as scratch, connection.transaction():
        ledger.lock(connection, "failures")
        new: list[FileOutcome] = []
        rejects: dict[int, Path] = {}
        for outcome in outcomes:
            recorded = ledger.find_delivery(connection, outcome.source)
            if recorded is not None and recorded.started_at == outcome.started_at:
                continue  # this very attempt, settled a second time
            if outcome.rejects_uri and store is not None:
                rejects[len(new)] = Path(scratch) / f"{len(new)}.parquet"
                store.download(outcome.rejects_uri, rejects[len(new)])
            new.append(outcome)
        if new:
            ledger.record(connection, new, run_id, rejects=rejects)


def _is_same(here: StoredObject, source: SourceFile) -> bool:
    """Whether an object is still the one that was listed. Not every answer has fractions of a second."""
    listed = dt.datetime.fromisoformat(source.modified)
    return here.size == source.size and int(here.modified.timestamp()) == int(listed.timestamp())


def _is_incoming(source: SourceFile, store: ObjectStore) -> bool:
    return source.uri.startswith(f"s3://{store.raw}/{source.dataset}/incoming/")


def _target(outcome: FileOutcome, store: ObjectStore) -> str:
    folder = f"failed/{outcome.stage}_failed" if outcome.stage else "processed"
    return f"s3://{store.raw}/{outcome.dataset}/{folder}/dt={outcome.source.day}/{outcome.source.name}"


class _Moves:
    """Files on their way out of `incoming/`, never over another one. What is there is asked for all of them at once."""

    def __init__(self, store: ObjectStore, outcomes: Sequence[FileOutcome]) -> None:
        self.store = store
        by_folder: dict[str, list[str]] = {}
        for outcome in outcomes:
            for uri in (outcome.path, _target(outcome, store)):
                by_folder.setdefault(uri.rpartition("/")[0], []).append(uri)
        self.there: dict[str, StoredObject] = {}
        for uris in by_folder.values():
            self.there |= store.find_all(uris)

    def copy(self, outcome: FileOutcome) -> FileOutcome:
        """Copy a file to where it belongs and return its outcome with the new address.

        The outcome is unchanged if nobody knows where the file is, or another one has taken its place meanwhile.
        """
        source, target = outcome.source, _target(outcome, self.store)
        here, there = self.there.get(source.uri), self.there.get(target)
        if here is None:  # a move that was cut short after its delete, or somebody took the file away
            return outcome if there is None else replace(outcome, moved_to=target)
        if not _is_same(here, source):
            return outcome  # it is the next run's
        if there is not None and (there.size, there.etag) != (here.size, here.etag):
            stem, dot, extension = target.rpartition("/")[2].partition(".")
            target = f"{target.rpartition('/')[0]}/{stem}.{outcome.content_hash[:12]}{dot}{extension}"
        try:
            self.store.copy(source.uri, target, source.size)
        except FileNotFoundError:  # another process moved it just now, and noted where to
            return outcome
        return replace(outcome, moved_to=target, rejects_uri=self._beside(outcome, target))

    def delete(self, outcomes: Sequence[FileOutcome]) -> list[FileOutcome]:
        """Delete files that have been copied, but for those that another one has just replaced."""
        now = self.store.find_all(outcome.path for outcome in outcomes if outcome.moved_to)
        replaced = {uri for uri, found in now.items() if found != self.there.get(uri)}
        self.store.delete(*(uri for uri in now if uri not in replaced))
        return [replace(outcome, moved_to=None) if outcome.path in replaced else outcome for outcome in outcomes]

    def _beside(self, outcome: FileOutcome, target: str) -> str | None:
        """Move a failed file's rejected rows to its side."""
        uri = outcome.rejects_uri
        if uri is None or outcome.status != "failed" or uri.endswith(REJECTED):
            return uri
        with suppress(FileNotFoundError):  # moved by an attempt before this one
            self.store.move(uri, target + REJECTED, 0)
        return target + REJECTED
