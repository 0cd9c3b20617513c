"""OpenLineage events as they come in: validated where the service relies on them, kept whole everywhere else.

Follows https://openlineage.io/spec/2-0-2/OpenLineage.json with the leniency that producers in the wild need:
`schemaURL` may be missing, a run id need not be a UUID nor a producer a URI, a time without zone is UTC and may be a
date, `inputs`, `outputs` and facets may be null, a facet need not name its producer and schema. It is stricter where
the service must be: names are neither blank nor longer than `MAX_NAME_BYTES`, times lie in the years 1 to 9999.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from metadata_service.problems import FieldError, ProblemError, UnprocessableError

MAX_NAME_BYTES = 1000  # two of them must fit a B-tree entry of Postgres (2704 bytes)
MAX_RUN_ID_BYTES = 200
PLAIN = MAX_NAME_BYTES // 4  # so many characters fit in any case
MAX_KNOWN_BYTES = 2 * 1024 * 1024  # of each field that is remembered
OUT_OF_RANGE = "lies outside the years 1 to 9999"

FacetMap = dict[str, dict[str, Any]]
EventKind = Literal["run", "job", "dataset"]


def _fault_of_name(value: str, limit: int) -> str | None:
    if not value or value.isspace():
        return "is empty"
    if len(value) * 4 > limit and len(value.encode()) > limit:
        return f"is longer than {limit} bytes"
    return None


def _drop_null_facets(value: object) -> object:
    if isinstance(value, dict):
        return {name: facet for name, facet in value.items() if facet is not None}
    return {} if value is None else value


def _fits(limit: int) -> AfterValidator:
    def check(value: str) -> str:
        fault = _fault_of_name(value, limit)
        if fault:
            raise ValueError(fault)
        return value

    return AfterValidator(check)


def parse_time(value: str) -> datetime:
    """Return an ISO 8601 date and time in UTC, which it is without a zone; finer than microseconds is cut off.

    Raises:
        ValueError: it is none, or lies outside the years 1 to 9999.
    """
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        # RFC 3339 has lower-case letters and leap seconds, which Python has not.
        parsed = datetime.fromisoformat(re.sub(r":60(\.\d+)?(?=Z|[+-]|$)", ":59.999999", value.upper()))
    if parsed.tzinfo is UTC:
        return parsed
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(OUT_OF_RANGE) from None


def _read_time(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError as error:
            if str(error) == OUT_OF_RANGE:
                raise
            return value  # pydantic's own message says what is wrong
    if isinstance(value, int | float):
        raise ValueError("is a number: use an ISO 8601 date and time")
    return value


Name = Annotated[str, _fits(MAX_NAME_BYTES)]
RunId = Annotated[str, _fits(MAX_RUN_ID_BYTES)]
Time = Annotated[AwareDatetime, BeforeValidator(_read_time)]
Facets = Annotated[FacetMap, BeforeValidator(_drop_null_facets), Field(default_factory=dict)]

GivenFacets = dict[str, dict[str, Any] | None] | None


class EventDataset(msgspec.Struct, rename="camel"):
    """A dataset of an event; `input_facets` and `output_facets` belong to this run only."""

    namespace: str
    name: str
    facets: GivenFacets = None
    input_facets: GivenFacets = None
    output_facets: GivenFacets = None


class EventJob(msgspec.Struct):
    """The job of an event."""

    namespace: str
    name: str
    facets: GivenFacets = None


class EventRun(msgspec.Struct, rename="camel"):
    """The run of an event."""

    run_id: str
    facets: GivenFacets = None


Datasets = list[EventDataset] | None


class RunEvent(msgspec.Struct, rename="camel"):
    """A change of a run's state, or more metadata of it."""

    kind: ClassVar[EventKind] = "run"

    event_time: str
    producer: Annotated[str, msgspec.Meta(min_length=1)]
    run: EventRun
    job: EventJob
    event_type: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] | None = None
    inputs: Datasets = None
    outputs: Datasets = None


class JobEvent(msgspec.Struct, rename="camel"):
    """Design-time metadata of a job."""

    kind: ClassVar[EventKind] = "job"

    event_time: str
    producer: Annotated[str, msgspec.Meta(min_length=1)]
    job: EventJob
    inputs: Datasets = None
    outputs: Datasets = None


