"""After the transaction: failures go into the ledger, files out of `incoming/`. All of it can be repeated."""

from __future__ import annotations

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
from pipelines.ingestion.model import FileOutcome, SourceFile, Stage
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
    movers = _Moves(store, contract.name)
    incoming = [place for place, outcome in enumerate(outcomes) if _is_incoming(outcome.source, store)]
    with ThreadPoolExecutor(TRANSFERS) as pool:
        moved = list(pool.map(movers.copy, [outcomes[place] for place in incoming]))
    settled = dict(zip(incoming, moved, strict=True))
    store.delete(*(outcome.path for outcome in moved if outcome.moved_to))
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


def _is_incoming(source: SourceFile, store: ObjectStore) -> bool:
    return source.uri.startswith(f"s3://{store.raw}/{source.dataset}/incoming/")


def _folder(stage: Stage | None) -> str:
    return f"failed/{stage}_failed" if stage else "processed"


class _Moves:
    """Files on their way out of `incoming/`, never over another one. A target folder is listed once."""

    def __init__(self, store: ObjectStore, dataset: str) -> None:
        self.store, self.dataset = store, dataset
        self._listed: dict[str, dict[str, StoredObject]] = {}

    def _there(self, folder: str) -> dict[str, StoredObject]:
        if folder not in self._listed:
            bucket, _, prefix = folder.removeprefix("s3://").partition("/")
            self._listed[folder] = {found.uri: found for found in self.store.list(bucket, f"{prefix}/")}
        return self._listed[folder]

    def copy(self, outcome: FileOutcome) -> FileOutcome:
        """Copy a file to where it belongs and return its outcome with the new address.

        The outcome is unchanged if nobody knows where the file is.
        """
        source = outcome.source
        folder = f"s3://{self.store.raw}/{self.dataset}/{_folder(outcome.stage)}/dt={source.day}"
        target = f"{folder}/{source.name}"
        there = self._there(folder).get(target)
        if there is not None:
            here = self.store.find(source.uri)
            if here is None:  # a move that was cut short after its delete
                return replace(outcome, moved_to=target)
            if (there.size, there.etag) != (here.size, here.etag):
                stem, dot, extension = target.rpartition("/")[2].partition(".")
                target = f"{target.rpartition('/')[0]}/{stem}.{outcome.content_hash[:12]}{dot}{extension}"
        try:
            self.store.copy(source.uri, target, source.size)
        except FileNotFoundError:
            return outcome if self.store.find(target) is None else replace(outcome, moved_to=target)
        return replace(outcome, moved_to=target, rejects_uri=self._beside(outcome, target))

    def _beside(self, outcome: FileOutcome, target: str) -> str | None:
        """Move a failed file's rejected rows to its side."""
        uri = outcome.rejects_uri
        if uri is None or outcome.status != "failed" or uri.endswith(REJECTED):
            return uri
        with suppress(FileNotFoundError):  # moved by an attempt before this one
            self.store.move(uri, target + REJECTED, 0)
        return target + REJECTED
