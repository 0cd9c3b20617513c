"""Health and metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from metadata_service.dependencies import DbSession, ServiceMetrics

router = APIRouter(tags=["system"])


class Health(BaseModel):
    """The service answers and so does its database."""

    status: Literal["ok"] = "ok"


@router.get("/health")
def health(session: DbSession) -> Health:
    """Tell whether the service and its database work; 503 if the database doesn't."""
    session.execute(text("SELECT 1"))
    return Health()


@router.get("/metrics", response_class=Response)
def metrics(service_metrics: ServiceMetrics) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(service_metrics.registry), media_type=CONTENT_TYPE_LATEST)