class DatasetEvent(msgspec.Struct, rename="camel"):
    """Design-time metadata of a dataset."""

    kind: ClassVar[EventKind] = "dataset"

    event_time: str
    producer: Annotated[str, msgspec.Meta(min_length=1)]
    dataset: EventDataset


AnyEvent = RunEvent | JobEvent | DatasetEvent


@dataclass(slots=True)
class ReadEvent:
    """A valid event, its time, its JSON as it is stored, the SHA-256 of its canonical form, and who sent it."""

    event: AnyEvent
    at: datetime
    payload: bytes
    digest: bytes
    key_name: str | None = None


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode
_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Known:
    """A field of events that comes as the same bytes from run to run, as a job's tables do: it is read once."""

    def __init__(self, type_: Any) -> None:
        self._type = type_
        self._parts: dict[bytes, tuple[Any, msgspec.Raw]] = {}
        self._size = 0

    def read(self, raw: msgspec.Raw) -> tuple[Any, msgspec.Raw]:
        """Return what a field holds, and its canonical JSON.

        Raises:
            ValueError: it is not valid.
        """
        part = bytes(raw)
        known = self._parts.get(part)
        if known is None:
            payload = _decode(part)
            value = msgspec.convert(payload, self._type)
            if any(_faults_of_name("", item) for item in (value if isinstance(value, list) else [value]) if item):
                raise ValueError("a name does not fit")
            known = value, msgspec.Raw(_encode(payload))
            if self._size > MAX_KNOWN_BYTES:
                self._parts.clear()
                self._size = 0
            self._parts[part] = known
            self._size += len(part)
        return known


_REPEATED = {"job": EventJob, "dataset": EventDataset, "inputs": Datasets, "outputs": Datasets}
_KNOWN = {name: _Known(type_) for name, type_ in _REPEATED.items()}


def read_event(raw: bytes | memoryview, key_name: str | None = None) -> ReadEvent:
    """Validate one event.

    Raises:
        UnprocessableError: it is no event; the error names the fields at fault.
        ProblemError: it can't be read at all.
    """
    raw = bytes(raw)
    try:
        if b"\\" in raw and b"\\u0000" in raw:
            raise ValueError("NUL")
        return _read_repeated(raw, key_name)
    except (ValueError, RecursionError):
        return _read_with_care(raw, key_name)


def _read_repeated(raw: bytes, key_name: str | None) -> ReadEvent:
    """Read an event, of which most has come before; raise anything if it is out of the ordinary."""
    payload: dict[str, Any] = {}
    canonical: dict[str, Any] = {}
    for name, part in _split(raw).items():
        known = _KNOWN.get(name)
        if known:
            payload[name], canonical[name] = known.read(part)
        else:
            payload[name] = canonical[name] = _decode(part)
    event = msgspec.convert(payload, _model_of(payload))
    if isinstance(event, RunEvent) and _fault_of_name(event.run.run_id, MAX_RUN_ID_BYTES):
        raise ValueError("the run id does not fit")
    return ReadEvent(event, parse_time(event.event_time), raw, hashlib.sha256(_encode(canonical)).digest(), key_name)


def _read_with_care(raw: bytes, key_name: str | None) -> ReadEvent:
    """Read an event that is out of the ordinary; say what is wrong if something is."""
    try:
        payload = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        payload, raw = _mend(raw)
    except RecursionError:
        raise ProblemError(400, "The body is nested too deeply.") from None
    if b"\\u0000" in raw:
        payload, raw = _mend(raw)
    event, at = check_event(payload)
    return ReadEvent(event, at, raw, hashlib.sha256(_encode(payload)).digest(), key_name)


def check_event(payload: object) -> tuple[AnyEvent, datetime]:
    """Return the event that a JSON value is, and its time.

    Raises:
        UnprocessableError: it is no event; the error names the fields at fault.
    """
    if not isinstance(payload, dict):
        raise UnprocessableError("An OpenLineage event is a JSON object.", [FieldError("", "is not an object")])
    model = _model_of(payload)
    if model is None:
        raise UnprocessableError(
            "An OpenLineage event has a run and a job, a job, or a dataset.",
            [FieldError(name, "is missing") for name in ("run", "job")],
        )
    try:
        event = msgspec.convert(payload, model)
        faults = _faults_of_names(event)
        at = parse_time(event.event_time)
    except (msgspec.ValidationError, ValueError):
        raise UnprocessableError("The event is not valid OpenLineage.", list(_faults(payload, model))) from None
    if faults:
        raise UnprocessableError("The event is not valid OpenLineage.", faults)
    return event, at


