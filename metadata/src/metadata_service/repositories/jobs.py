"""Jobs and their current edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import Job, JobDataset, JobDesign, Run
from metadata_service.repositories.bulk import Bigints, Booleans, Column, Texts, Times, Uuids, execute

JobName = tuple[str, str]  # namespace, name


# Rows that exist are updated, not inserted in vain: an insert works out the words to find them by.
_MERGE = """
WITH n AS MATERIALIZED (
    SELECT namespace, name, first, last FROM unnest(%s, %s, %s, %s) AS n (namespace, name, first, last)
), known AS MATERIALIZED (
    SELECT j.id, n.first, n.last FROM n JOIN job j USING (namespace, name) ORDER BY namespace, name FOR UPDATE OF j
), updated AS (
    UPDATE job j SET created_at = least(j.created_at, known.first), updated_at = greatest(j.updated_at, known.last),
                     deleted_at = NULL
      FROM known WHERE j.id = known.id RETURNING j.namespace, j.name, j.id
), added AS (
    INSERT INTO job AS j (id, namespace, name, created_at, updated_at)
    SELECT gen_random_uuid(), namespace, name, first, last
      FROM n WHERE NOT EXISTS (SELECT FROM job j WHERE (j.namespace, j.name) = (n.namespace, n.name))
        ON CONFLICT (namespace, name) DO UPDATE
       SET created_at = least(j.created_at, excluded.created_at),
           updated_at = greatest(j.updated_at, excluded.updated_at),
           deleted_at = NULL
    RETURNING namespace, name, id
)
SELECT * FROM updated UNION ALL SELECT * FROM added
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
    where: list[ColumnElement[bool]] = [Job.deleted_at.is_(None)]
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


class CurrentEdge(NamedTuple):
    """A dataset, under its canonical name, that a job reads (`input`) or writes (`output`)."""

    direction: str
    dataset_id: UUID
    namespace: str
    name: str
    is_deleted: bool


# Each job's for itself: together, under row-level security, they would be compared with all datasets that are seen.
_CURRENT_EDGES = """
SELECT w.id, e.direction, c.id, c.namespace, c.name, c.deleted_at IS NOT NULL
  FROM unnest(%s) AS w (id)
 CROSS JOIN LATERAL (
       SELECT DISTINCT x.direction, coalesce(d.canonical_id, d.id) AS dataset_id
         FROM job_dataset x JOIN dataset d ON d.id = x.dataset_id WHERE x.job_id = w.id) AS e
  JOIN dataset c ON c.id = e.dataset_id
 ORDER BY w.id, e.direction, c.namespace, c.name
"""


def current_edges(session: Session, job_ids: Iterable[UUID]) -> dict[UUID, list[CurrentEdge]]:
    """Return the current edges of each job that has any, by direction and name."""
    found: dict[UUID, list[CurrentEdge]] = {}
    for job_id, *edge in execute(session, _CURRENT_EDGES, Uuids(job_ids)):
        found.setdefault(job_id, []).append(CurrentEdge(*edge))
    return found


_WITH_DATASETS = "EXISTS (SELECT FROM run_dataset d WHERE d.run_id = r.id AND d.direction = p.direction)"
_LATEST_RUNS = f"""
SELECT p.job_id, p.direction, coalesce(
    (SELECT r.id FROM run r WHERE r.job_id = p.job_id AND r.state = 'COMPLETED' AND {_WITH_DATASETS}
      ORDER BY r.updated_at DESC, r.id DESC LIMIT 1),
    (SELECT r.id FROM run r WHERE r.job_id = p.job_id AND {_WITH_DATASETS}
      ORDER BY r.updated_at DESC, r.id DESC LIMIT 1))
  FROM unnest(%s, %s) AS p (job_id, direction)
"""
_SAVE_EDGES = """
INSERT INTO job_dataset (job_id, direction, origin, dataset_id, run_id)
SELECT job_id, direction, 'run', dataset_id, run_id
  FROM unnest(%s, %s, %s, %s) AS n (job_id, direction, dataset_id, run_id)
    ON CONFLICT (job_id, direction, origin, dataset_id) DO UPDATE SET run_id = excluded.run_id
"""
_DROP_EDGES = """
DELETE FROM job_dataset e USING unnest(%s, %s, %s) AS n (job_id, direction, dataset_id)
 WHERE (e.job_id, e.direction, e.origin, e.dataset_id) = (n.job_id, n.direction, 'run', n.dataset_id)
"""


def refresh_run_edges(session: Session, pairs: Iterable[tuple[UUID, str]]) -> None:
    """Take jobs' edges of a direction from the latest completed run that has any in it, else from the latest run."""
    wanted_pairs = sorted(set(pairs))
    if not wanted_pairs:
        return
    ids = Uuids(job for job, _ in wanted_pairs)
    latest = {
        (job, way): run for job, way, run in execute(session, _LATEST_RUNS, ids, Texts(way for _, way in wanted_pairs))
    }
    datasets: dict[tuple[str, str], list[UUID]] = {}
    of_runs = "SELECT run_id, direction, dataset_id FROM run_dataset WHERE run_id = ANY(%s)"
    for run, way, dataset in execute(session, of_runs, Texts({run for run in latest.values() if run})):
        datasets.setdefault((run, way), []).append(dataset)
    wanted = {
        (job, way, dataset): run for (job, way), run in latest.items() for dataset in datasets.get((run, way), ())
    }
    of_jobs = "SELECT job_id, direction, dataset_id, run_id FROM job_dataset WHERE origin = 'run' AND job_id = ANY(%s)"
    known = {
        (job, way, dataset): run for job, way, dataset, run in execute(session, of_jobs, ids) if (job, way) in latest
    }
    _write_edges(session, _DROP_EDGES, [edge for edge in known if edge not in wanted])
    _write_edges(session, _SAVE_EDGES, [(*edge, run) for edge, run in wanted.items() if known.get(edge) != run])


def _write_edges(session: Session, statement: str, edges: list[tuple[Any, ...]]) -> None:
    if edges:
        kinds: tuple[type[Column], ...] = (Uuids, Texts, Uuids, Texts)
        columns = zip(*sorted(edges), strict=True)
        execute(session, statement, *(kind(column) for kind, column in zip(kinds, columns, strict=False)))


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
