"""Jobs and their current edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import ColumnEdge, Dataset, Job, JobDataset, Run, RunDataset

JobName = tuple[str, str]  # namespace, name


def upsert_jobs(session: Session, seen: Mapping[JobName, datetime]) -> dict[JobName, UUID]:
    """Make sure jobs exist and widen the time they were seen in. Locks their rows, always in the same order."""
    if not seen:
        return {}
    rows = [
        {"id": uuid4(), "namespace": namespace, "name": name, "created_at": at, "updated_at": at}
        for (namespace, name), at in sorted(seen.items())
    ]
    statement = insert(Job).values(rows)
    result = session.execute(
        statement.on_conflict_do_update(
            index_elements=[Job.namespace, Job.name],
            set_={
                "created_at": func.least(Job.created_at, statement.excluded.created_at),
                "updated_at": func.greatest(Job.updated_at, statement.excluded.updated_at),
            },
        ).returning(Job.namespace, Job.name, Job.id)
    )
    return {(namespace, name): id_ for namespace, name, id_ in result}


def list_jobs(session: Session, q: str | None, namespace: str | None, limit: int, offset: int) -> tuple[list[Job], int]:
    """Return a page of jobs, newest change first, and how many there are in all."""
    where = []
    if namespace is not None:
        where.append(Job.namespace == namespace)
    for word in (q or "").split():
        where.append(or_(Job.name.icontains(word, autoescape=True), Job.namespace.icontains(word, autoescape=True)))
    total = session.scalar(select(func.count()).select_from(Job).where(*where)) or 0
    query = select(Job).where(*where).order_by(Job.updated_at.desc(), Job.namespace, Job.name)
    return list(session.scalars(query.limit(limit).offset(offset))), total


def get_many(session: Session, job_ids: Iterable[UUID]) -> list[Job]:
    """Return the jobs that exist."""
    return list(session.scalars(select(Job).where(Job.id.in_(list(job_ids)))))


def latest_runs(session: Session, job_ids: Iterable[UUID]) -> dict[UUID, Run]:
    """Return the newest run of each job that has one."""
    newest = (
        select(Run)
        .where(Run.job_id == Job.id)
        .order_by(Run.updated_at.desc(), Run.id.desc())
        .limit(1)
        .correlate(Job)
        .subquery()
        .lateral()
    )
    query = select(Run).where(
        Run.id.in_(
            select(newest.c.id)
            .select_from(Job)
            .join(newest, newest.c.job_id == Job.id)
            .where(Job.id.in_(list(job_ids)))
        )
    )
    return {run.job_id: run for run in session.scalars(query) if run.job_id is not None}


def current_edges(session: Session, job_id: UUID) -> list[JobDataset]:
    """Return the current edges of a job."""
    query = select(JobDataset).where(JobDataset.job_id == job_id)
    return list(session.scalars(query.order_by(JobDataset.direction, JobDataset.dataset_id)))


def refresh_run_edges(session: Session, job_id: UUID) -> None:
    """Take a job's edges from its latest completed run that has any in that direction, else from its latest run."""
    for direction in ("input", "output"):
        run_id = _current_run(session, job_id, direction, completed=True) or _current_run(
            session, job_id, direction, completed=False
        )
        stale = [JobDataset.job_id == job_id, JobDataset.direction == direction, JobDataset.origin == "run"]
        if run_id is None:
            session.execute(delete(JobDataset).where(*stale))
            continue
        datasets = session.scalars(
            select(RunDataset.dataset_id).where(RunDataset.run_id == run_id, RunDataset.direction == direction)
        ).all()
        session.execute(delete(JobDataset).where(*stale, JobDataset.dataset_id.not_in(datasets)))
        statement = insert(JobDataset).values(
            [
                {"job_id": job_id, "direction": direction, "origin": "run", "dataset_id": id_, "run_id": run_id}
                for id_ in sorted(datasets)
            ]
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[
                    JobDataset.job_id,
                    JobDataset.direction,
                    JobDataset.origin,
                    JobDataset.dataset_id,
                ],
                set_={"run_id": run_id},
                where=JobDataset.run_id.is_distinct_from(run_id),
            )
        )


def _current_run(session: Session, job_id: UUID, direction: str, *, completed: bool) -> str | None:
    has_datasets = (
        select(RunDataset.run_id).where(RunDataset.run_id == Run.id, RunDataset.direction == direction).exists()
    )
    query = select(Run.id).where(Run.job_id == job_id, has_datasets)
    if completed:
        query = query.where(Run.state == "COMPLETED")
    return session.scalar(query.order_by(Run.updated_at.desc(), Run.id.desc()).limit(1))


def save_design_edges(
    session: Session, job_id: UUID, datasets: Iterable[tuple[str, UUID]], event_time: datetime
) -> bool:
    """Take (direction, dataset) edges of a JobEvent; return False if a newer JobEvent's edges stand.

    Events of the same time add up, so that their order doesn't matter.
    """
    designed_at = session.scalar(select(Job.designed_at).where(Job.id == job_id))
    if designed_at is not None and designed_at > event_time:
        return False
    if designed_at is None or designed_at < event_time:
        session.execute(delete(JobDataset).where(JobDataset.job_id == job_id, JobDataset.origin == "design"))
        session.execute(update(Job).where(Job.id == job_id).values(designed_at=event_time))
    rows = [
        {"job_id": job_id, "direction": direction, "origin": "design", "dataset_id": dataset_id}
        for direction, dataset_id in sorted(set(datasets))
    ]
    session.execute(insert(JobDataset).values(rows).on_conflict_do_nothing())
    return True


def replace_column_edges(
    session: Session, job_id: UUID | None, dataset_ids: Iterable[UUID], edges: list[dict[str, object]]
) -> None:
    """Replace the column edges of a job, or (no job) those that the datasets' own facets gave."""
    if job_id is not None:
        session.execute(delete(ColumnEdge).where(ColumnEdge.job_id == job_id))
    else:
        session.execute(
            delete(ColumnEdge).where(ColumnEdge.job_id.is_(None), ColumnEdge.dataset_id.in_(list(dataset_ids)))
        )
    if edges:
        session.execute(insert(ColumnEdge).values(edges))


def ids_by_name(session: Session, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Return the ids of the datasets that exist under these (namespace, name) pairs."""
    wanted = set(names)
    query = select(Dataset.namespace, Dataset.name, Dataset.id).where(
        Dataset.namespace.in_({namespace for namespace, _ in wanted}), Dataset.name.in_({name for _, name in wanted})
    )
    return {(ns, name): id_ for ns, name, id_ in session.execute(query) if (ns, name) in wanted}
