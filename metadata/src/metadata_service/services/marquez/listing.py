"""Datasets, jobs, runs and their versions, as Marquez lists them."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job, Run
from metadata_service.problems import NotFoundError
from metadata_service.repositories import marquez, runs
from metadata_service.repositories.datasets import get_aliases
from metadata_service.repositories.facets import load_facets
from metadata_service.repositories.runs import RunFilter
from metadata_service.services.marquez import shapes
from metadata_service.services.marquez.names import find_dataset, find_job, version_of_edges, version_of_run
from metadata_service.services.marquez.shapes import Shape
from metadata_service.services.projection import dataset_facets


def list_datasets(session: Session, namespace: str, limit: int, offset: int) -> Shape:
    """Return a page of a namespace's datasets, by name."""
    where = (Dataset.namespace == namespace, Dataset.canonical_id.is_(None), Dataset.deleted_at.is_(None))
    total = session.scalar(select(func.count()).select_from(Dataset).where(*where)) or 0
    found = session.scalars(select(Dataset).where(*where).order_by(Dataset.name).limit(limit).offset(offset))
    return {"datasets": shapes.datasets(session, list(found)), "totalCount": total}


def get_dataset(session: Session, namespace: str, name: str) -> Shape:
    """Return a dataset."""
    return shapes.datasets(session, [find_dataset(session, namespace, name)])[0]


def list_dataset_versions(session: Session, namespace: str, name: str, limit: int, offset: int) -> Shape:
    """Return a page of a dataset's versions, newest first: one for each run that wrote it.

    A dataset that no run wrote has one version.
    """
    dataset = find_dataset(session, namespace, name)
    found, total = marquez.writing_runs(session, dataset.id, limit, offset)
    versions = [_dataset_version(session, dataset, run_id) for run_id, _ in found]
    if total == 0:
        total, versions = 1, [_dataset_version(session, dataset, None)] if offset == 0 < limit else []
    return {"versions": versions, "totalCount": total}


def get_dataset_version(session: Session, namespace: str, name: str, version: str) -> Shape:
    """Return a version of a dataset."""
    dataset = find_dataset(session, namespace, name)
    if version == str(dataset.id):
        return _dataset_version(session, dataset, None)
    written, _ = marquez.writing_runs(session, dataset.id, 10_000, 0)
    for run_id, _ in written:
        if version_of_run(run_id) == version:
            return _dataset_version(session, dataset, run_id)
    raise NotFoundError("version", f"{version} of {name!r} in {namespace!r}")


def _dataset_version(session: Session, dataset: Dataset, run_id: str | None) -> Shape:
    """Return what a run made of a dataset: as its events say, as far as they are kept, else as the dataset is now."""
    facets = _facets_told(session, dataset, run_id) if run_id else dataset_facets(session, [dataset.id])[dataset.id]
    shown = shapes.describe_dataset(dataset, facets)
    fields = facets.get("schema", {}).get("fields")
    if run_id and isinstance(fields, list) and fields:
        known = {field["name"]: field for field in shown["fields"]}
        shown["fields"] = [
            {"tags": [], "description": None, "type": None} | known.get(field.get("name"), {}) | field
            for field in fields
            if isinstance(field, dict) and field.get("name")
        ]
    version = version_of_run(run_id) if run_id else str(dataset.id)
    run = shapes.runs_by_id(session, [run_id]) if run_id else []
    return {
        "id": {"namespace": dataset.namespace, "name": dataset.name, "version": version},
        **shown,
        "createdAt": run[0]["updatedAt"] if run else dataset.updated_at,
        "version": version,
        "currentSchemaVersion": None,
        "lifecycleState": facets.get("lifecycleStateChange", {}).get("lifecycleStateChange"),
        "createdByRun": run[0] if run else None,
    }


def _facets_told(session: Session, dataset: Dataset, run_id: str) -> Shape:
    """Return the facets that a run's events gave a dataset that it wrote."""
    names = {(dataset.namespace, dataset.name)}
    names |= {(told.namespace, told.name) for told in get_aliases(session, [dataset.id])}
    facets: Shape = {}
    for payload in marquez.payloads_of_run(session, run_id):
        for output in payload.get("outputs") or ():
            if (output.get("namespace"), output.get("name")) in names:
                facets |= {name: facet for name, facet in (output.get("facets") or {}).items() if facet is not None}
    return {name: facet for name, facet in facets.items() if not facet.get("_deleted")}


