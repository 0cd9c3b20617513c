"""The explicit client for telemetry, and the private OpenTelemetry pipeline behind the decorator."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from data_lineage_hub_sdk.batch import Batch, Kind, encode
from data_lineage_hub_sdk.client import HubClient
from data_lineage_hub_sdk.settings import Settings
from data_lineage_hub_sdk.telemetry.providers import Instruments, Measure, Providers

log = logging.getLogger(__name__)


class _Item(NamedTuple):
    kind: Kind
    content: bytes


class TelemetryClient(HubClient):
    """Sends spans and metrics: those of `telemetry_track`, and those handed over as dictionaries.

    A span is `{"trace_id" (32 hexadecimal digits), "span_id" (16), "name", "start_time", "end_time"}` and perhaps
    `parent_span_id`, `kind`, `status`, `status_message`, `service_name`, `attributes`, `resource`, `events`; a metric
    `{"name", "value", "time"}` and perhaps `type` (gauge, sum, histogram), `unit`, `service_name`, `attributes`, for a
    histogram `count`, `sum`, `bounds`, `bucket_counts`. Times are ISO 8601 with a zone, or nanoseconds since 1970.
    Nothing here raises: what can't be turned into JSON is told in the log.
    """

    def __init__(self, settings: Settings | None = None, **changes: Any) -> None:
        super().__init__(settings, **changes)
        self._providers = self._new_providers()

    def emit(self, *, spans: Iterable[Mapping[str, Any]] = (), metrics: Iterable[Mapping[str, Any]] = ()) -> None:
        """Hand spans and metrics over; takes microseconds for each, whatever the hub does."""
        if not self.enabled:
            return
        kinds: tuple[tuple[Kind, Iterable[Mapping[str, Any]]], ...] = (("spans", spans), ("points", metrics))
        for kind, items in kinds:
            for item in items:
                try:
                    self._put(_Item(kind, encode(item)))
                except Exception:
                    log.exception("a span or metric can't be turned into JSON and is lost")

    async def aemit(
        self, *, spans: Iterable[Mapping[str, Any]] = (), metrics: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Do as `emit`; waits, without stopping the event loop, while a great many items wait already."""
        for span in spans:
            await self._wait_for_room()
            self.emit(spans=[span])
        for metric in metrics:
            await self._wait_for_room()
            self.emit(metrics=[metric])

    def instruments(self) -> Instruments | None:
        """Return what a call is measured with; None if nobody wants to know."""
        if self.settings.disabled:
            return None
        if self.enabled:
            self._outbox.start()
        return self._providers.instruments()

    def after_fork(self) -> None:
        """Begin anew in a child process: what is measured so far belongs to the parent."""
        super().after_fork()
        self._providers = self._new_providers()

    def _new_providers(self) -> Providers:
        return Providers(self.settings, self._put if self.enabled else None)

    def _gather(self) -> None:
        self._providers.collect()

    def _prepare(self) -> None:
        from data_lineage_hub_sdk.telemetry import encoding

        if self._transport.otlp:
            encoding.import_otlp()

    def _encode(self, records: Sequence[Any]) -> list[Batch]:
        from opentelemetry.sdk.metrics.export import MetricsData

        from data_lineage_hub_sdk.telemetry import encoding

        items: dict[Kind, list[bytes]] = {"spans": [], "points": []}
        spans, batches = [], []
        for record in records:
            try:
                if isinstance(record, Measure):
                    record.record()
                elif isinstance(record, _Item):
                    items[record.kind].append(record.content)
                elif isinstance(record, MetricsData):
                    if self._transport.otlp:
                        batches.append(encoding.otlp_metrics(record))
                    else:
                        items["points"] += encoding.json_points(record)
                elif self._transport.otlp:
                    spans.append(record)
                else:
                    items["spans"].append(encoding.json_span(record))
            except Exception:
                log.exception("a span or metric can't be encoded and is lost")
        if spans:
            batches.append(encoding.otlp_traces(spans))
        batches += [Batch(kind, self.settings.namespace, content) for kind, content in items.items() if content]
        return batches
