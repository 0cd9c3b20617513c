"""The platform at a glance."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from metadata_service.dependencies import DbSession
from metadata_service.schemas.products import DomainStats, LineageStats, QualityStats
from metadata_service.services import analytics

router = APIRouter(tags=["analytics"], prefix="/analytics")


@router.get("/domains")
def get_domains(session: DbSession) -> list[DomainStats]:
    """Return every domain with its datasets, products, owners and their quality."""
    return analytics.domains(session)


@router.get("/lineage-stats")
def get_lineage_stats(session: DbSession) -> LineageStats:
    """Return how much lineage there is, and the datasets that most jobs read."""
    return analytics.lineage_stats(session)


@router.get("/quality")
def get_quality_stats(
    session: DbSession, days: Annotated[int, Query(ge=1, le=90, description="Days of history.")] = 14
) -> QualityStats:
    """Return the states of all datasets, the checks that fail now, and the results of each of the last days."""
    return analytics.quality_stats(session, days)
