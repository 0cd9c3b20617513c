"""Counts over the whole catalog."""

from __future__ import annotations

from sqlalchemy import case, distinct, func, literal_column, select
from sqlalchemy.orm import Session

from metadata_service.models import (
    ColumnEdge,
    CurrentResult,
    Dataset,
    Job,
    JobDataset,
    Product,
    ProductLineageEdge,
    QualityResult,
    QualityState,
)

_CANONICAL = Dataset.canonical_id.is_(None) & Dataset.deleted_at.is_(None)
_LEVEL = func.coalesce(QualityState.state, literal_column("'unknown'"))


def datasets_by_domain(session: Session) -> list[tuple[str | None, str | None, str, int]]:
    """Return (domain, owner, state of quality, number of datasets)."""
    key = (Dataset.domain, Dataset.owner, _LEVEL)
    query = select(*key, func.count()).outerjoin(QualityState, QualityState.dataset_id == Dataset.id)
    rows = session.execute(query.where(_CANONICAL).group_by(*key))
    return [(domain, owner, level, number) for domain, owner, level, number in rows]


def datasets_by_state(session: Session) -> dict[str, int]:
    """Return how many datasets are in each state of quality that any is in."""
    query = select(_LEVEL, func.count()).outerjoin_from(Dataset, QualityState, QualityState.dataset_id == Dataset.id)
    return {level: number for level, number in session.execute(query.where(_CANONICAL).group_by(_LEVEL))}


def failing_results(session: Session, limit: int) -> list[tuple[Dataset, QualityResult]]:
    """Return the current results that failed or could not be carried out, the severest first."""
    severity = case({"critical": 0, "error": 1, "warn": 2}, value=QualityResult.severity, else_=3)
    query = (
        select(Dataset, QualityResult)
        .join(CurrentResult, CurrentResult.dataset_id == Dataset.id)
        .join(QualityResult, QualityResult.id == CurrentResult.result_id)
        .join(QualityState, QualityState.dataset_id == Dataset.id)
        .where(QualityState.failed + QualityState.errors > 0, QualityResult.status.in_(("failed", "error")))
        .order_by(severity, Dataset.name, QualityResult.check_name, QualityResult.id)
        .limit(limit)
    )
    return [(dataset, result) for dataset, result in session.execute(query)]


def products_by_domain(session: Session) -> list[tuple[str, str, str, int]]:
    """Return (domain, status, owner, number of products)."""
    key = (Product.domain, Product.status, Product.owner)
    rows = session.execute(select(*key, func.count()).group_by(*key))
    return [(domain, status, owner, number) for domain, status, owner, number in rows]


def lineage_counts(session: Session) -> dict[str, int]:
    """Return how many datasets, jobs, edges, column edges, datasets without lineage, products and entries there are."""
    linked = select(func.coalesce(Dataset.canonical_id, Dataset.id)).join(
        JobDataset, JobDataset.dataset_id == Dataset.id
    )
    edges = select(JobDataset.job_id, JobDataset.dataset_id, JobDataset.direction).distinct().subquery()
    counts = {
        "datasets": select(func.count()).select_from(Dataset).where(_CANONICAL),
        "jobs": select(func.count()).select_from(Job).where(Job.deleted_at.is_(None)),
        "edges": select(func.count()).select_from(edges),
        "column_edges": select(func.count()).select_from(ColumnEdge),
        "datasets_without_lineage": select(func.count())
        .select_from(Dataset)
        .where(_CANONICAL, Dataset.id.not_in(linked)),
        "products": select(func.count()).select_from(Product),
        "registered": select(func.count()).select_from(ProductLineageEdge),
    }
    return {name: session.scalar(query) or 0 for name, query in counts.items()}


def registered_by_type(session: Session) -> dict[str, tuple[int, float]]:
    """Return the number and the average confidence of registered edges, by type."""
    kind = ProductLineageEdge.lineage_type
    rows = session.execute(select(kind, func.count(), func.avg(ProductLineageEdge.confidence)).group_by(kind))
    return {name: (number, average) for name, number, average in rows}


def most_used(session: Session, limit: int) -> list[tuple[Dataset, int]]:
    """Return the datasets that most jobs read, with their number."""
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    counted = (
        select(canonical.label("id"), func.count(distinct(JobDataset.job_id)).label("jobs"))
        .join(JobDataset, JobDataset.dataset_id == Dataset.id)
        .where(JobDataset.direction == "input")
        .group_by(canonical)
        .subquery()
    )
    query = select(Dataset, counted.c.jobs).join(counted, counted.c.id == Dataset.id)
    rows = session.execute(query.order_by(counted.c.jobs.desc(), Dataset.namespace, Dataset.name).limit(limit))
    return [(dataset, jobs) for dataset, jobs in rows]
