"""Runs, their check results, and jobs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from metadata_service.dependencies import DbSession, PageOf, ScopedWriter, Telemetry
from metadata_service.openlineage import RunId
from metadata_service.repositories.runs import RunFilter
from metadata_service.schemas.catalog import JobDetail, JobOut
from metadata_service.schemas.common import Page, RunState
from metadata_service.schemas.hub import SpanOut
from metadata_service.schemas.quality import DqResultIn, DqResultOut, DqResultsIn, DqSummary
from metadata_service.schemas.runs import RunDetail, RunIn, RunOut, RunUpdate
from metadata_service.services import access, catalog, quality, runs, traces

router = APIRouter(tags=["runs"])
RunKey = Annotated[RunId, Path()]


@router.post("/runs", status_code=201, responses={200: {"model": RunOut}})
def record_run(session: DbSession, by: ScopedWriter, run: RunIn, response: Response) -> RunOut:
    """Record a run (201), or add to a known one (200)."""
    by.require([run.job.namespace, *(output.namespace for output in run.outputs)])
    access.authorize_runs(session, by, [run.run_id] if run.run_id else [])
    run_id, new = runs.record_run(session, run)
    response.status_code = 201 if new else 200
    with access.seen_by(session, by):
        return runs.show_run(session, run_id)


@router.get("/runs")
def list_runs(
    session: DbSession,
    paging: PageOf,
    job_namespace: str | None = None,
    job_name: str | None = None,
    state: RunState | None = None,
    parent_run_id: str | None = None,
    job_id: UUID | None = None,
) -> Page[RunOut]:
    """List runs, newest first."""
    wanted = RunFilter(
        job_id=job_id, job_namespace=job_namespace, job_name=job_name, state=state, parent_run_id=parent_run_id
    )
    return runs.list_runs(session, wanted, paging.limit, paging.offset)


@router.get("/runs/{run_id}")
def get_run(session: DbSession, run_id: RunKey) -> RunDetail:
    """Return a run with its facets, datasets and children."""
    return runs.describe_run(session, run_id)


@router.get("/runs/{run_id}/spans")
def get_spans(session: DbSession, telemetry: Telemetry, run_id: RunKey) -> list[SpanOut]:
    """Return what the run's pipeline told of its work: at most 1,000 spans, each below the one that began it."""
    return traces.spans_of_run(session, telemetry, run_id)


@router.patch("/runs/{run_id}")
def update_run(session: DbSession, by: ScopedWriter, run_id: RunKey, run: RunUpdate) -> RunOut:
    """Carry a run on or end it; 409 if it has ended otherwise."""
    access.authorize_known_run(session, by, run_id)
    runs.update_run(session, run_id, run)
    with access.seen_by(session, by):
        return runs.show_run(session, run_id)


@router.post("/runs/{run_id}/dq_results", status_code=201)
def post_results(
    session: DbSession, by: ScopedWriter, run_id: RunKey, body: list[DqResultIn] | DqResultsIn
) -> DqSummary:
    """Store check results of a run, which is made if it is unknown. Posting them again changes nothing."""
    if isinstance(body, list):
        body = DqResultsIn(results=body)
    job = (body.job.namespace, body.job.name) if body.job else None
    access.authorize_runs(session, by, [run_id])
    by.require([job[0]] if job else [])
    by.require(result.dataset.namespace for result in body.results if result.dataset)
    return quality.save_results(session, run_id, body.results, job)


@router.get("/runs/{run_id}/dq_results")
def list_results(session: DbSession, run_id: RunKey, paging: PageOf) -> Page[DqResultOut]:
    """List the check results of a run, newest first."""
    return runs.list_results_of_run(session, run_id, paging.limit, paging.offset)


@router.get("/jobs", tags=["jobs"])
def list_jobs(
    session: DbSession,
    paging: PageOf,
    q: Annotated[str | None, Query(description="Words that name or namespace contain.")] = None,
    namespace: str | None = None,
) -> Page[JobOut]:
    """List jobs, newest change first."""
    return catalog.list_jobs(session, q, namespace, paging.limit, paging.offset)


@router.get("/jobs/{job_id}", tags=["jobs"])
def get_job(session: DbSession, job_id: UUID) -> JobDetail:
    """Return a job with its SQL, facets and current edges."""
    return catalog.describe_job(session, job_id)
