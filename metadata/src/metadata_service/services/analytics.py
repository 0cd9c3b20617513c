"""The platform at a glance: domains, lineage, quality."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from metadata_service.repositories import analytics, suspects
from metadata_service.schemas.products import DomainStats, LineageStats, QualityStats, SuspectDataset
from metadata_service.services.history import quality_by_day

NO_DOMAIN = "none"
MOST_USED = 10
MAX_FAILING = 100


def domains(session: Session) -> list[DomainStats]:
    """Return every domain that datasets or products name, by name; `none` for datasets without one."""
    found: dict[str, DomainStats] = {}

    def domain(name: str | None) -> DomainStats:
        name = name or NO_DOMAIN
        return found.setdefault(name, DomainStats(domain=name, datasets=0, products={}, owners=[], quality={}))

    owners: dict[str, set[str]] = {}
    for name, owner, level, number in analytics.datasets_by_domain(session):
        stats = domain(name)
        stats.datasets += number
        stats.quality[level] = stats.quality.get(level, 0) + number  # type: ignore[index, call-overload]
        owners.setdefault(stats.domain, set()).update({owner} if owner else ())
    for name, status, owner, number in analytics.products_by_domain(session):
        stats = domain(name)
        stats.products[status] = stats.products.get(status, 0) + number  # type: ignore[index, call-overload]
        owners.setdefault(stats.domain, set()).update({owner} if owner else ())
    for name, stats in found.items():
        stats.owners = sorted(owners.get(name, ()))
    return [found[name] for name in sorted(found)]


def lineage_stats(session: Session) -> LineageStats:
    """Return how much lineage there is, and the datasets that most jobs read."""
    by_type = analytics.registered_by_type(session)
    total = sum(number for number, _ in by_type.values())
    confidence = sum(number * average for number, average in by_type.values()) / total if total else None
    return LineageStats(
        **analytics.lineage_counts(session),
        registered_by_type={kind: number for kind, (number, _) in by_type.items()},  # type: ignore[misc]
        average_confidence=confidence,
        most_used=[
            {"id": str(dataset.id), "namespace": dataset.namespace, "name": dataset.name, "jobs": jobs}
            for dataset, jobs in analytics.most_used(session, MOST_USED)
        ],
    )


def quality_stats(session: Session, days: int) -> QualityStats:
    """Return the states of all datasets, the checks that fail now, and the results of the last days."""
    return QualityStats(
        datasets=analytics.datasets_by_state(session),  # type: ignore[arg-type]
        failing=_failing(session),
        suspect=[
            SuspectDataset(id=item.id, namespace=item.namespace, name=item.name, owner=item.owner, causes=item.causes)
            for item in suspects.list_suspects(session, MAX_FAILING)
        ],
        days=quality_by_day(session, days),
    )


def _failing(session: Session) -> list[dict[str, Any]]:
    return [
        {
            "dataset_id": str(dataset.id),
            "dataset": dataset.name,
            "owner": dataset.owner,
            "check": result.check_name,
            "column": result.column_name,
            "status": result.status,
            "severity": result.severity,
            "checked_at": result.checked_at.isoformat(),
        }
        for dataset, result in analytics.failing_results(session, MAX_FAILING)
    ]
