"""OpenLineage's HTTP API: https://openlineage.io/apidocs/openapi/.

These routes are called thousands of times a second; see `metadata_service.lean`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from fastapi import APIRouter, Depends, Request

from metadata_service.dependencies import check_writer, read_body
from metadata_service.lean import Answer, LeanRoute
from metadata_service.openlineage import ReadEvent, RunEvent, load_json, read_event
from metadata_service.problems import FieldError, ProblemError, UnprocessableError, first_line, reason_of
from metadata_service.schemas.events import BatchResult, EventAccepted
from metadata_service.services.access import Principal, authorize_event, foreign_runs
from metadata_service.services.intake import Outcome, is_fault_of_data

MAX_BATCH = 1000
# Bodies from this size on are read in a thread, so that other requests don't wait.
LARGE = 256 * 1024


router = APIRouter(tags=["OpenLineage"], dependencies=[Depends(check_writer)], route_class=LeanRoute)

_EXAMPLE = {
    "eventType": "COMPLETE",
    "eventTime": "2026-01-01T00:00:00Z",
    "producer": "https://example.org/my-job",
    "run": {"runId": "01941f29-7c00-7000-8000-000000000000"},
    "job": {"namespace": "my-team", "name": "load_orders"},
    "inputs": [{"namespace": "s3://raw", "name": "orders"}],
    "outputs": [{"namespace": "postgres://127.0.0.1:5432", "name": "warehouse.staging.orders"}],
}
_EVENT_BODY = {
    "requestBody": {
        "required": True,
        "description": "A RunEvent, JobEvent or DatasetEvent.",
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}
_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "description": "A list of events.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}, "example": [_EXAMPLE]}
        },
    }
}


@router.post("/api/v1/lineage", status_code=201, response_model=EventAccepted, openapi_extra=_EVENT_BODY)
@router.post("/openlineage/events", status_code=201, response_model=EventAccepted, openapi_extra=_EVENT_BODY)
async def post_event(request: Request) -> Answer:
    """Take an event. Sending it again changes nothing."""
    sender = await check_writer(request)
    body = await read_body(request)
    count = request.app.state.metrics.count_event
    try:
        event = await asyncio.to_thread(_read, body, sender) if len(body) >= LARGE else _read(body, sender)
        if (refused := (await refused_runs(request, sender, [event])).get(run_of(event))) is not None:
            raise refused
    except ProblemError:
        count("rejected")
        raise
    (outcome,) = await request.app.state.intake.store([event])
    if isinstance(outcome, psycopg.Error):
        count("rejected")
        raise _refusal(outcome)
    status = "stored" if outcome else "duplicate"
    count(status)
    return 201, f'{{"status":"{status}","kind":"{event.event.kind}"}}'.encode()


@router.post("/api/v1/lineage/batch", response_model=BatchResult, openapi_extra=_BATCH_BODY)
async def post_batch(request: Request) -> Answer:
    """Take up to 1,000 events, each for itself: one that is refused doesn't hold up the others."""
    sender = await check_writer(request)
    body = await read_body(request)
    read = await asyncio.to_thread(_read_batch, body, sender) if len(body) >= LARGE else _read_batch(body, sender)
    refused = await refused_runs(request, sender, [item for item in read if isinstance(item, ReadEvent)])
    read = [refused.get(run_of(item), item) if isinstance(item, ReadEvent) else item for item in read]
    outcomes = iter(await request.app.state.intake.store([item for item in read if isinstance(item, ReadEvent)]))
    result = _result(read, outcomes)
    for status, number in Counter(item["status"] for item in result["results"]).items():
        request.app.state.metrics.count_event(status, number)
    return 200, msgspec.json.encode(result)


async def refused_runs(request: Request, sender: Principal, events: list[ReadEvent]) -> dict[str | None, ProblemError]:
    """Return the runs of events that belong to jobs outside the namespaces that a key is bound to, and why."""
    runs = {run for event in events if (run := run_of(event)) is not None}
    if sender.namespaces is None or not runs:
        return {}

    def check() -> dict[str | None, ProblemError]:
        with request.app.state.sessions() as session:
            return dict(foreign_runs(session, sender, runs))

    return await asyncio.to_thread(check)


def run_of(event: ReadEvent) -> str | None:
    return event.event.run.run_id if isinstance(event.event, RunEvent) else None


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _read_batch(body: bytes, sender: Principal) -> list[ReadEvent | ProblemError]:
    try:
        items = [bytes(item) for item in _split(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        listed = load_json(body)
        if not isinstance(listed, list):
            raise UnprocessableError("A batch is a list of events.", [FieldError("", "is not a list")]) from None
        items = [json.dumps(item).encode() for item in listed]
    if len(items) > MAX_BATCH:
        raise ProblemError(413, f"A batch has at most {MAX_BATCH} events; this one has {len(items)}.")
    return [_try_to_read(item, sender) for item in items]


def _read(raw: bytes, sender: Principal) -> ReadEvent:
    return authorize_event(sender, read_event(raw, sender.name))


def _try_to_read(raw: bytes, sender: Principal) -> ReadEvent | ProblemError:
    try:
        return _read(raw, sender)
    except ProblemError as error:
        return error


def _result(read: list[ReadEvent | ProblemError], outcomes: Iterator[Outcome]) -> dict[str, Any]:
    """Return a `BatchResult`; as it is made of hundreds of events at a time, not as a model."""
    results: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for index, item in enumerate(read):
        outcome: Outcome | ProblemError = next(outcomes) if isinstance(item, ReadEvent) else item
        if isinstance(outcome, bool):
            results.append({"index": index, "status": "stored" if outcome else "duplicate"})
            continue
        problem = _refusal(outcome) if isinstance(outcome, psycopg.Error) else outcome
        failed.append({"index": index, "reason": reason_of(problem), "retriable": problem.status >= 500})
        results.append({"index": index, "status": "rejected"})
    retriable = sum(item["retriable"] for item in failed)
    summary = {
        "received": len(read),
        "successful": len(read) - len(failed),
        "failed": len(failed),
        "retriable": retriable,
        "non_retriable": len(failed) - retriable,
    }
    status = "partial_success" if failed else "success"
    return {"status": status, "summary": summary, "failed_events": failed, "results": results}


def _refusal(error: psycopg.Error) -> ProblemError:
    if is_fault_of_data(error):
        return UnprocessableError(f"The store refused the event: {first_line(error)}", [])
    detail = "The database does not answer; try again."
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"})
