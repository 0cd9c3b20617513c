"""Trigger on a model of a build."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.transformation.builds import Verdict, judge, mark_told, rows_of
from pipelines.utils.connections import warehouse_dsn

PATIENCE_SECONDS = 900.0
"""Give up after so long without a build, or without an answer of the warehouse."""


class _Readings:
    """What is known of a build, asked for once for all of the triggers that watch it."""

    known: ClassVar[dict[tuple[str, str], _Readings]] = {}

    def __init__(self, conn_id: str, build_id: str) -> None:
        self._conn_id, self._build_id = conn_id, build_id
        self._lock = asyncio.Lock()
        self._dsn: str | None = None
        self._rows: list[dict[str, Any]] = []
        self._read_at = 0.0

    @classmethod
    def of(cls, conn_id: str, build_id: str) -> _Readings:
        """Return those of a build; the ones of builds long past are forgotten."""
        if len(cls.known) > 8:
            cls.known.clear()
        return cls.known.setdefault((conn_id, build_id), cls(conn_id, build_id))

    async def dsn(self) -> str:
        """Return the warehouse's address."""
        if self._dsn is None:
            self._dsn = await sync_to_async(warehouse_dsn)(self._conn_id)
        return self._dsn

    async def rows(self, age: float) -> list[dict[str, Any]]:
        """Return the build's rows, read again where they are older than `age` seconds."""
        async with self._lock:
            if time.monotonic() - self._read_at > age:
                self._rows = await sync_to_async(rows_of)(await self.dsn(), self._build_id)
                self._read_at = time.monotonic()
            return self._rows


class ModelBuiltTrigger(BaseTrigger):
    """End the task as its model ends: success with its tests, failure, or skipped where nothing had to be built.

    A failure that has been told before ends nothing: the task goes on in a worker, which builds the model alone.

    Args:
        build_id: The build.
        model: Name of the model, seed or snapshot.
        conn_id: Postgres connection of the warehouse.
        poll_seconds: Seconds between looks.
    """

    def __init__(self, build_id: str, model: str, conn_id: str, poll_seconds: float) -> None:
        super().__init__()
        self.build_id, self.model, self.conn_id, self.poll_seconds = build_id, model, conn_id, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments that make it again."""
        names = ("build_id", "model", "conn_id", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the end of the task."""
        told: set[str] = set()
        heard = time.monotonic()
        while True:
            found = await self._look()
            if found is not None:
                for line in (line for line in found.lines if line not in told):
                    self.log.info(line)
                told.update(found.lines)
                if found.state == "success":
                    yield TaskSuccessEvent()
                    return
                if found.state == "unchanged":
                    self.log.info("nothing that it is made of has changed")
                    yield TaskSkippedEvent()
                    return
                if found.state == "failed":
                    self.log.error("%s", "; ".join(found.reasons))
                    yield await self._failure(found)
                    return
                if found.state == "running":
                    heard = time.monotonic()
            if time.monotonic() - heard > PATIENCE_SECONDS:
                self.log.error("no build has begun; see the task dbt_build")
                yield TaskFailedEvent()
                return
            await asyncio.sleep(self.poll_seconds)

    async def _look(self) -> Verdict | None:
        readings = _Readings.of(self.conn_id, self.build_id)
        try:
            return judge(await readings.rows(self.poll_seconds / 2), self.model)
        except Exception as error:  # the next look may find the warehouse back
            self.log.warning("the build could not be looked at: %s", error)
            return None

    async def _failure(self, found: Verdict) -> TriggerEvent:
        if found.told:
            self.log.info("it failed before: it is built alone now")
            return TriggerEvent({"model": self.model})
        dsn = await _Readings.of(self.conn_id, self.build_id).dsn()
        await sync_to_async(mark_told)(dsn, self.build_id, self.model)
        return TaskFailedEvent()
