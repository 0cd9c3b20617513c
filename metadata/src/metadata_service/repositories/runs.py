"""Runs and what they read and wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job, Run, RunDataset
from metadata_service.repositories.bulk import Texts, Times, Uuids, execute
from metadata_service.repositories.jobs import JobName
from metadata_service.repositories.tenancy import is_narrowed

TERMINAL_STATES = ("COMPLETED", "FAILED", "ABORTED")
_RANK = {"NEW": 0, "RUNNING": 1} | dict.fromkeys(TERMINAL_STATES, 2)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class RunSeen:
    """What events or requests tell of a run. `job_at` is None where another run or a check names this run's job."""

    id: str
    first: datetime
    last: datetime
    state: str = "NEW"
    state_at: datetime | None = None
    job: JobName | None = None
    job_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None

    @classmethod
    def at(cls, run_id: str, at: datetime, **more: Any) -> RunSeen:
        """Return what is told of a run at one time."""
        return cls(run_id, at, at, state_at=at, **more)

    def absorb(self, other: RunSeen) -> None:
        """Add what is told of the same run elsewhere. The rules are those of `merge_runs`."""
        if other._standing() > self._standing():
            self.state, self.state_at = other.state, other.state_at
            self.ended_at = other.ended_at or self.ended_at
        if other.job and (not self.job or other._claim() > self._claim()):
            self.job, self.job_at = other.job, other.job_at
        self.started_at = min((t for t in (self.started_at, other.started_at) if t), default=None)
        self.parent_run_id = max(self.parent_run_id or "", other.parent_run_id or "") or None
        self.root_run_id = max(self.root_run_id or "", other.root_run_id or "") or None
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)

    def _standing(self) -> tuple[int, datetime, str]:
        return _RANK[self.state], self.state_at or _LONG_AGO, self.state

    def _claim(self) -> tuple[datetime, JobName | None]:
        return self.job_at or _LONG_AGO, self.job


@dataclass(frozen=True)
class RunFilter:
    """What a list of runs is narrowed to; None means anything."""

    job_id: UUID | None = None
    job_namespace: str | None = None
    job_name: str | None = None
    state: str | None = None
    parent_run_id: str | None = None
    dataset_id: UUID | None = None


_RANKED = "CASE {0}.state WHEN 'NEW' THEN 0 WHEN 'RUNNING' THEN 1 ELSE 2 END"
_STATE_WINS = (
    f"({_RANKED.format('excluded')}, excluded.state_at, excluded.state) > ({_RANKED.format('r')}, r.state_at, r.state)"
)
_NAME_OF = "(SELECT j.namespace || E'\\x01' || j.name FROM job j WHERE j.id = {0}.job_id)"
_JOB_WINS = f"""
    excluded.job_id IS NOT NULL AND (
        r.job_id IS NULL
        OR coalesce(excluded.job_at, '-infinity') > coalesce(r.job_at, '-infinity')
        OR (excluded.job_at IS NOT DISTINCT FROM r.job_at AND excluded.job_id <> r.job_id
            AND {_NAME_OF.format("excluded")} > {_NAME_OF.format("r")}))
"""
_MERGE = f"""
INSERT INTO run AS r (id, job_id, job_namespace, job_at, state, state_at, started_at, ended_at, parent_run_id,
                      root_run_id, created_at, updated_at)
SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE
   SET job_id = CASE WHEN {_JOB_WINS} THEN excluded.job_id ELSE r.job_id END,
       job_namespace = CASE WHEN {_JOB_WINS} THEN excluded.job_namespace ELSE r.job_namespace END,
       job_at = CASE WHEN {_JOB_WINS} THEN excluded.job_at ELSE r.job_at END,
       state = CASE WHEN {_STATE_WINS} THEN excluded.state ELSE r.state END,
       state_at = CASE WHEN {_STATE_WINS} THEN excluded.state_at ELSE r.state_at END,
       ended_at = CASE WHEN {_STATE_WINS} THEN coalesce(excluded.ended_at, r.ended_at) ELSE r.ended_at END,
       started_at = least(r.started_at, excluded.started_at),
       parent_run_id = greatest(r.parent_run_id, excluded.parent_run_id),
       root_run_id = greatest(r.root_run_id, excluded.root_run_id),
       created_at = least(r.created_at, excluded.created_at),
       updated_at = greatest(r.updated_at, excluded.updated_at)
"""


def merge_runs(session: Session, seen: Iterable[RunSeen], job_ids: Mapping[JobName, UUID]) -> None:
    """Merge what is told of runs, each once, into what is known, in any order.

    A state wins over another by rank (NEW, RUNNING, the terminal ones), then by time, then by name; a job by the time
    it was named at, then by name.
    """
    rows = sorted(seen, key=lambda run: run.id)
    if not rows:
        return
    execute(
        session,
        _MERGE,
        Texts(run.id for run in rows),
        Uuids(run.job and job_ids[run.job] for run in rows),
        Texts(run.job and run.job[0] for run in rows),
        Times(run.job_at for run in rows),
        Texts(run.state for run in rows),
        Times(run.state_at for run in rows),
        Times(run.started_at for run in rows),
        Times(run.ended_at for run in rows),
        Texts(run.parent_run_id for run in rows),
        Texts(run.root_run_id for run in rows),
        Times(run.first for run in rows),
        Times(run.last for run in rows),
    )


def jobs_of_runs(session: Session, run_ids: Iterable[str]) -> dict[str, UUID]:
    """Return the job of each run that is known and has one."""
    statement = "SELECT id, job_id FROM run WHERE id = ANY(%s) AND job_id IS NOT NULL"
    return dict(execute(session, statement, Texts(run_ids)))


def directions_of_jobs(session: Session, run_ids: Iterable[str]) -> set[tuple[UUID, str]]:
    """Return the (job, direction) pairs in which these runs have datasets."""
    statement = (
        "SELECT DISTINCT r.job_id, d.direction FROM run r JOIN run_dataset d ON d.run_id = r.id "
        "WHERE r.id = ANY(%s) AND r.job_id IS NOT NULL"
    )
    return set(execute(session, statement, Texts(run_ids)))


def save_run_datasets(session: Session, told: Iterable[tuple[str, str, UUID]]) -> None:
    """Add (run, direction, dataset) to what runs read and wrote."""
    rows = sorted(set(told))
    statement = (
        "INSERT INTO run_dataset (run_id, direction, dataset_id) SELECT * FROM unnest(%s, %s, %s) "
        "ON CONFLICT DO NOTHING"
    )
    if rows:
        execute(session, statement, Texts(r[0] for r in rows), Texts(r[1] for r in rows), Uuids(r[2] for r in rows))


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


def seen(session: Session, run_ids: Iterable[str | None]) -> set[str]:
    """Return those of these ids that may be told: all, or (if the session is narrowed) those of runs that it sees.

    Runs need not be known for others to name them.
    """
    ids = {run_id for run_id in run_ids if run_id is not None}
    if ids and is_narrowed(session):
        return set(session.scalars(select(Run.id).where(Run.id.in_(ids))))
    return ids


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
