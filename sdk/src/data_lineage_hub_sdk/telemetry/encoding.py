"""Spans and points of OpenTelemetry's SDK as OTLP requests, or as the JSON that Kafka, files and consoles get.

Imported by the thread that sends: OTLP's protobuf classes take a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, MetricsData, Sum
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from data_lineage_hub_sdk.batch import Batch, encode


def import_otlp() -> None:
    """Import what OTLP needs; it takes a while."""
    from opentelemetry.exporter.otlp.proto.common import metrics_encoder, trace_encoder  # noqa: F401


def otlp_traces(spans: Sequence[ReadableSpan]) -> Batch:
    """Return spans as an OTLP request; the namespace is in their resource."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return Batch("traces", "", (encode_spans(spans).SerializeToString(),))


def otlp_metrics(data: MetricsData) -> Batch:
    """Return points as an OTLP request; the namespace is in their resource."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    return Batch("metrics", "", (encode_metrics(data).SerializeToString(),))


def json_span(span: ReadableSpan) -> bytes:
    """Return a span as `POST /api/v1/telemetry/ingest` takes it; times are nanoseconds."""
    context, status = span.get_span_context() or INVALID_SPAN_CONTEXT, span.status
    content: dict[str, Any] = {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_time": span.start_time,
        "end_time": span.end_time,
        "status": status.status_code.name.lower(),
        "service_name": _service(span.resource),
        "attributes": dict(span.attributes or {}),
        "resource": dict(span.resource.attributes),
    }
    if span.parent is not None:
        content["parent_span_id"] = f"{span.parent.span_id:016x}"
    if status.description:
        content["status_message"] = status.description
    if span.events:
        content["events"] = [
            {"name": event.name, "time": event.timestamp, "attributes": dict(event.attributes or {})}
            for event in span.events
        ]
    return encode(content)


def json_points(data: MetricsData) -> Iterator[bytes]:
    """Yield points as `POST /api/v1/telemetry/ingest` takes them; times are nanoseconds."""
    for part in data.resource_metrics:
        common = {"service_name": _service(part.resource), "resource": dict(part.resource.attributes)}
        for scope in part.scope_metrics:
            for metric in scope.metrics:
                shared = {"name": metric.name, "unit": metric.unit, **common, **_kind_of(metric.data)}
                for point in metric.data.data_points:
                    yield encode({**shared, "time": point.time_unix_nano, **_values(point)})


def _kind_of(data: Any) -> Mapping[str, str]:
    if not isinstance(data, (Sum, Histogram)):
        return {"type": "gauge"}
    delta = data.aggregation_temporality == AggregationTemporality.DELTA
    kind = "sum" if isinstance(data, Sum) else "histogram"
    return {"type": kind, "temporality": "delta" if delta else "cumulative"}


def _values(point: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"attributes": dict(point.attributes or {})}
    if not hasattr(point, "count"):
        return {**content, "value": point.value}
    content |= {"value": point.sum, "count": point.count, "sum": point.sum}
    if hasattr(point, "explicit_bounds"):
        content |= {"bounds": list(point.explicit_bounds), "bucket_counts": list(point.bucket_counts)}
    return content


def _service(resource: Resource) -> str:
    return str(resource.attributes.get("service.name", ""))
