"""What the clients for lineage and for telemetry share: settings, an outbox, flushing and closing."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from data_lineage_hub_sdk.batch import Batch
from data_lineage_hub_sdk.forks import at_fork
from data_lineage_hub_sdk.outbox import Outbox
from data_lineage_hub_sdk.settings import Settings, get_settings
from data_lineage_hub_sdk.transports import make_transport

log = logging.getLogger(__name__)
_has_told_nowhere = False
_clients: weakref.WeakSet[HubClient] = weakref.WeakSet()
Self = TypeVar("Self", bound="HubClient")


class HubClient:
    """Hands records over to an outbox, which delivers them in the background.

    Args:
        settings: all settings; the process' own unless given.
        changes: single settings that differ from those, such as `url`, `api_key`, `namespace` or `transport`.

    Raises:
        TypeError: there is no such setting.
        ValueError: a setting is wrong.
        ImportError: the transport's package is not installed.
    """

    def __init__(self, settings: Settings | None = None, **changes: Any) -> None:
        self.settings = replace(settings or get_settings(), **changes)
        self.enabled = self.settings.chosen_transport != "noop"
        if not (self.enabled or self.settings.disabled or self.settings.transport == "noop"):
            _tell_nowhere()
        self._transport = make_transport(self.settings)
        self._outbox = Outbox(self._transport, self._prepare, self._encode, self._gather, self.settings)
        _clients.add(self)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what was handed over is delivered, or spooled because the hub is away.

        Args:
            timeout: seconds to wait at most; the setting `flush_timeout` unless given.

        Returns:
            Whether all of it is delivered: nothing waits in memory or in the spool.
        """
        return self._outbox.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Do as `flush`, without stopping the event loop."""
        import asyncio  # whoever awaits has it; others are spared the tenth of a second

        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = None) -> None:
        """Deliver what can be delivered in time and spool the rest. The end of the process does it too."""
        self._outbox.close(timeout)

    async def aclose(self, timeout: float | None = None) -> None:
        """Do as `close`, without stopping the event loop."""
        import asyncio

        await asyncio.to_thread(self.close, timeout)

    def waiting(self) -> int:
        """Return how many batches and single events wait in the spool for the hub to come back."""
        return self._outbox.spool.pending()

    def after_fork(self) -> None:
        """Begin anew in a child process; called by itself."""
        self._outbox.after_fork()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def _put(self, record: Any) -> None:
        if self.enabled:
            self._outbox.put(record)

    async def _wait_for_room(self) -> None:
        """Let other tasks run while the queue is well filled; a full queue would lose what is handed over."""
        import asyncio

        until = time.monotonic() + self.settings.timeout
        while self._outbox.is_filled() and time.monotonic() < until:
            await asyncio.sleep(0.005)

    def _gather(self) -> None:
        """Put records that are not put as they come; called from time to time and before a flush."""

    def _prepare(self) -> None:
        """Import what `_encode` needs; runs in the background."""

    def _encode(self, records: Sequence[Any]) -> list[Batch]:
        """Turn records into batches; runs in the background."""
        raise NotImplementedError


def _tell_nowhere() -> None:
    global _has_told_nowhere
    if not _has_told_nowhere:
        _has_told_nowhere = True
        log.warning(
            "lineage and telemetry go nowhere: set LINEAGE_HUB_URL (and LINEAGE_HUB_API_KEY, LINEAGE_HUB_NAMESPACE), "
            "or LINEAGE_HUB_DISABLED=1 to have it so"
        )


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


at_fork(in_child=_after_fork)
