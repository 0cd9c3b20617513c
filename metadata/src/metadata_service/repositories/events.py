"""The log of events: appending to it, and the queue of those that are not yet projected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus, Format
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from metadata_service.connecting import connect_arguments
from metadata_service.models import FailedEvent, QueuedEvent
from metadata_service.openlineage import DatasetEvent, ReadEvent, RunEvent
from metadata_service.repositories.bulk import Bigints, Bytes, Column, JsonTexts, Texts, Times, execute

# Any number will do, as long as every process that projects into this database uses the same one.
PROJECTION_LOCK = 0x70726F6A

_APPEND = b"""
WITH stored AS (
    INSERT INTO event (digest, kind, event_type, event_time, run_id, job_namespace, job_name, payload,
                       key_name)
    SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::text[]), unnest($4::timestamptz[]), unnest($5::text[]),
           unnest($6::text[]), unnest($7::text[]), unnest($8::json[]), unnest($9::text[])
    ON CONFLICT (digest) DO NOTHING RETURNING id, digest
), queued AS (
    INSERT INTO event_queue (event_id) SELECT id FROM stored
)
SELECT digest FROM stored
"""
_OIDS = [column.array_oid for column in (Bytes, Texts, Texts, Times, Texts, Texts, Texts, JsonTexts, Texts)]


class EventLog:
    """A connection that appends events, prepared for nothing else: each append is one statement, committed at once.

    Appended in the order of their digests, two appends that share events don't wait for each other in a ring; with
    `keep_order` they may (and one of them fails), but events are numbered as they are given.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], keep_order: bool) -> None:
        self._connection = connection
        self._keep_order = keep_order
        self._prepared = False

    @classmethod
    async def connect(cls, dsn: str, *, keep_order: bool = False) -> EventLog:
        """Open a connection.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        arguments = connect_arguments("metadata_service_events")
        return cls(await psycopg.AsyncConnection.connect(dsn, autocommit=True, **arguments), keep_order)

    async def append(self, events: Iterable[ReadEvent]) -> set[bytes]:
        """Store events and queue them for projection; return the digests of those that were not stored before.

        They are committed when this returns.

        Raises:
            psycopg.Error: none of them is stored, or (OperationalError) it isn't known whether they are.
        """
        ordered = list(events) if self._keep_order else sorted(events, key=lambda event: event.digest)
        columns = [column.data for column in _columns(ordered)]
        pgconn = self._connection.pgconn
        if not self._prepared:
            pgconn.send_prepare(b"append", _APPEND, _OIDS)
            self._result(await self._connection.wait(generators.execute(pgconn)))
            self._prepared = True
        pgconn.send_query_prepared(b"append", columns, [Format.BINARY] * len(columns), result_format=Format.BINARY)
        result = self._result(await self._connection.wait(generators.execute(pgconn)))
        return {result.get_value(row, 0) or b"" for row in range(result.ntuples)}

    def _result(self, results: list[Any]) -> Any:
        result = results[-1]
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
        return result

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _columns(events: Sequence[ReadEvent]) -> list[Column]:
    jobs = [None if isinstance(item.event, DatasetEvent) else item.event.job for item in events]
    runs = [item.event if isinstance(item.event, RunEvent) else None for item in events]
    return [
        Bytes(item.digest for item in events),
        Texts(item.event.kind for item in events),
        Texts(run and run.event_type for run in runs),
        Times(item.at for item in events),
        Texts(run and run.run.run_id for run in runs),
        Texts(job and job.namespace for job in jobs),
        Texts(job and job.name for job in jobs),
        JsonTexts(item.payload for item in events),
        Texts(item.key_name for item in events),
    ]


@dataclass(frozen=True, slots=True)
class Stored:
    """An event of the queue."""

    id: int
    payload: str


def lock_projection(session: Session) -> bool:
    """Take the right to project until the transaction ends; return False if another transaction has it."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(PROJECTION_LOCK))))


_NEXT = """
SELECT id, payload::text FROM (
    SELECT e.id, e.payload, sum(pg_column_size(e.payload)) OVER (ORDER BY e.id) - pg_column_size(e.payload) AS before
      FROM (SELECT event_id FROM event_queue ORDER BY event_id LIMIT %s) q JOIN event e ON e.id = q.event_id) w
 WHERE before < %s ORDER BY id
"""


def next_queued(session: Session, limit: int, most_bytes: int) -> list[Stored]:
    """Return the events at the head of the queue: at most `limit`, and no more once they have `most_bytes` (stored)."""
    return [Stored(id_, payload) for id_, payload in execute(session, _NEXT, limit, most_bytes)]


def take_from_queue(session: Session, ids: Iterable[int]) -> None:
    """Take events out of the queue."""
    execute(session, "DELETE FROM event_queue WHERE event_id = ANY(%s)", Bigints(ids))


def drop_orphans(session: Session) -> None:
    """Take out of the queue what is no event any more."""
    execute(session, "DELETE FROM event_queue q WHERE NOT EXISTS (SELECT FROM event WHERE id = q.event_id)")


def note_failure(session: Session, id_: int, reason: str) -> None:
    """Take an event out of the queue as one that can't be projected."""
    take_from_queue(session, [id_])
    statement = "INSERT INTO event_failure (event_id, reason) VALUES (%s, %s) ON CONFLICT (event_id) DO NOTHING"
    execute(session, statement, id_, reason)


def retry_failures(session: Session) -> int:
    """Queue again what could not be projected; return how many events."""
    statement = (
        "WITH failed AS (DELETE FROM event_failure RETURNING event_id) "
        "INSERT INTO event_queue SELECT event_id FROM failed ON CONFLICT DO NOTHING RETURNING event_id"
    )
    return len(execute(session, statement))


def newest_queued(session: Session) -> int | None:
    """Return the id of the newest event that is not yet projected."""
    return session.scalar(select(func.max(QueuedEvent.event_id)))


def queued_up_to(session: Session, id_: int, most: int) -> int:
    """Return how many events up to an id are not yet projected, or `most` if there are more."""
    some = select(QueuedEvent.event_id).where(QueuedEvent.event_id <= id_).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


@dataclass(frozen=True)
class Backlog:
    """What is not yet projected, the time at which the oldest of it came in, and what could not be."""

    queued: int
    oldest: datetime | None
    failed: int


def backlog(session: Session) -> Backlog:
    """Return what is not yet projected."""
    queued = session.scalar(select(func.count()).select_from(QueuedEvent)) or 0
    oldest = session.scalar(text("SELECT received_at FROM event WHERE id = (SELECT min(event_id) FROM event_queue)"))
    failed = session.scalar(select(func.count()).select_from(FailedEvent)) or 0
    return Backlog(queued, oldest, failed)
