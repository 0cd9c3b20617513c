"""The files that wait in a dataset's `incoming/` folder, and how they are cut into batches.

S3 puts are atomic on MinIO, AWS and `rclone serve s3`: a listing shows an object once it is whole (measured with slow,
stalled, broken off and multipart puts). Where files come into the store on another way (a gateway, a mounted folder) a
listing can show one that still grows. So a file is taken once it is left alone: last written a while ago by the
store's own clock, or the same in two listings.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from data_quality.contract import Contract
from pipelines.ingestion.model import SourceFile
from pipelines.ingestion.objects import ObjectStore, StoredObject

SETTLE_SECONDS = 2.0
MAX_BATCHES = 200  # in one run: each is three tasks of Airflow, which maps at most 1,024


def discover(store: ObjectStore, contract: Contract) -> list[SourceFile]:
    """Return the files waiting in `raw/<dataset>/incoming/`, oldest first (of the same age: by name).

    A file that was written less than SETTLE_SECONDS ago is looked at twice, up to SETTLE_SECONDS apart, and left
    for the next run if it has changed in between.
    """
    waiting = _settled(store, f"{contract.name}/incoming/")
    files = [SourceFile(entry.uri, contract.name, entry.size, entry.modified.isoformat()) for entry in waiting]
    return sorted(files, key=lambda file: (file.modified, file.uri))


def _settled(store: ObjectStore, prefix: str) -> list[StoredObject]:
    found = list(store.list(store.raw, prefix))
    if not found or SETTLE_SECONDS <= 0:
        return found
    limit = _now(store, prefix) - dt.timedelta(seconds=SETTLE_SECONDS)
    young = [entry for entry in found if entry.modified > limit]
    if not young:
        return found
    # A clock of the writer's that is ahead (or a time kept from elsewhere) makes nobody wait longer than once.
    time.sleep(min(SETTLE_SECONDS, max((entry.modified - limit).total_seconds() for entry in young)))
    again = set(store.list(store.raw, prefix))
    return [entry for entry in found if entry.modified <= limit or entry in again]


def _now(store: ObjectStore, prefix: str) -> dt.datetime:
    """Return the store's own time (to the second), so that clocks that differ don't matter."""
    answer = store.client.list_objects_v2(Bucket=store.raw, Prefix=prefix, MaxKeys=1)
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def plan(
    files: Iterable[SourceFile],
    contract: Contract,
    max_files: int = 200,
    max_bytes: int = 256 * 1024**2,
    max_batches: int = MAX_BATCHES,
) -> list[list[SourceFile]]:
    """Cut files into batches of at most so many files and bytes, keeping their order. A larger file stands alone.

    Batches are loaded side by side, so there is only one where the contract's files have to be taken in order. What
    goes beyond it, or beyond `max_batches`, is the next run's, which the watch over the folder starts.
    """
    if contract.ingest.takes_files_in_order:
        max_batches = 1
    batches: list[list[SourceFile]] = []
    size = 0
    for file in files:
        if not batches or len(batches[-1]) >= max_files or size + file.size > max_bytes:
            if len(batches) == max_batches:
                break
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file.size
    return batches
