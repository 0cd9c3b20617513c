"""Health and metrics."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from metadata_service.dependencies import ServiceMetrics, Sessions
from metadata_service.repositories import events as event_log

router = APIRouter(tags=["system"])


class Projection(BaseModel):
    """How far the graph is behind the stored events."""

    backlog: Annotated[int, Field(description="Stored events that are not yet in the graph.")]
    lag_seconds: Annotated[float, Field(description="Age of the oldest of them.")]
    failed: Annotated[int, Field(description="Events that could not be projected; the table event_failure says why.")]


class Health(BaseModel):
    """The service answers and so does its database."""

    status: Literal["ok"] = "ok"


@router.get("/health")
def health(sessions: Sessions) -> Health:
    """Tell whether the service and its database work; 503 if the database doesn't."""
    with sessions() as session:
        session.execute(text("SELECT 1"))
    return Health()


@router.get("/health/projection")
def projection(sessions: Sessions) -> Projection:
    """Tell how far the graph is behind the stored events."""
    with sessions() as session:
        backlog = event_log.backlog(session)
    lag = (datetime.now(UTC) - backlog.oldest).total_seconds() if backlog.oldest else 0.0
    return Projection(backlog=backlog.queued, lag_seconds=max(round(lag, 3), 0.0), failed=backlog.failed)


@router.get("/metrics", response_class=Response)
def metrics(sessions: Sessions, service_metrics: ServiceMetrics) -> Response:
    """Metrics in Prometheus' text format."""
    with contextlib.suppress(SQLAlchemyError):  # without its database the service still has metrics
        now = projection(sessions)
        service_metrics.backlog.set(now.backlog)
        service_metrics.failed.set(now.failed)
        service_metrics.lag.set(now.lag_seconds)
    return Response(generate_latest(service_metrics.registry), media_type=CONTENT_TYPE_LATEST)
