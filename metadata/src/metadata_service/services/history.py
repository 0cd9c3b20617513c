"""How datasets and their quality changed over time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.compatibility import breaks
from metadata_service.models import QualityResult
from metadata_service.repositories import datasets, quality, schema_versions
from metadata_service.schemas.catalog import Column, ColumnChange, SchemaVersionOut
from metadata_service.schemas.common import Page
from metadata_service.schemas.products import QualityDay
from metadata_service.services.lookup import find_dataset


def list_versions(session: Session, dataset_id: UUID, limit: int, offset: int) -> Page[SchemaVersionOut]:
    """Return a page of the columns that a dataset had, the newest first, each with what changed."""
    dataset = find_dataset(session, dataset_id)
    found = schema_versions.list_versions(session, dataset.id)
    newest = max((version.last_seen_at for version in found), default=None)
    versions = []
    before: list[dict[str, Any]] = []
    for number, version in enumerate(found, 1):
        versions.append(
            SchemaVersionOut(
                version=number,
                first_seen_at=version.first_seen_at,
                last_seen_at=version.last_seen_at,
                is_current=version.last_seen_at == newest,
                columns=[Column(**column) for column in version.columns],
                changes=_changes(before, version.columns) if number > 1 else [],
            )
        )
        before = version.columns
    versions.reverse()
    return Page(items=versions[offset : offset + limit], total=len(versions), limit=limit, offset=offset)


def _changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[ColumnChange]:
    old = {column["name"]: column["type"] for column in before}
    new = {column["name"]: column["type"] for column in after}
    broken = {item.column for item in breaks(before, after)}
    changes = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name in old and name in new and old[name] == new[name]:
            continue
        change: Any = "removed" if name not in new else "added" if name not in old else "type"
        changes.append(
            ColumnChange(column=name, change=change, before=old.get(name), after=new.get(name), breaking=name in broken)
        )
    return changes


def quality_by_day(session: Session, days: int, dataset_id: UUID | None = None) -> list[QualityDay]:
    """Return the results of each of the last days, of a dataset or of all, today's last."""
    canonical = None if dataset_id is None else find_dataset(session, dataset_id).id
    since = (datetime.now(UTC) - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    counted = {(since + timedelta(days=number)).date(): Counter[str]() for number in range(days)}
    for day, status, number in quality.results_by_day(session, since, canonical):
        counted.setdefault(day, Counter())[status] += number
    return [
        QualityDay(day=day.isoformat(), passed=found["passed"], failed=found["failed"], errors=found["error"])
        for day, found in sorted(counted.items())
    ]


def check_strips(session: Session, dataset_id: UUID, most: int) -> dict[tuple[str, str | None], list[QualityResult]]:
    """Return the last results of each (check, column) of a dataset, the oldest of them first."""
    dataset = datasets.get_dataset(session, dataset_id)
    return quality.recent_statuses(session, dataset.id, most) if dataset else {}
