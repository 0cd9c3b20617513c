"""How datasets changed over time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.compatibility import breaks
from metadata_service.problems import NotFoundError
from metadata_service.repositories import datasets, schema_versions
from metadata_service.schemas.catalog import Column, ColumnChange, SchemaVersionOut
from metadata_service.schemas.common import Page


def list_versions(session: Session, dataset_id: UUID, limit: int, offset: int) -> Page[SchemaVersionOut]:
    """Return a page of the columns that a dataset had, the newest first, each with what changed."""
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
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
