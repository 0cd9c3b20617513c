"""Datasets, jobs and runs as Marquez shows them, many at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job, Run
from metadata_service.repositories import marquez, runs
from metadata_service.repositories.facets import facet_text, load_facets
from metadata_service.repositories.jobs import current_edges
from metadata_service.services.marquez.names import version_of_edges, version_of_run
from metadata_service.services.projection import dataset_facets

Shape = dict[str, Any]
Edges = dict[str, list[dict[str, str]]]  # inputs and outputs
LATEST_RUNS = 10
OWN_FACET = "marquez"  # what Marquez' API lets people say and OpenLineage has no facet for


def datasets(session: Session, found: Sequence[Dataset]) -> list[Shape]:
    """Return datasets."""
    facets = dataset_facets(session, [dataset.id for dataset in found])
    writers = marquez.last_writers(session, [dataset.id for dataset in found])
    return [_dataset(dataset, facets[dataset.id], writers.get(dataset.id)) for dataset in found]


def _dataset(dataset: Dataset, facets: dict[str, Any], writer: str | None) -> Shape:
    return {
        "id": {"namespace": dataset.namespace, "name": dataset.name},
        **describe_dataset(dataset, facets),
        "updatedAt": dataset.updated_at,
        "lastModifiedAt": dataset.written_at,
        "lastLifecycleState": facet_text(facets, "lifecycleStateChange", "lifecycleStateChange"),
        "currentVersion": version_of_run(writer) if writer else str(dataset.id),
        "columnLineage": None,
        "deleted": dataset.deleted_at is not None,
    }


def describe_dataset(dataset: Dataset, facets: dict[str, Any]) -> Shape:
    """Return what a dataset and its versions have in common, by the facets that it has or had."""
    own = facets.get(OWN_FACET, {})
    return {
        "type": "STREAM" if own.get("type") == "STREAM" else "DB_TABLE",
        "name": dataset.name,
        "physicalName": own.get("physicalName") or dataset.name,
        "createdAt": dataset.created_at,
        "namespace": dataset.namespace,
        "sourceName": facet_text(facets, "dataSource", "name") or dataset.namespace,
        "fields": [_field(field) for field in dataset.fields],
        "tags": dataset.tags,
        "description": dataset.description,
        "facets": {name: facet for name, facet in facets.items() if name != OWN_FACET},
        **({"schemaLocation": own["schemaLocation"]} if own.get("schemaLocation") else {}),
    }


def _field(field: dict[str, Any]) -> Shape:
    return {"name": field["name"], "type": field.get("type"), "tags": field.get("tags") or [],
            "description": field.get("description")}  # fmt: skip


def jobs(
    session: Session, found: Sequence[Job], edges: Mapping[UUID, Edges] | None = None, most_runs: int = LATEST_RUNS
) -> list[Shape]:
    """Return jobs with their newest runs; with these inputs and outputs, or with all current ones."""
    ids = [job.id for job in found]
    facets = load_facets(session, "job", map(str, ids))
    edges = edges_of_jobs(session, ids) if edges is None else edges
    newest = marquez.newest_runs(session, ids, most_runs)
    shown = {run["id"]: run for run in runs_by_id(session, [run for own in newest.values() for run in own])}
    parents = _parents(session, [own[0] for own in newest.values()])
    return [
        _job(
            job,
            facets.get(str(job.id), {}),
            edges.get(job.id, {"input": [], "output": []}),
            [shown[run] for run in newest.get(job.id, []) if run in shown],
            parents.get(newest[job.id][0]) if job.id in newest else None,
        )
        for job in found
    ]


def _job(job: Job, facets: dict[str, Any], edges: Edges, latest: list[Shape], parent: Job | None) -> Shape:
    kind = (facet_text(facets, "jobType", "processingType") or "BATCH").upper()
    prefix = f"{parent.name}." if parent else None
    return {
        "id": {"namespace": job.namespace, "name": job.name},
        "type": {"STREAMING": "STREAM", "STREAM": "STREAM", "SERVICE": "SERVICE"}.get(kind, "BATCH"),
        "name": job.name,
        "simpleName": job.name.removeprefix(prefix) if prefix else job.name,
        "parentJobName": parent.name if parent else None,
        "parentJobUuid": str(parent.id) if parent else None,
        "createdAt": job.created_at,
        "updatedAt": job.updated_at,
        "namespace": job.namespace,
        "inputs": edges["input"],
        "outputs": edges["output"],
        "location": facet_text(facets, "sourceCodeLocation", "url"),
        "description": facet_text(facets, "documentation", "description"),
        "latestRun": latest[0] if latest else None,
        "latestRuns": latest,
        "facets": facets,
        "currentVersion": version_of_edges(edges_hash(edges)),
        "tags": [],
        "labels": [],
    }


def edges_of_jobs(session: Session, job_ids: Iterable[UUID]) -> dict[UUID, Edges]:
    """Return the current inputs and outputs of each job that has any."""
    found: dict[UUID, Edges] = {}
    for job_id, edges in current_edges(session, job_ids).items():
        found[job_id] = {"input": [], "output": []}
        for edge in edges:
            found[job_id][edge.direction].append({"namespace": edge.namespace, "name": edge.name})
    return found


def edges_hash(edges: Edges) -> str:
    """Return a hash of a job's inputs and outputs."""
    named = [(side, item["namespace"], item["name"]) for side in sorted(edges) for item in edges[side]]
    return hashlib.sha256(repr(named).encode()).hexdigest()[:32]


