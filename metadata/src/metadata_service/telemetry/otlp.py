"""OTLP over HTTP: what any OpenTelemetry exporter sends, in protobuf or JSON.

Follows https://opentelemetry.io/docs/specs/otlp/ (1.x). Exponential histograms and summaries are kept as their count
and sum.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as OtlpMetric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from metadata_service.problems import FieldError, ProblemError, UnprocessableError
from metadata_service.telemetry.model import (
    Batch,
    Bounds,
    FieldFaultError,
    Kind,
    Metric,
    Span,
    SpanEvent,
    Status,
    Temporality,
    as_attributes,
    check_metric,
    check_span,
)

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES: tuple[Status, ...] = ("unset", "ok", "error")
_TEMPORALITIES: tuple[Temporality, ...] = ("unspecified", "delta", "cumulative")
# Hexadecimal in OTLP's JSON, where protobuf's own has base64.
_IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


MAX_ITEMS = 50_000  # spans or points of a request, with what they are grouped in


@dataclass
class Export:
    """What a request brought: items of each namespace, and why others were refused."""

    of_namespace: dict[str, Batch] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """The items, a batch for each namespace."""
        return list(self.of_namespace.values())


NamespaceOf = Callable[[str | None], str]
"""Returns the namespace to write in, given the one that a resource names; or raises."""


def read_traces(body: bytes, content_type: str, namespace_of: NamespaceOf, bounds: Bounds) -> Export:
    """Return the spans of an export request.

    Raises:
        ProblemError: it is none, or too large, or one of its namespaces can't be written in.
    """
    export = Export()
    parts = _parse(body, content_type, ExportTraceServiceRequest()).resource_spans
    _check_size(1 + sum(len(scope.spans) for scope in part.scope_spans) for part in parts)
    for part in parts:
        batch, service, resource = _begin(export, part.resource, namespace_of)
        found = (_span(span, service, resource) for scope in part.scope_spans for span in scope.spans)
        batch.spans += _checked(found, lambda span: check_span(span, bounds), export)
    return export


def read_metrics(body: bytes, content_type: str, namespace_of: NamespaceOf, bounds: Bounds) -> Export:
    """Return the metrics of an export request.

    Raises:
        ProblemError: it is none, or too large, or one of its namespaces can't be written in.
    """
    export = Export()
    parts = _parse(body, content_type, ExportMetricsServiceRequest()).resource_metrics
    _check_size(
        1 + sum(1 + len(_data_points(metric)) for scope in part.scope_metrics for metric in scope.metrics)
        for part in parts
    )
    for part in parts:
        batch, service, resource = _begin(export, part.resource, namespace_of)
        found = (
            point
            for scope in part.scope_metrics
            for metric in scope.metrics
            for point in _points(metric, service, resource)
        )
        batch.metrics += _checked(found, lambda metric: check_metric(metric, bounds), export)
    return export


def traces_response(export: Export, content_type: str) -> bytes:
    """Return the answer to an export of spans."""
    answer = ExportTraceServiceResponse()
    if export.refused:
        answer.partial_success.rejected_spans = len(export.refused)
        answer.partial_success.error_message = export.refused[0]
    return _encode(answer, content_type)


def metrics_response(export: Export, content_type: str) -> bytes:
    """Return the answer to an export of metrics."""
    answer = ExportMetricsServiceResponse()
    if export.refused:
        answer.partial_success.rejected_data_points = len(export.refused)
        answer.partial_success.error_message = export.refused[0]
    return _encode(answer, content_type)


_Request = TypeVar("_Request", ExportTraceServiceRequest, ExportMetricsServiceRequest)
_Item = TypeVar("_Item", Span, Metric)


def _parse(body: bytes, content_type: str, request: _Request) -> _Request:
    try:
        if content_type == JSON:
            whole = json.loads(body)
            if not isinstance(whole, dict):
                raise ParseError("is not an object")
            ParseDict(_with_base64(whole), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (ParseError, DecodeError, ValueError, RecursionError) as error:
        lines = str(error).splitlines() or ["can't be read"]
        raise UnprocessableError("The body is no OTLP export request.", [FieldError("", lines[0])]) from None
    return request


def _check_size(sizes: Iterable[int]) -> None:
    total = 0
    for size in sizes:
        total += size
        if total > MAX_ITEMS:
            raise ProblemError(413, f"An export has at most {MAX_ITEMS} spans or points; set a smaller batch size.")


def _with_base64(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode()
            if key in _IDS and isinstance(item, str)
            else _with_base64(item)
            for key, item in value.items()
        }
    return [_with_base64(item) for item in value] if isinstance(value, list) else value


def _encode(answer: Message, content_type: str) -> bytes:
    if content_type != JSON:
        return bytes(answer.SerializeToString())
    partial = getattr(answer, "partial_success", None)
    if partial is None or not partial.error_message:
        return b"{}"
    rejected = getattr(partial, "rejected_spans", 0) or getattr(partial, "rejected_data_points", 0)
    what = "rejectedSpans" if isinstance(answer, ExportTraceServiceResponse) else "rejectedDataPoints"
    return json.dumps({"partialSuccess": {what: rejected, "errorMessage": partial.error_message}}).encode()


def _begin(export: Export, resource: Resource, namespace_of: NamespaceOf) -> tuple[Batch, str, dict[str, str]]:
    """Return the batch that a resource's items go into, its service and its attributes."""
    attributes = as_attributes(_values(resource.attributes))
    namespace = namespace_of(attributes.pop("service.namespace", None))
    batch = export.of_namespace.setdefault(namespace, Batch(namespace))
    return batch, attributes.pop("service.name", ""), attributes


