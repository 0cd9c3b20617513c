"""Check results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, distinct_on, insert
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, QualityResult


def _save_statement() -> Insert:
    statement = insert(QualityResult.__table__)  # type: ignore[arg-type]
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[QualityResult.id],
        set_={column.name: new[column.name] for column in QualityResult.__table__.columns if column.name != "id"},
        where=tuple_(new.checked_at, new.status) > tuple_(QualityResult.checked_at, QualityResult.status),
    )


_SAVE = _save_statement()


def save_results(session: Session, rows: list[dict[str, Any]]) -> None:
    """Store results. A result of the same id that was checked later stays; at the same time the greater status wins."""
    if not rows:
        return
    session.connection().execute(_SAVE, sorted(rows, key=lambda row: str(row["id"])))


def latest_results(session: Session, dataset_ids: Iterable[UUID]) -> dict[UUID, list[QualityResult]]:
    """Return the newest result of every check of each dataset, other names counted in."""
    ids = list(dataset_ids)
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    key = (canonical, QualityResult.check_name, QualityResult.column_name, QualityResult.ordinal)
    query = (
        select(canonical, QualityResult)
        .join(Dataset, Dataset.id == QualityResult.dataset_id)
        .where(or_(Dataset.id.in_(ids), Dataset.canonical_id.in_(ids)))
        .ext(distinct_on(*key))
        .order_by(*key, QualityResult.checked_at.desc(), QualityResult.id)
    )
    found: dict[UUID, list[QualityResult]] = {}
    for dataset_id, result in session.execute(query):
        found.setdefault(dataset_id, []).append(result)
    return found


def list_results(
    session: Session, *, run_id: str | None, dataset_id: UUID | None, limit: int, offset: int
) -> tuple[list[QualityResult], int]:
    """Return a page of results of a run or a dataset, newest first, and how many there are in all."""
    where: list[ColumnElement[bool]] = []
    if run_id is not None:
        where.append(QualityResult.run_id == run_id)
    if dataset_id is not None:
        names = select(Dataset.id).where(or_(Dataset.id == dataset_id, Dataset.canonical_id == dataset_id))
        where.append(QualityResult.dataset_id.in_(names))
    total = session.scalar(select(func.count()).select_from(QualityResult).where(and_(*where))) or 0
    query = (
        select(QualityResult)
        .where(and_(*where))
        .order_by(
            QualityResult.checked_at.desc(), QualityResult.check_name, QualityResult.column_name, QualityResult.id
        )
    )
    return list(session.scalars(query.limit(limit).offset(offset))), total