def _parents(session: Session, run_ids: list[str]) -> dict[str, Job]:
    """Return the job of the parent of each run that has one."""
    parent = Run.__table__.alias("parent")
    query = (
        select(Run.id, Job)
        .join(parent, parent.c.id == Run.parent_run_id)
        .join(Job, Job.id == parent.c.job_id)
        .where(Run.id.in_(run_ids))
    )
    return {run_id: job for run_id, job in session.execute(query)}


def runs_by_id(session: Session, run_ids: Iterable[str], *, with_datasets: bool = False) -> list[Shape]:
    """Return runs in the order of their ids as given; their datasets and all of their facets if wanted."""
    ids = list(run_ids)
    found = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_(ids)))}
    own = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_({r.job_id for r in found.values()})))}
    facets = load_facets(session, "run", ids, None if with_datasets else ("nominalTime", OWN_FACET))
    return [
        _run(session, found[id_], own.get(found[id_].job_id), facets.get(id_, {}), with_datasets)  # type: ignore[arg-type]
        for id_ in ids
        if id_ in found
    ]


def _run(session: Session, run: Run, job: Job | None, facets: dict[str, Any], with_datasets: bool) -> Shape:
    took = run.ended_at - run.started_at if run.started_at and run.ended_at else None
    sides = _versions(session, run) if with_datasets else {"input": [], "output": []}
    nominal = facets.get("nominalTime", {})
    return {
        "id": run.id,
        "createdAt": run.created_at,
        "updatedAt": run.updated_at,
        "nominalStartTime": nominal.get("nominalStartTime"),
        "nominalEndTime": nominal.get("nominalEndTime"),
        "state": run.state,
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "durationMs": round(took.total_seconds() * 1000) if took is not None else None,
        "args": facets.get(OWN_FACET, {}).get("args") or {},
        "jobVersion": job and {"namespace": job.namespace, "name": job.name, "version": str(job.id)},
        "inputDatasetVersions": sides["input"],
        "outputDatasetVersions": sides["output"],
        "facets": {name: facet for name, facet in facets.items() if name != OWN_FACET} if with_datasets else {},
    }


def _versions(session: Session, run: Run) -> dict[str, list[Shape]]:
    sides: dict[str, list[Shape]] = {"input": [], "output": []}
    recorded = runs.datasets_of_run(session, run.id)
    owners = [f"{run.id}/{told}" for _, told, _ in recorded]
    facets = {"input": load_facets(session, "input", owners), "output": load_facets(session, "output", owners)}
    for owner, (side, _, dataset) in zip(owners, recorded, strict=True):
        version = version_of_run(run.id) if side == "output" else _version_read(session, run, dataset.id)
        identity = {"namespace": dataset.namespace, "name": dataset.name, "version": version}
        sides[side].append({"datasetVersionId": identity, "facets": facets[side].get(owner, {})})
    return sides


def _version_read(session: Session, run: Run, dataset_id: UUID) -> str:
    """Return the version of an input: what the last run before this one made of it."""
    before = run.started_at or run.created_at
    written, _ = marquez.writing_runs(session, dataset_id, 100, 0)
    for writer, at in written:
        if at <= before and writer != run.id:
            return version_of_run(writer)
    return str(dataset_id)
