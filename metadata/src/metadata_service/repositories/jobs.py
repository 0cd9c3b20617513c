"""Jobs and their current edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import Job, JobDataset, JobDesign, Run
from metadata_service.repositories.bulk import Bigints, Booleans, Column, Texts, Times, Uuids, execute

JobName = tuple[str, str]  # namespace, name


_MERGE = """
INSERT INTO job AS j (id, namespace, name, created_at, updated_at)
SELECT gen_random_uuid(), namespace, name, first, last
  FROM unnest(%s, %s, %s, %s) AS n (namespace, name, first, last)
    ON CONFLICT (namespace, name) DO UPDATE
   SET created_at = least(j.created_at, excluded.created_at),
       updated_at = greatest(j.updated_at, excluded.updated_at),
       deleted_at = NULL
RETURNING namespace, name, id
"""


def merge_jobs(session: Session, seen: Mapping[JobName, tuple[datetime, datetime]]) -> dict[JobName, UUID]:
    """Make sure jobs exist and widen the (first, last) times they were seen at. Locks their rows in one order."""
    if not seen:
        return {}
    names = sorted(seen)
    rows = execute(
        session,
        _MERGE,
        Texts(namespace for namespace, _ in names),
        Texts(name for _, name in names),
        Times(seen[name][0] for name in names),
        Times(seen[name][1] for name in names),
    )
    return {(namespace, name): id_ for namespace, name, id_ in rows}


def upsert_jobs(session: Session, seen: Mapping[JobName, datetime]) -> dict[JobName, UUID]:
    """Make sure that jobs exist which were seen at a time."""
    return merge_jobs(session, {name: (at, at) for name, at in seen.items()})


def list_jobs(session: Session, q: str | None, namespace: str | None, limit: int, offset: int) -> tuple[list[Job], int]:
    """Return a page of jobs, newest change first, and how many there are in all."""
    where = [Job.deleted_at.is_(None)]
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


_WITH_DATASETS = "EXISTS (SELECT FROM run_dataset d WHERE d.run_id = r.id AND d.direction = p.direction)"
_REFRESH_RUN_EDGES = f"""
WITH pair AS MATERIALIZED (
    SELECT job_id, direction FROM unnest(%s, %s) AS p (job_id, direction)
), latest AS MATERIALIZED (
    SELECT p.job_id, p.direction, coalesce(
        (SELECT r.id FROM run r WHERE r.job_id = p.job_id AND r.state = 'COMPLETED' AND {_WITH_DATASETS}
          ORDER BY r.updated_at DESC, r.id DESC LIMIT 1),
        (SELECT r.id FROM run r WHERE r.job_id = p.job_id AND {_WITH_DATASETS}
          ORDER BY r.updated_at DESC, r.id DESC LIMIT 1)) AS run_id
      FROM pair p
), wanted AS (
    SELECT l.job_id, l.direction, d.dataset_id, l.run_id
      FROM latest l JOIN run_dataset d ON d.run_id = l.run_id AND d.direction = l.direction
), gone AS (
    DELETE FROM job_dataset e USING pair p
     WHERE e.job_id = p.job_id AND e.direction = p.direction AND e.origin = 'run'
       AND NOT EXISTS (SELECT FROM wanted w WHERE w.job_id = e.job_id AND w.direction = e.direction
                                              AND w.dataset_id = e.dataset_id)
)
INSERT INTO job_dataset AS e (job_id, direction, origin, dataset_id, run_id)
SELECT job_id, direction, 'run', dataset_id, run_id FROM wanted
    ON CONFLICT (job_id, direction, origin, dataset_id) DO UPDATE SET run_id = excluded.run_id
 WHERE e.run_id IS DISTINCT FROM excluded.run_id
"""


def refresh_run_edges(session: Session, pairs: Iterable[tuple[UUID, str]]) -> None:
    """Take jobs' edges of a direction from the latest completed run that has any in it, else from the latest run."""
    ordered = sorted(set(pairs))
    if ordered:
        execute(session, _REFRESH_RUN_EDGES, Uuids(job for job, _ in ordered), Texts(way for _, way in ordered))


_COLUMN_LINEAGE = """
SELECT e.job_id, e.dataset_id, f.value
  FROM job_dataset e
  JOIN facet f ON f.owner_type = 'output' AND f.name = 'columnLineage'
              AND f.owner_id = coalesce(e.run_id, e.job_id::text) || '/' || e.dataset_id::text
 WHERE e.direction = 'output' AND e.job_id = ANY(%s)
 ORDER BY e.origin
"""


def current_column_lineage(session: Session, job_ids: Iterable[UUID]) -> dict[tuple[UUID, UUID], dict[str, Any]]:
    """Return the columnLineage facet of each (job, current output) that has one; a run's goes before a design's."""
    rows = execute(session, _COLUMN_LINEAGE, Uuids(job_ids))
    return {(job, dataset): value for job, dataset, value in rows if not value.get("_deleted")}


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


@dataclass(frozen=True, slots=True)
class ColumnFlow:
    """A column that flows into another; without a job, as a DatasetEvent told."""

    job_id: UUID | None
    dataset_id: UUID
    field: str
    input_dataset_id: UUID
    input_field: str
    type: str | None
    subtype: str | None
    description: str | None
    masking: bool


_FLOW = "job_id, dataset_id, field, input_dataset_id, input_field, type, subtype, description, masking"
_EDGES_OF_JOBS = f"SELECT id, {_FLOW} FROM column_edge WHERE job_id = ANY(%s)"
_EDGES_OF_DATASETS = f"SELECT id, {_FLOW} FROM column_edge WHERE job_id IS NULL AND dataset_id = ANY(%s)"
_ADD_EDGES = f"INSERT INTO column_edge ({_FLOW}) SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


def replace_column_edges(
    session: Session, flows: Iterable[ColumnFlow], *, jobs: Iterable[UUID] = (), datasets: Iterable[UUID] = ()
) -> None:
    """Make these the column edges of jobs, and those without a job of datasets. What stays the same isn't touched."""
    known: dict[ColumnFlow, int] = {}
    for statement, ids in ((_EDGES_OF_JOBS, list(jobs)), (_EDGES_OF_DATASETS, list(datasets))):
        if ids:
            known |= {ColumnFlow(*row[1:]): row[0] for row in execute(session, statement, Uuids(ids))}
    wanted = set(flows)
    gone = [id_ for flow, id_ in known.items() if flow not in wanted]
    if gone:
        execute(session, "DELETE FROM column_edge WHERE id = ANY(%s)", Bigints(gone))
    new = [flow for flow in wanted if flow not in known]
    if new:
        kinds: tuple[type[Column], ...] = (Uuids, Uuids, Texts, Uuids, Texts, Texts, Texts, Texts, Booleans)
        values = zip(*(astuple(flow) for flow in new), strict=True)
        execute(session, _ADD_EDGES, *(kind(column) for kind, column in zip(kinds, values, strict=True)))


def ids_by_name(session: Session, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Return the ids of the datasets that exist under these (namespace, name) pairs."""
    wanted = list(set(names))
    statement = (
        "SELECT namespace, name, id FROM dataset JOIN unnest(%s, %s) AS n (namespace, name) USING (namespace, name)"
    )
    rows = execute(session, statement, Texts(ns for ns, _ in wanted), Texts(name for _, name in wanted))
    return {(ns, name): id_ for ns, name, id_ in rows}
