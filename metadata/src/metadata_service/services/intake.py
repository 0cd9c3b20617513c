"""Storing events as fast as Postgres commits: what arrives while a commit is under way goes into the next one together.

An event is acknowledged after the commit that holds it. Its projection comes later; see `metadata_service.services.
projector`. Everything here runs on the event loop, so nothing is handed from thread to thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import psycopg
import structlog

from metadata_service.openlineage import ReadEvent
from metadata_service.problems import first_line
from metadata_service.repositories.events import EventLog

log = structlog.get_logger(__name__)

# Not more in one commit, so that whoever sent the first of them goes on while the rest is stored.
MAX_EVENTS = 200
# So many waiting are worth a commit of their own while another is under way.
MANY_EVENTS = 100
MAX_BYTES = 1024 * 1024
# Faults of the data itself: trying again does not help (classes data, integrity, program limit).
_DATA_FAULTS = ("22", "23", "54")

Outcome = bool | psycopg.Error
"""Whether the event was new, or why it could not be stored."""


class _Request:
    """The events of a request, and where their outcomes go."""

    __slots__ = ("events", "outcomes")

    def __init__(self, events: Sequence[ReadEvent], outcomes: asyncio.Future[list[Outcome]]) -> None:
        self.events = events
        self.outcomes = outcomes


class Intake:
    """Stores events over a few connections of its own. Start and stop it on the event loop that it is used on.

    Args:
        dsn: the database's address.
        connections: how many connections store at the same time.
        on_stored: told how many events were stored, whenever some were.
        keep_order: number events in the order they are given; others who store the same at the same time may then
            have to try again.
    """

    def __init__(
        self, dsn: str, connections: int, on_stored: Callable[[int], None], *, keep_order: bool = False
    ) -> None:
        self._dsn = dsn
        self._keep_order = keep_order
        self._connections = connections
        self._on_stored = on_stored
        self._waiting: deque[_Request] = deque()
        self._waiting_events = 0
        self._storing = 0
        self._work = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to store what is given."""
        self._workers = [asyncio.create_task(self._store_all()) for _ in range(self._connections)]

    async def stop(self) -> None:
        """Store what was given before, then close the connections."""
        while self._waiting:
            await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def store(self, events: Sequence[ReadEvent]) -> list[Outcome]:
        """Return for each event whether it is new or why it could not be stored, once they are committed."""
        if not events:
            return []
        outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(events, outcomes))
        self._waiting_events += len(events)
        if self._is_due():
            self._work.set()
        return await outcomes

    async def _store_all(self) -> None:
        event_log: EventLog | None = None
        group: list[_Request] = []
        try:
            while True:
                await self._wait_for_work()
                group = self._next_group()
                self._storing += 1
                # A connection that broke since it was used last is no reason to refuse anything.
                for attempt in ("over the open connection", "anew") if event_log else ("anew",):
                    try:
                        event_log = event_log or await EventLog.connect(self._dsn, keep_order=self._keep_order)
                        await self._store_group(event_log, group)
                        break
                    except psycopg.Error as error:
                        if attempt == "anew":
                            log.warning("events_not_stored", reason=first_line(error))
                            for request in group:
                                _answer(request, [error] * len(request.events))
                        if event_log is not None:
                            await event_log.close()
                            event_log = None
                self._storing -= 1
        finally:
            for request in group:
                request.outcomes.cancel()
            if event_log is not None:
                await event_log.close()

    def _is_due(self) -> bool:
        return bool(self._waiting) and (not self._storing or self._waiting_events >= MANY_EVENTS)

    async def _wait_for_work(self) -> None:
        """Return when there is something to store, and whatever has reached the sockets by then goes along."""
        while True:
            while not self._is_due():
                self._work.clear()
                await self._work.wait()
            await asyncio.sleep(0)  # it is received
            await asyncio.sleep(0)  # it is read
            if self._is_due():  # another connection may have taken it
                return

    def _next_group(self) -> list[_Request]:
        group: list[_Request] = []
        count = size = 0
        while self._waiting:
            request = self._waiting[0]
            count += len(request.events)
            size += sum(len(event.payload) for event in request.events)
            if group and (count > MAX_EVENTS or size > MAX_BYTES):
                break
            group.append(self._waiting.popleft())
            self._waiting_events -= len(request.events)
        return group

    async def _store_group(self, event_log: EventLog, group: list[_Request]) -> None:
        try:
            new = await event_log.append({event.digest: event for item in group for event in item.events}.values())
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_FAULTS:
                raise
            for request in group:
                _answer(request, [await self._store_one(event_log, event) for event in request.events])
        else:
            for request in group:
                outcomes: list[Outcome] = []
                for event in request.events:
                    outcomes.append(event.digest in new)
                    new.discard(event.digest)
                _answer(request, outcomes)
        self._on_stored(sum(len(request.events) for request in group))

    async def _store_one(self, event_log: EventLog, event: ReadEvent) -> Outcome:
        """Store an event by itself, because one among others was refused."""
        try:
            return bool(await event_log.append([event]))
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_FAULTS:
                raise
            return error


def is_fault_of_data(error: psycopg.Error) -> bool:
    """Tell whether an event was refused for what it is, so that sending it again does not help."""
    return (error.sqlstate or "")[:2] in _DATA_FAULTS


def _answer(request: _Request, outcomes: list[Outcome]) -> None:
    if not request.outcomes.done():  # the client may have gone away
        request.outcomes.set_result(outcomes)