def _model_of(payload: dict[str, Any]) -> type[AnyEvent] | None:
    if "run" in payload:
        return RunEvent
    if "job" in payload:
        return JobEvent
    return DatasetEvent if "dataset" in payload else None


def given(facets: GivenFacets) -> FacetMap:
    """Return the facets that are not null."""
    return {name: facet for name, facet in facets.items() if facet is not None} if facets else {}


def _faults_of_names(event: AnyEvent) -> list[FieldError]:
    faults = []
    if isinstance(event, DatasetEvent):
        faults += _faults_of_name("dataset", event.dataset)
    else:
        faults += _faults_of_name("job", event.job)
        for side, items in (("inputs", event.inputs), ("outputs", event.outputs)):
            for number, item in enumerate(items or ()):
                if not (0 < len(item.name) <= PLAIN and 0 < len(item.namespace) <= PLAIN) or (
                    item.name.isspace() or item.namespace.isspace()
                ):
                    faults += _faults_of_name(f"{side}.{number}", item)
    if isinstance(event, RunEvent):
        fault = _fault_of_name(event.run.run_id, MAX_RUN_ID_BYTES)
        if fault:
            faults.append(FieldError("run.runId", fault))
    return faults


def _faults_of_name(place: str, item: EventJob | EventDataset) -> list[FieldError]:
    found = [(key, _fault_of_name(getattr(item, key), MAX_NAME_BYTES)) for key in ("namespace", "name")]
    return [FieldError(f"{place}.{key}", fault) for key, fault in found if fault]


def _faults(payload: dict[str, Any], model: type[AnyEvent]) -> Iterator[FieldError]:
    """Yield the first fault of each of an event's fields, and of each of its datasets."""
    for field in msgspec.structs.fields(model):
        name = field.encode_name
        if name not in payload:
            if field.required:
                yield FieldError(name, "is missing")
        elif name in ("inputs", "outputs") and isinstance(payload[name], list):
            for number, item in enumerate(payload[name]):
                yield from _fault(f"{name}.{number}", item, EventDataset)
        else:
            yield from _fault(name, payload[name], field.type)
    if isinstance(payload.get("eventTime"), str):
        try:
            parse_time(payload["eventTime"])
        except ValueError as error:
            fault = OUT_OF_RANGE if str(error) == OUT_OF_RANGE else "is no ISO 8601 date and time"
            yield FieldError("eventTime", fault)


def _fault(place: str, value: object, type_: Any) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        missing = re.fullmatch(r"Object missing required field `(.*)`", message)
        keys = re.findall(r"\.(\w+)|\[(\d+)\]", path)
        inner = [name or number for name, number in keys] + ([missing[1]] if missing else [])
        if "[...]" in path:  # msgspec doesn't tell which key of a mapping
            inner += [key for key in _wrong_facets(value, inner)]
        yield FieldError(".".join([place, *inner]), "is missing" if missing else message[:1].lower() + message[1:])


def _wrong_facets(value: object, path: list[str]) -> Iterator[str]:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    for name, facet in value.items() if isinstance(value, dict) else ():
        if facet is not None and not isinstance(facet, dict):
            yield str(name)
            return


def _mend(raw: bytes) -> tuple[Any, bytes]:
    """Return a JSON value, and its text as UTF-8, with what Postgres can't store (NUL, lone surrogates) replaced."""
    payload = _clean(load_json(raw))
    try:
        return payload, json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError:
        raise UnprocessableError("A number is out of range.", []) from None


def load_json(raw: bytes | bytearray) -> Any:
    """Return the JSON value of a text in UTF-8, UTF-16 or UTF-32.

    Raises:
        UnprocessableError: it is no JSON; the error says where.
        ProblemError: it can't be read at all.
    """
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ProblemError(400, "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UnprocessableError("The body is not JSON.", [FieldError("", message)]) from None
    except RecursionError:
        raise ProblemError(400, "The body is nested too deeply.") from None
    except ValueError:  # Python reads integers of some thousand digits only
        raise ProblemError(400, "The body has a number of too many digits.") from None


def _no_constant(name: str) -> None:
    raise UnprocessableError(f"{name} is not JSON.", [])


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
