"""Spans and metrics as the service keeps them, and how they are read from JSON.

Times are nanoseconds since 1970, attributes are text: what is no text when it comes becomes its JSON. The words are
OpenTelemetry's: https://opentelemetry.io/docs/specs/otel/trace/api/ and …/metrics/data-model/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec

from metadata_service.openlineage import MAX_NAME_BYTES, MAX_RUN_ID_BYTES, parse_time
from metadata_service.problems import FieldError, UnprocessableError

RUN_ID = "lineage.run_id"
JOB_NAME = "lineage.job.name"
MAX_ATTRIBUTES = 256
MAX_TEXT = 16 * 1024  # characters of an attribute; longer ones are cut
MAX_CONTENT = 512 * 1024  # characters of all attributes and events of an item
MAX_TIME = 2**63  # nanoseconds: what the stores can tell
MAX_COUNT = 2**64 - 1
FUTURE = timedelta(days=1)  # clocks go wrong, but not further than this
GRACE = timedelta(hours=12)  # for what waits between the hub and a store, which keeps it for a day longer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]
MetricType = Literal["gauge", "sum", "histogram"]
Temporality = Literal["unspecified", "delta", "cumulative"]


class SpanEvent(msgspec.Struct):
    """Something that happened within a span."""

    name: str
    time: int
    attributes: dict[str, str] = {}


class Span(msgspec.Struct):
    """A piece of work; `trace_id` has 32 hexadecimal digits, `span_id` and `parent_span_id` have 16."""

    trace_id: str
    span_id: str
    name: str
    start_time: int
    end_time: int
    parent_span_id: str = ""
    kind: Kind = "internal"
    status: Status = "unset"
    status_message: str = ""
    service_name: str = ""
    attributes: dict[str, str] = {}
    resource: dict[str, str] = {}
    events: list[SpanEvent] = []

    @property
    def run_id(self) -> str:
        """The run of lineage that it belongs to, if any."""
        given = self.attributes.get(RUN_ID, "")
        return given if len(given.encode()) <= MAX_RUN_ID_BYTES else ""

    @property
    def pipeline(self) -> str:
        """What it is shown under: the job of lineage it belongs to, or its service."""
        return self.attributes.get(JOB_NAME) or self.service_name


class Metric(msgspec.Struct):
    """A measured value; of a histogram its sum, with what lies in each of its buckets."""

    name: str
    time: int
    value: float
    type: MetricType = "gauge"
    temporality: Temporality = "unspecified"
    unit: str = ""
    service_name: str = ""
    count: int = 1
    bounds: list[float] = []
    bucket_counts: list[int] = []
    attributes: dict[str, str] = {}
    resource: dict[str, str] = {}


class Batch(msgspec.Struct):
    """Spans and metrics of one namespace."""

    namespace: str = ""
    spans: list[Span] = []
    metrics: list[Metric] = []

    def __len__(self) -> int:
        """Return how many items it has."""
        return len(self.spans) + len(self.metrics)


_Item = TypeVar("_Item", Span, Metric)


class Bounds:
    """The times that are taken: not before what the store forgets, nor further ahead than clocks go wrong.

    What was taken once, and has waited since, is let in for `grace` longer.
    """

    def __init__(self, retention_days: int, grace: timedelta = timedelta(0)) -> None:
        now = datetime.now(UTC)
        self.oldest = to_nanoseconds(now - timedelta(days=retention_days) - grace)
        self.newest = to_nanoseconds(now + FUTURE)

    def check(self, time: int) -> None:
        """Refuse another time.

        Raises:
            ValueError: it lies outside.
        """
        if time < self.oldest:
            raise ValueError("is older than what is kept")
        if time > self.newest:
            raise ValueError("lies more than a day ahead")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_nanoseconds(at: datetime) -> int:
    """Return a time as nanoseconds since 1970."""
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def read_span(given: object, bounds: Bounds) -> Span:
    """Return the span that a JSON value is.

    Raises:
        UnprocessableError: it is none; the error names the field.
    """
    return _read(given, Span, ("start_time", "end_time"), lambda span: check_span(span, bounds))


def read_metric(given: object, bounds: Bounds) -> Metric:
    """Return the metric that a JSON value is.

    Raises:
        UnprocessableError: it is none; the error names the field.
    """
    value = given
    if isinstance(value, dict) and value.get("type") == "histogram" and "value" not in value:
        value = value | {"value": value.get("sum")}
    return _read(value, Metric, ("time",), lambda metric: check_metric(metric, bounds))


class FieldFaultError(ValueError):
    """What is wrong with a field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def check_span(span: Span, bounds: Bounds) -> None:
    """Mend what can be mended of a span, and refuse what can't.

    Raises:
        FieldFaultError: a field can't be used.
    """
    span.trace_id = _hex("trace_id", span.trace_id, 32)
    span.span_id = _hex("span_id", span.span_id, 16)
    if span.parent_span_id:
        span.parent_span_id = _hex("parent_span_id", span.parent_span_id, 16)
    span.name = read_name("name", span.name)
    if span.end_time < span.start_time:
        raise FieldFaultError("end_time", "is before start_time")
    _timely("start_time", span.start_time, bounds)
    _timely("end_time", span.end_time, bounds)
    for event in span.events:
        event.name = _text(event.name)
        if not 0 <= event.time < MAX_TIME:
            raise FieldFaultError("events", "have a time before 1970 or after 2262")
    _fits(span.attributes, span.resource, *(event.attributes for event in span.events))
    span.status_message = _text(span.status_message)
    span.service_name = _text(span.service_name)[: MAX_NAME_BYTES // 4]


def check_metric(metric: Metric, bounds: Bounds) -> None:
    """Mend what can be mended of a metric, and refuse what can't.

    Raises:
        FieldFaultError: a field can't be used.
    """
    metric.name = read_name("name", metric.name)
    _timely("time", metric.time, bounds)
    if not math.isfinite(metric.value):
        raise FieldFaultError("value", "is not a finite number")
    if not all(0 <= count <= MAX_COUNT for count in (metric.count, *metric.bucket_counts)):
        raise FieldFaultError("count", "is below zero or has more than 64 bits")
    if not all(map(math.isfinite, metric.bounds)):
        raise FieldFaultError("bounds", "are not finite numbers")
    if metric.bounds and len(metric.bucket_counts) != len(metric.bounds) + 1:
        raise FieldFaultError("bucket_counts", "must be one more than bounds")
    _fits(metric.attributes, metric.resource)
    metric.unit = _text(metric.unit)
    metric.service_name = _text(metric.service_name)[: MAX_NAME_BYTES // 4]


def as_attributes(given: dict[str, Any]) -> dict[str, str]:
    """Return attributes as text, and not more of them than are kept."""
    return {_text(key): _as_text(value) for key, value in list(given.items())[:MAX_ATTRIBUTES] if value is not None}


def _read(given: object, model: type[_Item], times: tuple[str, ...], check: Callable[[_Item], None]) -> _Item:
    what = model.__name__.lower()
    try:
        if not isinstance(given, dict):
            raise FieldFaultError("", "is not an object")
        item = dict(given)
        for name in times:
            if name in item:
                item[name] = _time(name, item[name])
        for name in ("attributes", "resource"):
            item[name] = _attributes(name, item.get(name))
        if isinstance(item.get("events"), list):
            item["events"] = [_event(number, event) for number, event in enumerate(item["events"])]
        try:
            made = msgspec.convert({k: v for k, v in item.items() if v is not None}, model, strict=True)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$.")
            raise FieldFaultError(path.rstrip("`"), message[:1].lower() + message[1:]) from None
        check(made)
    except FieldFaultError as fault:
        raise UnprocessableError(f"The {what} is not valid.", [FieldError(fault.field, fault.message)]) from None
    except UnicodeError:
        raise UnprocessableError(f"The {what} is not valid.", [FieldError("", "has text that is no Unicode")]) from None
    return made


def _event(number: int, event: object) -> object:
    if not isinstance(event, dict):
        raise FieldFaultError(f"events.{number}", "is not an object")
    made = event | {"attributes": _attributes(f"events.{number}.attributes", event.get("attributes"))}
    if "time" in event:
        made["time"] = _time(f"events.{number}.time", event["time"])
    return made


def _attributes(field: str, given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise FieldFaultError(field, "is not an object")
    return as_attributes(given)


def _time(field: str, given: object) -> int:
    if isinstance(given, str):
        try:
            return to_nanoseconds(parse_time(given))
        except ValueError:
            raise FieldFaultError(field, "is no ISO 8601 date and time") from None
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    raise FieldFaultError(field, "is neither an ISO 8601 date and time nor nanoseconds since 1970")


def _timely(field: str, time: int, bounds: Bounds) -> None:
    try:
        bounds.check(time)
    except ValueError as error:
        raise FieldFaultError(field, str(error)) from None


def _fits(*attributes: dict[str, str]) -> None:
    if sum(len(key) + len(value) for given in attributes for key, value in given.items()) > MAX_CONTENT:
        raise FieldFaultError("attributes", f"have more than {MAX_CONTENT} characters together")


def _hex(field: str, given: str, length: int) -> str:
    value = given.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{length}}}", value) or not value.strip("0"):
        raise FieldFaultError(field, f"is not {length} hexadecimal digits that are not all zero")
    return value


def read_name(field: str, given: object) -> str:
    """Return a name as it can be stored.

    Raises:
        FieldFaultError: it is no text, empty or too long.
    """
    if not isinstance(given, str):
        raise FieldFaultError(field, "is not text")
    value = _text(given)
    if not value.strip():
        raise FieldFaultError(field, "is empty")
    if len(value.encode()) > MAX_NAME_BYTES:
        raise FieldFaultError(field, f"is longer than {MAX_NAME_BYTES} bytes")
    return value


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    return _text(msgspec.json.encode(value).decode())


def _text(value: str) -> str:
    """Return a text without what Postgres can't store: NUL and lone surrogates."""
    if "\x00" in value or not value.isascii():
        value = value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "…"