def _checked(items: Iterable[_Item], check: Callable[[_Item], None], export: Export) -> Iterator[_Item]:
    for item in items:
        try:
            check(item)
        except FieldFaultError as fault:
            export.refused.append(f"{item.name!r}: {fault}")
        else:
            yield item


def _span(given: OtlpSpan, service: str, resource: dict[str, str]) -> Span:
    return Span(
        trace_id=given.trace_id.hex(),
        span_id=given.span_id.hex(),
        parent_span_id=given.parent_span_id.hex(),
        name=given.name,
        kind=_known(_KINDS, given.kind),
        start_time=given.start_time_unix_nano,
        end_time=given.end_time_unix_nano,
        status=_known(_STATUSES, given.status.code),
        status_message=given.status.message,
        service_name=service,
        attributes=as_attributes(_values(given.attributes)),
        resource=resource,
        events=[SpanEvent(e.name, e.time_unix_nano, as_attributes(_values(e.attributes))) for e in given.events],
    )


def _data_points(metric: OtlpMetric) -> Sequence[Any]:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _points(metric: OtlpMetric, service: str, resource: dict[str, str]) -> Iterator[Metric]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    temporality = _known(_TEMPORALITIES, getattr(data, "aggregation_temporality", 0))
    for point in data.data_points:
        if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            continue  # it only says that the series has ended
        made = Metric(
            name=metric.name,
            time=point.time_unix_nano,
            value=0.0,
            temporality=temporality,
            unit=metric.unit,
            service_name=service,
            attributes=as_attributes(_values(point.attributes)),
            resource=resource,
        )
        if kind in ("gauge", "sum"):
            made.type = "gauge" if kind == "gauge" else "sum"
            made.value = float(getattr(point, point.WhichOneof("value") or "as_double"))
        else:
            made.type, made.value, made.count = "histogram", point.sum, point.count
            if kind == "histogram" and point.explicit_bounds:
                made.bounds, made.bucket_counts = list(point.explicit_bounds), list(point.bucket_counts)
        yield made


_Word = TypeVar("_Word")


def _known(words: tuple[_Word, ...], number: int) -> _Word:
    return words[number] if 0 <= number < len(words) else words[0]


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
