"""Bringing the graph up to date with the events that are stored: a thread, one at work over all processes.

A batch of events is projected and taken out of the queue in one transaction, so a process that dies at any moment loses
nothing. An event that can't be projected is put aside with its reason and holds nobody up.

While events stream in faster than it could take them, the projector takes a small part of the time, so that storing
them is not slowed; it works at full speed once fewer come, or when somebody waits for it. Whoever reads waits (see
`wait`) until what was stored before is projected, as long as that is a matter of seconds.
"""

from __future__ import annotations

import threading
import time
import traceback

import psycopg
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.metrics import Metrics
from metadata_service.repositories import events as event_log
from metadata_service.repositories.events import Stored
from metadata_service.services.events import project_events

log = structlog.get_logger(__name__)

BATCH = 500
STREAMING_BATCH = 50
BATCH_BYTES = 4 * 1024 * 1024
# Seconds between looks at the queue, for what other processes stored.
POLL = 0.25
# While more events than these stream in a second, how long to rest after a batch, as a multiple of the time it took.
STREAMING = 1000
REST = 20.0
LONGEST_REST = 5.0
# How often to look whether they still stream, and the time below which a look tells nothing.
LOOK, SHORTEST_LOOK = 0.25, 0.05
# How long a reader waits at most.
PATIENCE = 5.0
_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError)


class Projector:
    """Projects queued events."""

    def __init__(self, sessions: sessionmaker[Session], metrics: Metrics) -> None:
        self._sessions = sessions
        self._metrics = metrics
        self._stored = 0
        self._looked = time.monotonic(), 0
        self._is_streaming = False
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._stopping = False
        self._rate = 1000.0

    def start(self) -> None:
        """Begin to project."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way. What is queued then is projected by the next process."""
        self._stopping = True
        self._wake.set()
        self._hurry.set()
        self._thread.join(30)

    def note_stored(self, events: int) -> None:
        """Tell how many events were stored."""
        self._stored += events
        self._wake.set()

    def wait(self, session: Session) -> None:
        """Return once all that was stored before is projected; at once if that would take longer than `PATIENCE`."""
        newest = event_log.newest_queued(session)
        if newest is None:
            return
        bound = int(self._rate * PATIENCE) + 1
        deadline = time.monotonic() + PATIENCE
        while (waiting := event_log.queued_up_to(session, newest, bound)) and time.monotonic() < deadline:
            session.rollback()  # the connection is free for others meanwhile
            if waiting == bound:
                return
            self._wake.set()
            self._hurry.set()
            with self._progress:
                self._progress.wait(0.05)
        session.rollback()

    def _run(self) -> None:
        retry = True
        while not self._stopping:
            self._wake.clear()
            try:
                if retry:
                    with self._sessions.begin() as session:
                        event_log.retry_failures(session)
                    retry = False
                busy = self._project_batch()
            except Exception as error:  # whatever it is, the thread goes on
                if not isinstance(error, _AWAY):
                    log.error("projection_failed", trace=traceback.format_exc())
                log.warning("projection_waits", reason=_reason(error))
                busy = False
                self._wake.wait(1.0)
            if not busy:
                self._wake.wait(POLL)

    def _project_batch(self) -> bool:
        """Project the events at the head of the queue; return whether there were any."""
        began = time.monotonic()
        batch: list[Stored] = []
        try:
            with self._sessions.begin() as session:
                batch = self._next(session)
                if not batch:
                    return False
                project_events(session, batch)
                event_log.take_from_queue(session, [event.id for event in batch])
        except Exception as error:
            if _may_pass(error):
                raise
            log.warning("batch_not_projected", events=len(batch), reason=_reason(error))
            self._project_singly(batch)
        seconds = time.monotonic() - began
        self._metrics.projected.inc(len(batch))
        if len(batch) > STREAMING_BATCH:
            self._rate = 0.7 * self._rate + 0.3 * len(batch) / seconds
        with self._progress:
            self._progress.notify_all()
        self._rest(seconds)
        return True

    def _next(self, session: Session) -> list[Stored]:
        if not event_log.lock_projection(session):
            return []
        batch = event_log.next_queued(session, STREAMING_BATCH if self._is_streaming else BATCH, BATCH_BYTES)
        if not batch:
            event_log.drop_orphans(session)
        return batch

    def _project_singly(self, batch: list[Stored]) -> None:
        """Project events each for itself, and put aside those that can't be."""
        for event in batch:
            try:
                with self._sessions.begin() as session:
                    if not event_log.lock_projection(session):
                        return
                    project_events(session, [event])
                    event_log.take_from_queue(session, [event.id])
            except Exception as error:
                if _may_pass(error):
                    raise
                log.error("event_not_projected", id=event.id, reason=_reason(error), trace=traceback.format_exc())
                self._metrics.unprojectable.inc()
                with self._sessions.begin() as session:
                    event_log.note_failure(session, event.id, _reason(error))

    def _rest(self, seconds: float) -> None:
        """Leave the processor to those who store while events stream in, unless somebody waits."""
        self._hurry.clear()
        end = time.monotonic() + min(seconds * REST, LONGEST_REST)
        self._is_streaming = self._streams()
        while self._is_streaming and (left := end - time.monotonic()) > 0:
            self._is_streaming = not self._hurry.wait(min(left, LOOK)) and self._streams()

    def _streams(self) -> bool:
        """Return whether more events than `STREAMING` were stored in a second, since the last look at them."""
        now, stored = time.monotonic(), self._stored
        then, before = self._looked
        if now - then < SHORTEST_LOOK:  # they are stored by the hundred
            return self._is_streaming
        self._looked = now, stored
        return stored - before > STREAMING * (now - then)


def _may_pass(error: Exception) -> bool:
    """Tell whether an error has nothing to do with the events: a lost connection, a deadlock, a lock."""
    cause = getattr(error, "orig", None) or error
    return isinstance(error, _AWAY) and not isinstance(cause, psycopg.errors.QueryCanceled)


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else 'no message'}"[:1000]
