"""Jobs, their versions and runs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query, Response

from metadata_service.dependencies import DbSession, ScopedWriter
from metadata_service.openlineage import RunId, Time
from metadata_service.rendering import encoded
from metadata_service.routers.marquez.routing import Limit, NameInPath, Offset, make_router
from metadata_service.schemas.marquez import Job, JobIn, Jobs, JobVersion, JobVersions, Run, RunFacets, RunIn, Runs
from metadata_service.services.marquez import listing, writing

router = make_router()
_JOBS = "/namespaces/{namespace:name}/jobs"
_JOB = _JOBS + "/{job:name}"
RunKey = Annotated[RunId, Path()]
_TYPES = {"start": "START", "complete": "COMPLETE", "fail": "FAIL", "abort": "ABORT"}


@router.get("/jobs", response_model=Jobs)
def list_all_jobs(session: DbSession, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List all jobs, newest change first."""
    return encoded(listing.list_jobs(session, None, limit, offset))


@router.get("/jobs/runs/{id:name}", response_model=Run)
def get_run(session: DbSession, id: RunKey) -> Response:
    """Return a run."""
    return encoded(listing.get_run(session, id))


@router.get("/jobs/runs/{id:name}/facets", response_model=RunFacets)
def get_facets(session: DbSession, id: RunKey, type: Annotated[Literal["run", "job"], Query()]) -> Response:
    """Return the facets of a run, or of its job."""
    return encoded(listing.get_facets(session, id, type))


@router.post("/jobs/runs/{id:name}/{transition}", response_model=Run)
def mark_run(
    session: DbSession,
    by: ScopedWriter,
    id: RunKey,
    transition: Literal["start", "complete", "fail", "abort"],
    at: Annotated[Time | None, Query(description="When that was; now, if not given.")] = None,
) -> Response:
    """Start or end a run."""
    return encoded(writing.mark_run(session, by, id, _TYPES[transition], at))


@router.get(_JOBS, response_model=Jobs)
def list_jobs(session: DbSession, namespace: NameInPath, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the jobs of a namespace by name."""
    return encoded(listing.list_jobs(session, namespace, limit, offset))


@router.get(_JOB, response_model=Job)
def get_job(session: DbSession, namespace: NameInPath, job: NameInPath) -> Response:
    """Return a job."""
    return encoded(listing.get_job(session, namespace, job))


@router.put(_JOB, response_model=Job)
def put_job(session: DbSession, by: ScopedWriter, namespace: NameInPath, job: NameInPath, given: JobIn) -> Response:
    """Create or change a job."""
    by.require([namespace, *(item.namespace for item in given.outputs)])
    return encoded(writing.put_job(session, by, namespace, job, given))


@router.delete(_JOB, response_model=Job)
def delete_job(session: DbSession, by: ScopedWriter, namespace: NameInPath, job: NameInPath) -> Response:
    """Take a job out of the lists; an event that names it brings it back."""
    by.require([namespace])
    return encoded(writing.delete_job(session, by, namespace, job))


@router.get(_JOB + "/versions", response_model=JobVersions)
def list_versions(
    session: DbSession, namespace: NameInPath, job: NameInPath, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """List the versions of a job, newest first: as many as it had different inputs and outputs."""
    return encoded(listing.list_job_versions(session, namespace, job, limit, offset))


@router.get(_JOB + "/versions/{version:name}", response_model=JobVersion)
def get_version(session: DbSession, namespace: NameInPath, job: NameInPath, version: NameInPath) -> Response:
    """Return a version of a job."""
    return encoded(listing.get_job_version(session, namespace, job, version))


@router.get(_JOB + "/runs", response_model=Runs)
def list_runs(
    session: DbSession, namespace: NameInPath, job: NameInPath, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """List the runs of a job, newest first."""
    return encoded(listing.list_runs(session, namespace, job, limit, offset))


@router.post(_JOB + "/runs", response_model=Run, status_code=201)
def create_run(session: DbSession, by: ScopedWriter, namespace: NameInPath, job: NameInPath, given: RunIn) -> Response:
    """Create a run of a job."""
    by.require([namespace])
    return encoded(writing.create_run(session, by, namespace, job, given), 201)
