"""What is sent through Kafka: keys that keep order where it matters, headers, and values.

| topic | key | value |
|---|---|---|
| lineage | `<namespace of the job>/<run>`; of other events the job's or dataset's name | an OpenLineage event |
| spans | `<namespace>/<trace>` | `{"spans": […]}`, of one trace |
| metrics | `<namespace>/<service>` | `{"metrics": […]}` |

Headers: `namespace`, `schema-version`, `sender` (the name of the key it came with), `bound` (the sender's key is bound
to namespaces) and `traceparent`, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

import msgspec

from metadata_service.openlineage import DatasetEvent, ReadEvent, RunEvent, given
from metadata_service.telemetry.model import Batch, Metric, Span

SCHEMA_VERSION = "1"
_TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-01")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for a topic."""

    key: str
    value: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the name of a key, and whether it is bound to namespaces."""

    name: str
    is_bound: bool

    def headers(self, namespace: str) -> dict[str, str]:
        """Return the headers of its messages."""
        bound = {"bound": "1"} if self.is_bound else {}
        return {"namespace": namespace, "schema-version": SCHEMA_VERSION, "sender": self.name, **bound}


def lineage_message(event: ReadEvent, sender: Sender) -> Outgoing:
    """Return an event as a message."""
    told = event.event
    if isinstance(told, DatasetEvent):
        namespace, subject = told.dataset.namespace, told.dataset.name
    else:
        namespace, subject = told.job.namespace, told.run.run_id if isinstance(told, RunEvent) else told.job.name
    headers = sender.headers(namespace)
    if isinstance(told, RunEvent):
        span = given(told.run.facets).get("telemetry", {})
        traceparent = f"00-{span.get('traceId')}-{span.get('spanId')}-01"
        if _TRACEPARENT.fullmatch(traceparent):
            headers["traceparent"] = traceparent
    return Outgoing(f"{namespace}/{subject}", event.payload, headers)


def span_messages(batch: Batch, sender: Sender, most_bytes: int) -> Iterator[Outgoing]:
    """Yield the messages of a batch's spans: one for each trace, or more if it would be too large."""
    for trace, spans in groupby(sorted(batch.spans, key=_trace_of), _trace_of):
        headers = sender.headers(batch.namespace)
        for value, first in _values("spans", list(spans), most_bytes):
            traceparent = {"traceparent": f"00-{trace}-{first.span_id}-01"}
            yield Outgoing(f"{batch.namespace}/{trace}", value, headers | traceparent)


def metric_messages(batch: Batch, sender: Sender, most_bytes: int) -> Iterator[Outgoing]:
    """Yield the messages of a batch's metrics: one for each service, or more if it would be too large."""
    for service, metrics in groupby(sorted(batch.metrics, key=_service_of), _service_of):
        for value, _ in _values("metrics", list(metrics), most_bytes):
            yield Outgoing(f"{batch.namespace}/{service}", value, sender.headers(batch.namespace))


_trace_of = attrgetter("trace_id")
_service_of = attrgetter("service_name")
_Item = TypeVar("_Item", Span, Metric)


def _values(name: str, items: list[_Item], most_bytes: int) -> Iterator[tuple[bytes, _Item]]:
    """Yield the values of messages, and the first item of each."""
    value = msgspec.json.encode({name: items})
    if len(value) <= most_bytes or len(items) == 1:
        yield value, items[0]
        return
    half = len(items) // 2
    yield from _values(name, items[:half], most_bytes)
    yield from _values(name, items[half:], most_bytes)
