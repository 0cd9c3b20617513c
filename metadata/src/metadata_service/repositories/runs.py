"""Runs and what they read and wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job, Run, RunDataset

TERMINAL_STATES = ("COMPLETED", "FAILED", "ABORTED")
_RANK = {"NEW": 0, "RUNNING": 1} | dict.fromkeys(TERMINAL_STATES, 2)


@dataclass(frozen=True)
class RunSeen:
    """What one event or request tells of a run. `job_is_hint`: another run names this run's job."""

    id: str
    at: datetime
    state: str = "NEW"
    job_id: UUID | None = None
    job_is_hint: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None


@dataclass(frozen=True)
class RunFilter:
    """What a list of runs is narrowed to; None means anything."""

    job_id: UUID | None = None
    job_namespace: str | None = None
    job_name: str | None = None
    state: str | None = None
    parent_run_id: str | None = None
    dataset_id: UUID | None = None


def _rank(state: SQLColumnExpression[str]) -> ColumnElement[int]:
    return case(_RANK, value=state, else_=0)


def _upsert_statement(*, job_is_hint: bool) -> Insert:
    statement = insert(Run.__table__)  # type: ignore[arg-type]
    new = statement.excluded
    wins = tuple_(_rank(new.state), new.state_at, new.state) > tuple_(_rank(Run.state), Run.state_at, Run.state)
    jobs = (Run.job_id, new.job_id) if job_is_hint else (new.job_id, Run.job_id)
    return statement.on_conflict_do_update(
        index_elements=[Run.id],
        set_={
            "job_id": func.coalesce(*jobs),
            "state": case((wins, new.state), else_=Run.state),
            "state_at": case((wins, new.state_at), else_=Run.state_at),
            "ended_at": case((wins, func.coalesce(new.ended_at, Run.ended_at)), else_=Run.ended_at),
            "started_at": func.least(Run.started_at, new.started_at),
            "parent_run_id": func.coalesce(new.parent_run_id, Run.parent_run_id),
            "root_run_id": func.coalesce(new.root_run_id, Run.root_run_id),
            "created_at": func.least(Run.created_at, new.created_at),
            "updated_at": func.greatest(Run.updated_at, new.updated_at),
        },
    )


_UPSERT = {hint: _upsert_statement(job_is_hint=hint) for hint in (False, True)}


def upsert_runs(session: Session, seen: Sequence[RunSeen]) -> None:
    """Merge what is told of runs into what is known, in any order.

    A state wins over another by rank (NEW, RUNNING, the terminal ones), then by time, then by name.
    """
    for run in sorted(seen, key=lambda item: item.id):
        row = {
            "id": run.id,
            "job_id": run.job_id,
            "state": run.state,
            "state_at": run.at,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "parent_run_id": run.parent_run_id,
            "root_run_id": run.root_run_id,
            "created_at": run.at,
            "updated_at": run.at,
        }
        session.connection().execute(_UPSERT[run.job_is_hint], row)


_SAVE_DATASETS = insert(RunDataset.__table__).on_conflict_do_nothing()  # type: ignore[arg-type]


def save_run_datasets(session: Session, run_id: str, datasets: Iterable[tuple[str, UUID]]) -> None:
    """Add (direction, dataset) pairs to a run."""
    rows = [{"run_id": run_id, "direction": way, "dataset_id": id_} for way, id_ in sorted(set(datasets))]
    if rows:
        session.connection().execute(_SAVE_DATASETS, rows)


def list_runs(session: Session, wanted: RunFilter, limit: int, offset: int) -> tuple[list[Run], int]:
    """Return a page of runs, newest first, and how many there are in all."""
    where: list[ColumnElement[bool]] = []
    if wanted.job_id is not None:
        where.append(Run.job_id == wanted.job_id)
    if wanted.state is not None:
        where.append(Run.state == wanted.state)
    if wanted.parent_run_id is not None:
        where.append(Run.parent_run_id == wanted.parent_run_id)
    if wanted.job_namespace is not None or wanted.job_name is not None:
        jobs = select(Job.id)
        if wanted.job_namespace is not None:
            jobs = jobs.where(Job.namespace == wanted.job_namespace)
        if wanted.job_name is not None:
            jobs = jobs.where(Job.name == wanted.job_name)
        where.append(Run.job_id.in_(jobs))
    if wanted.dataset_id is not None:
        names = select(Dataset.id).where(
            (Dataset.id == wanted.dataset_id) | (Dataset.canonical_id == wanted.dataset_id)
        )
        where.append(Run.id.in_(select(RunDataset.run_id).where(RunDataset.dataset_id.in_(names))))
    total = session.scalar(select(func.count()).select_from(Run).where(*where)) or 0
    query = select(Run).where(*where).order_by(Run.updated_at.desc(), Run.id.desc()).limit(limit).offset(offset)
    return list(session.scalars(query)), total


def datasets_of_run(session: Session, run_id: str) -> list[tuple[str, UUID, Dataset]]:
    """Return (direction, id as recorded, dataset under its canonical name) of a run, by name."""
    recorded = (
        select(RunDataset.direction, RunDataset.dataset_id, func.coalesce(Dataset.canonical_id, Dataset.id).label("id"))
        .join(Dataset, Dataset.id == RunDataset.dataset_id)
        .where(RunDataset.run_id == run_id)
        .subquery()
    )
    query = (
        select(recorded.c.direction, recorded.c.dataset_id, Dataset)
        .join(Dataset, Dataset.id == recorded.c.id)
        .order_by(recorded.c.direction, Dataset.namespace, Dataset.name)
    )
    return [(direction, id_, dataset) for direction, id_, dataset in session.execute(query)]


def directions_of_dataset(session: Session, run_ids: Iterable[str], dataset_id: UUID) -> dict[str, list[str]]:
    """Return for each run whether it read (`input`) or wrote (`output`) a dataset, or both."""
    names = select(Dataset.id).where((Dataset.id == dataset_id) | (Dataset.canonical_id == dataset_id))
    query = (
        select(RunDataset.run_id, RunDataset.direction)
        .where(RunDataset.run_id.in_(list(run_ids)), RunDataset.dataset_id.in_(names))
        .distinct()
        .order_by(RunDataset.run_id, RunDataset.direction)
    )
    found: dict[str, list[str]] = {}
    for run_id, direction in session.execute(query):
        found.setdefault(run_id, []).append(direction)
    return found
