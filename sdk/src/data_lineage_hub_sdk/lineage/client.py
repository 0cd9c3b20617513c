"""The explicit client for lineage: events of openlineage-python, or dictionaries, to the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_lineage_hub_sdk.batch import Batch, encode
from data_lineage_hub_sdk.client import HubClient
from data_lineage_hub_sdk.lineage.runs import Record

log = logging.getLogger(__name__)


class LineageHubClient(HubClient):
    """Sends OpenLineage events: `RunEvent`, `JobEvent`, `DatasetEvent` of openlineage-python, or dictionaries.

    Events are turned into JSON at once, so that what is changed afterwards changes nothing, and sent in the background.
    An event without `job.namespace` gets the client's; one of another namespace is refused by the hub. Nothing here
    raises: what can't be turned into JSON is told in the log.
    """

    def emit(self, event: Any) -> None:
        """Hand an event over; takes microseconds, whatever the hub does."""
        if not self.enabled:
            return
        try:
            content = _content(event)
            if isinstance(job := content.get("job"), Mapping) and not job.get("namespace"):
                content["job"] = {**job, "namespace": self.settings.namespace}
            self._put(encode(content))
        except Exception:
            log.exception("an OpenLineage event can't be turned into JSON and is lost")

    async def aemit(self, event: Any) -> None:
        """Do as `emit`; waits, without stopping the event loop, while a great many events wait already."""
        await self._wait_for_room()
        self.emit(event)

    def emit_batch(self, events: Iterable[Any]) -> None:
        """Hand events over, in their order."""
        for event in events:
            self.emit(event)

    async def aemit_batch(self, events: Iterable[Any]) -> None:
        """Do as `emit_batch`; waits, without stopping the event loop, while a great many events wait already."""
        for event in events:
            await self.aemit(event)

    def record(self, record: Record) -> None:
        """Hand over what is known of a run; its event is made of it in the background."""
        self._put(record)

    def _prepare(self) -> None:
        from data_lineage_hub_sdk.lineage import events  # noqa: F401

    def _encode(self, records: Sequence[Any]) -> list[Batch]:
        from data_lineage_hub_sdk.lineage.events import encode_record

        events = []
        for record in records:
            try:
                events.append(record if isinstance(record, bytes) else encode_record(record))
            except Exception:
                log.exception("an event of %s can't be made and is lost", record.run.ref)
        return [Batch("lineage", self.settings.namespace, events)] if events else []


def _content(event: Any) -> dict[str, Any]:
    if isinstance(event, Mapping):
        return dict(event)
    from data_lineage_hub_sdk.lineage.events import to_json

    return to_json(event)
