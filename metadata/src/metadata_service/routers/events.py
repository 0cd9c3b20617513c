"""OpenLineage's HTTP API: https://openlineage.io/apidocs/openapi/."""

from __future__ import annotations

import structlog
from fastapi import APIRouter
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.dependencies import JsonBody, ServiceMetrics, Sessions, writer
from metadata_service.metrics import Metrics
from metadata_service.openlineage import parse_event
from metadata_service.problems import FieldError, ProblemError, UnprocessableError
from metadata_service.schemas.events import BatchItem, BatchResult, BatchSummary, EventAccepted, FailedEvent
from metadata_service.services.events import record_event

log = structlog.get_logger(__name__)
router = APIRouter(tags=["OpenLineage"], dependencies=[writer])
MAX_BATCH = 1000

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


@router.post("/openlineage/events", status_code=201, openapi_extra=_EVENT_BODY)
@router.post("/api/v1/lineage", status_code=201, openapi_extra=_EVENT_BODY)
def post_event(payload: JsonBody, sessions: Sessions, metrics: ServiceMetrics) -> EventAccepted:
    """Take an event. Sending it again changes nothing."""
    return _take(payload, sessions, metrics)


@router.post("/api/v1/lineage/batch", openapi_extra=_BATCH_BODY)
def post_batch(payload: JsonBody, sessions: Sessions, metrics: ServiceMetrics) -> BatchResult:
    """Take up to 1,000 events, each for itself: one that is refused doesn't hold up the others."""
    if not isinstance(payload, list):
        raise UnprocessableError("A batch is a list of events.", [FieldError("", "is not a list")])
    if len(payload) > MAX_BATCH:
        raise ProblemError(413, f"A batch has at most {MAX_BATCH} events; this one has {len(payload)}.")
    results, failed = [], []
    for index, item in enumerate(payload):
        try:
            results.append(BatchItem(index=index, status=_take(item, sessions, metrics).status))
        except UnprocessableError as error:
            faults = "; ".join(f"{e.field}: {e.message}" for e in error.errors)
            failed.append(FailedEvent(index=index, reason=f"{error.detail} {faults}".strip(), retriable=False))
        except (DataError, IntegrityError) as error:
            reason = str(error.orig).strip().splitlines()[0]
            failed.append(FailedEvent(index=index, reason=reason, retriable=False))
        except SQLAlchemyError as error:
            log.warning("batch_event_failed", index=index, reason=str(error).splitlines()[0])
            failed.append(FailedEvent(index=index, reason="The database does not answer.", retriable=True))
        if failed and failed[-1].index == index:
            results.append(BatchItem(index=index, status="rejected"))
    retriable = sum(item.retriable for item in failed)
    summary = BatchSummary(
        received=len(payload),
        successful=len(payload) - len(failed),
        failed=len(failed),
        retriable=retriable,
        non_retriable=len(failed) - retriable,
    )
    return BatchResult(
        status="partial_success" if failed else "success", summary=summary, failed_events=failed, results=results
    )


def _take(payload: object, sessions: sessionmaker[Session], metrics: Metrics) -> EventAccepted:
    try:
        parsed = parse_event(payload)
    except UnprocessableError:
        metrics.events.labels("rejected").inc()
        raise
    with sessions.begin() as session:
        stored = record_event(session, parsed)
    metrics.events.labels("stored" if stored else "duplicate").inc()
    return EventAccepted(status="stored" if stored else "duplicate", kind=parsed.kind)