def list_jobs(session: Session, namespace: str | None, limit: int, offset: int) -> Shape:
    """Return a page of the jobs of a namespace by name, or of all by their last change."""
    where = (Job.deleted_at.is_(None), Job.namespace == namespace if namespace is not None else true())
    total = session.scalar(select(func.count()).select_from(Job).where(*where)) or 0
    order = (Job.name,) if namespace is not None else (Job.updated_at.desc(), Job.namespace, Job.name)
    found = session.scalars(select(Job).where(*where).order_by(*order).limit(limit).offset(offset))
    return {"jobs": shapes.jobs(session, list(found)), "totalCount": total}


def get_job(session: Session, namespace: str, name: str) -> Shape:
    """Return a job."""
    return shapes.jobs(session, [find_job(session, namespace, name)])[0]


def list_job_versions(session: Session, namespace: str, name: str, limit: int, offset: int) -> Shape:
    """Return a page of a job's versions, newest first: as many as it had different inputs and outputs."""
    job = find_job(session, namespace, name)
    found, total = marquez.versions_of_job(session, job.id, limit, offset)
    versions = [_job_version(session, job, created, run_id) for created, run_id in found]
    if total == 0:
        shown = shapes.jobs(session, [job])[0]
        only = {
            key: shown[key] for key in ("name", "createdAt", "namespace", "inputs", "outputs", "location", "facets")
        }
        identity = {"namespace": job.namespace, "name": job.name, "version": shown["currentVersion"]}
        only |= {"id": identity, "version": shown["currentVersion"], "latestRun": shown["latestRun"]}
        total, versions = 1, [only] if offset == 0 < limit else []
    return {"versions": versions, "totalCount": total}


def get_job_version(session: Session, namespace: str, name: str, version: str) -> Shape:
    """Return a version of a job."""
    for shown in list_job_versions(session, namespace, name, 1000, 0)["versions"]:
        if shown["version"] == version:
            found: Shape = shown
            return found
    raise NotFoundError("version", f"{version} of {name!r} in {namespace!r}")


def _job_version(session: Session, job: Job, created: Any, run_id: str) -> Shape:
    edges: dict[str, list[dict[str, str]]] = {"input": [], "output": []}
    for side, _told, dataset in runs.datasets_of_run(session, run_id):
        edges[side].append({"namespace": dataset.namespace, "name": dataset.name})
    version = version_of_edges(shapes.edges_hash(edges))
    facets = load_facets(session, "job", [str(job.id)]).get(str(job.id), {})
    return {
        "id": {"namespace": job.namespace, "name": job.name, "version": version},
        "name": job.name,
        "version": version,
        "createdAt": created,
        "namespace": job.namespace,
        "inputs": edges["input"],
        "outputs": edges["output"],
        "location": facets.get("sourceCodeLocation", {}).get("url"),
        "latestRun": shapes.runs_by_id(session, [run_id])[0],
        "facets": facets,
    }


def list_runs(session: Session, namespace: str, name: str, limit: int, offset: int) -> Shape:
    """Return a page of a job's runs, newest first."""
    job = find_job(session, namespace, name)
    found, total = runs.list_runs(session, RunFilter(job_id=job.id), limit, offset)
    return {"runs": shapes.runs_by_id(session, [run.id for run in found]), "totalCount": total}


def get_run(session: Session, run_id: str) -> Shape:
    """Return a run with its datasets and facets."""
    found = shapes.runs_by_id(session, [run_id], with_datasets=True)
    if not found:
        raise NotFoundError("run", run_id)
    return found[0]


def get_facets(session: Session, run_id: str, kind: Literal["run", "job"]) -> Shape:
    """Return the facets of a run, or of its job."""
    run = session.get(Run, run_id)
    if run is None:
        raise NotFoundError("run", run_id)
    owner = run_id if kind == "run" else str(run.job_id)
    facets = load_facets(session, kind, [owner]).get(owner, {})
    return {"runId": run_id, "facets": {name: facet for name, facet in facets.items() if name != shapes.OWN_FACET}}
