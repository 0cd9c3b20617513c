"""OpenLineage events as they come in: validated where the service relies on them, kept whole everywhere else.

Follows https://openlineage.io/spec/2-0-2/OpenLineage.json with the leniency that producers in the wild need:
`schemaURL` may be missing, a run id need not be a UUID, a time without zone is UTC, `inputs` and `outputs` may be null.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from metadata_service.problems import FieldError, UnprocessableError

MAX_NAME_BYTES = 1000  # two of them must fit a B-tree entry of Postgres (2704 bytes)
MAX_RUN_ID_BYTES = 200

FacetMap = dict[str, dict[str, Any]]


def _fits(limit: int) -> AfterValidator:
    def check(value: str) -> str:
        if not value.strip():
            raise ValueError("is empty")
        if len(value.encode()) > limit:
            raise ValueError(f"is longer than {limit} bytes")
        return value

    return AfterValidator(check)


def _with_zone(value: object) -> object:
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            return value  # pydantic's own message says what is wrong
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    if isinstance(value, int | float):
        raise ValueError("is a number: use an ISO 8601 date and time")
    return value


def _none_as_empty(empty: type[list[Any]] | type[dict[str, Any]]) -> BeforeValidator:
    return BeforeValidator(lambda value: empty() if value is None else value)


def _drop_null_facets(value: object) -> object:
    if isinstance(value, dict):
        return {name: facet for name, facet in value.items() if facet is not None}
    return {} if value is None else value


Name = Annotated[str, _fits(MAX_NAME_BYTES)]
RunId = Annotated[str, _fits(MAX_RUN_ID_BYTES)]
Time = Annotated[AwareDatetime, BeforeValidator(_with_zone)]
Facets = Annotated[FacetMap, BeforeValidator(_drop_null_facets), Field(default_factory=dict)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True, strict=False)


class EventDataset(_Part):
    """A dataset of an event; `input_facets` and `output_facets` belong to this run only."""

    namespace: Name
    name: Name
    facets: Facets
    input_facets: Annotated[Facets, Field(alias="inputFacets")]
    output_facets: Annotated[Facets, Field(alias="outputFacets")]


class EventJob(_Part):
    """The job of an event."""

    namespace: Name
    name: Name
    facets: Facets


class EventRun(_Part):
    """The run of an event."""

    run_id: Annotated[RunId, Field(alias="runId")]
    facets: Facets


class _Event(_Part):
    event_time: Annotated[Time, Field(alias="eventTime")]
    producer: Annotated[str, Field(min_length=1)]


Datasets = Annotated[list[EventDataset], _none_as_empty(list), Field(default_factory=list)]


class RunEvent(_Event):
    """A change of a run's state, or more metadata of it."""

    event_type: Annotated[
        Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] | None, Field(alias="eventType")
    ] = None
    run: EventRun
    job: EventJob
    inputs: Datasets
    outputs: Datasets


class JobEvent(_Event):
    """Design-time metadata of a job."""

    job: EventJob
    inputs: Datasets
    outputs: Datasets


class DatasetEvent(_Event):
    """Design-time metadata of a dataset."""

    dataset: EventDataset


AnyEvent = RunEvent | JobEvent | DatasetEvent


@dataclass(frozen=True)
class ParsedEvent:
    """An event, its JSON as it is stored, and the SHA-256 of its canonical form."""

    event: AnyEvent
    payload: dict[str, Any]
    digest: bytes

    @property
    def kind(self) -> Literal["run", "job", "dataset"]:
        """Which of the three event types it is."""
        if isinstance(self.event, RunEvent):
            return "run"
        return "job" if isinstance(self.event, JobEvent) else "dataset"


def parse_event(payload: object) -> ParsedEvent:
    """Validate one event.

    Raises:
        UnprocessableError: it is no event; the error names every field at fault.
    """
    if not isinstance(payload, dict):
        raise UnprocessableError("An OpenLineage event is a JSON object.", [FieldError("", "is not an object")])
    model: type[AnyEvent]
    if "run" in payload:
        model = RunEvent
    elif "job" in payload:
        model = JobEvent
    elif "dataset" in payload:
        model = DatasetEvent
    else:
        raise UnprocessableError(
            "An OpenLineage event has a run and a job, a job, or a dataset.",
            [FieldError(name, "is missing") for name in ("run", "job")],
        )
    payload, canonical = _storable(payload)
    try:
        event = model.model_validate(payload)
    except ValidationError as error:
        raise UnprocessableError.from_validation("The event is not valid OpenLineage.", error) from None
    return ParsedEvent(event, payload, hashlib.sha256(canonical).digest())


def _storable(payload: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the payload with what Postgres can't store (NUL, lone surrogates) replaced, and its canonical JSON."""
    try:
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise UnprocessableError("NaN and Infinity are not JSON.", []) from None
    if "\\u0000" in canonical or "\\ud" in canonical:
        payload = _clean(payload)
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return payload, canonical.encode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
