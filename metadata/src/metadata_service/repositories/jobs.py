"""Jobs and their current edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, Uuid, bindparam, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from metadata_service.models import ColumnEdge, Dataset, Facet, Job, JobDataset, JobDesign, Run

JobName = tuple[str, str]  # namespace, name


def _upsert_statement() -> ReturningInsert[str, str, UUID]:
    statement = insert(Job.__table__)  # type: ignore[arg-type]
    return statement.on_conflict_do_update(
        index_elements=[Job.namespace, Job.name],
        set_={
            "created_at": func.least(Job.created_at, statement.excluded.created_at),
            "updated_at": func.greatest(Job.updated_at, statement.excluded.updated_at),
        },
    ).returning(Job.namespace, Job.name, Job.id)


_UPSERT = _upsert_statement()


def upsert_jobs(session: Session, seen: Mapping[JobName, datetime]) -> dict[JobName, UUID]:
    """Make sure jobs exist and widen the time they were seen in. Locks their rows, always in the same order."""
    if not seen:
        return {}
    rows = [
        {"id": uuid4(), "namespace": namespace, "name": name, "created_at": at, "updated_at": at}
        for (namespace, name), at in sorted(seen.items())
    ]
    result = session.connection().execute(_UPSERT, rows)
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


_REFRESH_RUN_EDGES = text(
    """
    WITH latest AS (
        (SELECT 1 AS preference, id FROM run
          WHERE job_id = :job_id AND state = 'COMPLETED'
            AND EXISTS (SELECT FROM run_dataset WHERE run_id = run.id AND direction = :direction)
          ORDER BY updated_at DESC, id DESC LIMIT 1)
        UNION ALL
        (SELECT 2, id FROM run
          WHERE job_id = :job_id
            AND EXISTS (SELECT FROM run_dataset WHERE run_id = run.id AND direction = :direction)
          ORDER BY updated_at DESC, id DESC LIMIT 1)
    ), wanted AS (
        SELECT dataset_id, run_id FROM run_dataset
         WHERE direction = :direction AND run_id = (SELECT id FROM latest ORDER BY preference LIMIT 1)
    ), gone AS (
        DELETE FROM job_dataset
         WHERE job_id = :job_id AND direction = :direction AND origin = 'run'
           AND dataset_id NOT IN (SELECT dataset_id FROM wanted)
    )
    INSERT INTO job_dataset (job_id, direction, origin, dataset_id, run_id)
    SELECT :job_id, :direction, 'run', dataset_id, run_id FROM wanted
    ON CONFLICT (job_id, direction, origin, dataset_id) DO UPDATE SET run_id = excluded.run_id
     WHERE job_dataset.run_id IS DISTINCT FROM excluded.run_id
    """
).bindparams(bindparam("job_id", type_=Uuid), bindparam("direction", type_=Text))


def refresh_run_edges(session: Session, job_id: UUID) -> None:
    """Take a job's edges from its latest completed run that has any in that direction, else from its latest run."""
    for direction in ("input", "output"):
        session.execute(_REFRESH_RUN_EDGES, {"job_id": job_id, "direction": direction})


def current_column_lineage(session: Session, job_id: UUID) -> dict[UUID, dict[str, Any]]:
    """Return the columnLineage facet of each current output of a job that has one."""
    owner = func.coalesce(JobDataset.run_id, cast(JobDataset.job_id, Text))
    query = (
        select(JobDataset.dataset_id, Facet.value)
        .join(Facet, Facet.owner_id == owner + "/" + cast(JobDataset.dataset_id, Text))
        .where(JobDataset.job_id == job_id, JobDataset.direction == "output")
        .where(Facet.owner_type == "output", Facet.name == "columnLineage")
        .order_by(Facet.owner_id)
    )
    return {dataset_id: value for dataset_id, value in session.execute(query) if not value.get("_deleted")}


def save_design_edges(
    session: Session, job_id: UUID, datasets: Iterable[tuple[str, UUID]], event_time: datetime
) -> bool:
    """Take (direction, dataset) edges of a JobEvent; return False if a newer JobEvent's edges stand.

    Events of the same time add up, so that their order doesn't matter. Earlier edges are kept for the graph as it was.
    """
    told = sorted(set(datasets))
    history = [
        {"job_id": job_id, "designed_at": event_time, "direction": direction, "dataset_id": dataset_id}
        for direction, dataset_id in told
    ]
    session.execute(insert(JobDesign).values(history).on_conflict_do_nothing())
    designed_at = session.scalar(select(Job.designed_at).where(Job.id == job_id))
    if designed_at is not None and designed_at > event_time:
        return False
    if designed_at is None or designed_at < event_time:
        session.execute(delete(JobDataset).where(JobDataset.job_id == job_id, JobDataset.origin == "design"))
        session.execute(update(Job).where(Job.id == job_id).values(designed_at=event_time))
    rows = [
        {"job_id": job_id, "direction": direction, "origin": "design", "dataset_id": dataset_id}
        for direction, dataset_id in told
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
        session.connection().execute(insert(ColumnEdge.__table__), edges)  # type: ignore[arg-type]


def ids_by_name(session: Session, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Return the ids of the datasets that exist under these (namespace, name) pairs."""
    wanted = set(names)
    query = select(Dataset.namespace, Dataset.name, Dataset.id).where(
        Dataset.namespace.in_({namespace for namespace, _ in wanted}), Dataset.name.in_({name for _, name in wanted})
    )
    return {(ns, name): id_ for ns, name, id_ in session.execute(query) if (ns, name) in wanted}
