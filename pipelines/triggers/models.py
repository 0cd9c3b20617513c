"""Trigger on a model of a build."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.transformation.builds import Verdict, mark_told, verdict
from pipelines.utils.connections import warehouse_dsn

PATIENCE_SECONDS = 900.0
"""Give up after so long without a build, or without an answer of the warehouse."""


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
        try:
            dsn = await sync_to_async(warehouse_dsn)(self.conn_id)
            return await sync_to_async(verdict)(dsn, self.build_id, self.model)
        except Exception as error:  # the next look may find the warehouse back
            self.log.warning("the build could not be looked at: %s", error)
            return None

    async def _failure(self, found: Verdict) -> TriggerEvent:
        if found.told:
            self.log.info("it failed before: it is built alone now")
            return TriggerEvent({"model": self.model})
        dsn = await sync_to_async(warehouse_dsn)(self.conn_id)
        await sync_to_async(mark_told)(dsn, self.build_id, self.model)
        return TaskFailedEvent()
