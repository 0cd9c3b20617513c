"""Writing what requests bring: what comes while a write is under way goes into the next one together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from metadata_service.telemetry.model import Batch
from metadata_service.telemetry.store import StoreAwayError, TelemetryStore, ValueRefusedError, write_apart

log = structlog.get_logger(__name__)

MAX_ITEMS = 20_000  # of one write


class TelemetryWriter:
    """Writes into a store. Use it on one event loop."""

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store
        self._waiting: list[tuple[Sequence[Batch], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, batches: Sequence[Batch]) -> None:
        """Return once what was given is safe.

        Raises:
            StoreAwayError: the store does not answer.
            ValueRefusedError: it does not take one of them.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((batches, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await done

    async def stop(self) -> None:
        """Write what was given before."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                faults: dict[int, Exception] = {}
                try:
                    refused = await asyncio.to_thread(write_apart, self._store, [batches for batches, _ in group])
                    faults.update({place: ValueRefusedError(reason) for place, reason in refused.items()})
                except Exception as error:
                    faults.update(dict.fromkeys(range(len(group)), error))
                    if isinstance(error, StoreAwayError):
                        log.warning("telemetry_not_stored", store=self._store.name, reason=str(error))
                for place, (_, done) in enumerate(group):
                    if done.done():  # whoever waited has gone away
                        continue
                    if place in faults:
                        done.set_exception(faults[place])
                    else:
                        done.set_result(None)
        finally:
            self._writing = None

    def _next_group(self) -> list[tuple[Sequence[Batch], asyncio.Future[None]]]:
        size = taken = 0
        for batches, _ in self._waiting:
            size += sum(len(batch) for batch in batches)
            if taken and size > MAX_ITEMS:
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return group
