"""Check results."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, and_, cast, delete, exists, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session, aliased

from metadata_service.models import CurrentResult, Dataset, QualityResult


def _save_statement() -> Insert:
    statement = insert(QualityResult.__table__)  # type: ignore[arg-type]
    new, old = statement.excluded, QualityResult
    return statement.on_conflict_do_update(
        index_elements=[QualityResult.id],
        set_={column.name: new[column.name] for column in QualityResult.__table__.columns if column.name != "id"},
        where=tuple_(old.from_event, new.checked_at, new.status) > tuple_(new.from_event, old.checked_at, old.status),
    )


_SAVE = _save_statement()


def save_results(session: Session, rows: list[dict[str, Any]]) -> None:
    """Store results.

    Of those with one id a posted one stands against an event's, then the one that was checked later, then the greater
    status.
    """
    if not rows:
        return
    session.connection().execute(_SAVE, sorted(rows, key=lambda row: str(row["id"])))


def drop_superseded(session: Session, run_ids: Iterable[str]) -> None:
    """Drop what events told of runs' checks that were posted too, whatever came first.

    The caller holds the locks of the runs' rows, so results that arrive at the same time are seen.
    """
    ids = list(run_ids)
    if not ids:
        return
    posted = aliased(QualityResult)
    session.execute(
        delete(QualityResult).where(
            QualityResult.run_id.in_(ids),
            QualityResult.from_event,
            exists().where(
                posted.run_id == QualityResult.run_id,
                ~posted.from_event,
                posted.check_name == QualityResult.check_name,
                posted.dataset_id == QualityResult.dataset_id,
                posted.column_name.is_not_distinct_from(QualityResult.column_name),
            ),
        )
    )


def latest_results(session: Session, dataset_ids: Iterable[UUID]) -> dict[UUID, list[QualityResult]]:
    """Return the current results of each dataset; see `metadata_service.repositories.quality_state`."""
    query = (
        select(CurrentResult.dataset_id, QualityResult)
        .join(QualityResult, QualityResult.id == CurrentResult.result_id)
        .where(CurrentResult.dataset_id.in_(list(dataset_ids)))
        .order_by(CurrentResult.dataset_id, QualityResult.check_name, QualityResult.column_name, QualityResult.ordinal)
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


def recent_statuses(session: Session, dataset_id: UUID, most: int) -> dict[tuple[str, str | None], list[QualityResult]]:
    """Return the last results of each (check, column) of a dataset, the oldest of them first."""
    names = select(Dataset.id).where(or_(Dataset.id == dataset_id, Dataset.canonical_id == dataset_id))
    place = (
        func.row_number()
        .over(
            partition_by=(QualityResult.check_name, QualityResult.column_name),
            order_by=(QualityResult.checked_at.desc(), QualityResult.id),
        )
        .label("place")
    )
    numbered = select(QualityResult.id, place).where(QualityResult.dataset_id.in_(names)).subquery()
    query = (
        select(QualityResult)
        .join(numbered, numbered.c.id == QualityResult.id)
        .where(numbered.c.place <= most)
        .order_by(QualityResult.checked_at, QualityResult.id)
    )
    found: dict[tuple[str, str | None], list[QualityResult]] = {}
    for result in session.scalars(query):
        found.setdefault((result.check_name, result.column_name), []).append(result)
    return found


def results_by_day(session: Session, since: datetime, dataset_id: UUID | None = None) -> list[tuple[date, str, int]]:
    """Return (day in UTC, status, results) from a time on, of a dataset or of all."""
    day = cast(func.timezone("UTC", QualityResult.checked_at), Date)
    query = select(day, QualityResult.status, func.count()).where(QualityResult.checked_at >= since)
    if dataset_id is not None:
        names = select(Dataset.id).where(or_(Dataset.id == dataset_id, Dataset.canonical_id == dataset_id))
        query = query.where(QualityResult.dataset_id.in_(names))
    return [
        (found, status, number) for found, status, number in session.execute(query.group_by(day, QualityResult.status))
    ]
