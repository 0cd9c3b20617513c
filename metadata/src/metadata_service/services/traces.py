"""The spans of a run: what its pipeline told of itself while it ran."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sqlalchemy.orm import Session

from metadata_service.problems import ProblemError
from metadata_service.schemas.hub import SpanOut
from metadata_service.services import runs
from metadata_service.telemetry.model import Span
from metadata_service.telemetry.store import StoreAwayError, TelemetryStore

MAX_SPANS = 1000


def spans_of_run(session: Session, store: TelemetryStore, run_id: str) -> list[SpanOut]:
    """Return the spans of the traces that a run appears in, each below the one that began it, by start.

    Only spans that its own team sent: those of its job's namespace.

    Raises:
        NotFoundError: there is no such run.
        ProblemError: 503, the telemetry store does not answer.
    """
    run = runs.describe_run(session, run_id)
    if run.job is None:
        return []
    try:
        spans = store.spans_of_run(run.job.namespace, run_id, MAX_SPANS)
    except StoreAwayError:
        detail = f"The telemetry store ({store.name}) does not answer; try again."
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"}) from None
    return _as_tree(spans)


def _as_tree(spans: list[Span]) -> list[SpanOut]:
    known = {(span.trace_id, span.span_id) for span in spans}
    below: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        parent = (span.trace_id, span.parent_span_id)
        # One whose parent is not here, or is itself, stands at the top.
        is_top = parent not in known or span.parent_span_id == span.span_id
        below.setdefault((span.trace_id, "") if is_top else parent, []).append(span)
    ordered: list[SpanOut] = []
    waiting = [(span, 0) for key in reversed(list(below)) if key[1] == "" for span in reversed(below[key])]
    while waiting:
        span, depth = waiting.pop()
        ordered.append(_shown(span, depth))
        waiting += [(child, depth + 1) for child in reversed(below.pop((span.trace_id, span.span_id), []))]
    return ordered


def _shown(span: Span, depth: int) -> SpanOut:
    return SpanOut(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id or None,
        name=span.name,
        kind=span.kind,
        status=span.status,
        status_message=span.status_message,
        service_name=span.service_name,
        start_time=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=span.start_time / 1000),
        duration_seconds=(span.end_time - span.start_time) / 1e9,
        depth=depth,
        attributes=span.attributes,
    )
