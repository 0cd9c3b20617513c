"""Runs and the results of their checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from metadata_service.models import QualityResult, Run
from metadata_service.problems import NotFoundError, ProblemError
from metadata_service.repositories import datasets, jobs, quality, quality_state, runs
from metadata_service.repositories.facets import FacetOwner, load_facets, save_facets
from metadata_service.repositories.runs import TERMINAL_STATES, RunFilter, RunSeen
from metadata_service.schemas.common import JobLink, Page
from metadata_service.schemas.quality import DatasetQuality, DqResultOut
from metadata_service.schemas.runs import DatasetRunOut, RunDatasetOut, RunDetail, RunIn, RunOut, RunUpdate
from metadata_service.services.catalog import dataset_link
from metadata_service.services.lookup import find_dataset
from metadata_service.services.quality import causes, states

MAX_CHILDREN = 500


def record_run(session: Session, given: RunIn) -> tuple[str, bool]:
    """Record a run; return its id and whether it was unknown."""
    now = datetime.now(UTC)
    started = given.started_at or (None if given.ended_at else now)
    run_id = given.run_id or str(uuid4())
    job = (given.job.namespace, given.job.name)
    at = given.ended_at or given.started_at or now
    job_ids = jobs.upsert_jobs(session, {job: at})
    terminal = given.state in TERMINAL_STATES
    seen = RunSeen.at(
        run_id,
        at,
        state=given.state,
        job=job,
        job_at=at,
        started_at=started,
        ended_at=(given.ended_at or now) if terminal else None,
        parent_run_id=given.parent_run_id,
    )
    new = session.get(Run, run_id) is None
    runs.merge_runs(session, [seen], job_ids)
    sides = [("input", ref) for ref in given.inputs] + [("output", ref) for ref in given.outputs]
    ids = datasets.upsert_datasets(session, {(ref.namespace, ref.name): at for _, ref in sides})
    runs.save_run_datasets(session, [(run_id, side, ids[(ref.namespace, ref.name)]) for side, ref in sides])
    facets = given.facets | _error_facet(given.error_message)
    _save_facets(session, run_id, facets, at)
    jobs.refresh_run_edges(session, runs.directions_of_jobs(session, [run_id]))
    quality_state.refresh(session, [run_id])
    session.expire_all()
    return run_id, new


def show_run(session: Session, run_id: str) -> RunOut:
    """Return a run."""
    return _out(session, [_find(session, run_id)])[0]


def update_run(session: Session, run_id: str, given: RunUpdate) -> None:
    """Carry a run on or end it. A run that has ended stays as it ended."""
    run = _find(session, run_id)
    if run.state in TERMINAL_STATES and run.state != given.state:
        raise ProblemError(409, f"Run {run_id} has ended already: {run.state}.")
    if run.state == given.state and run.state in TERMINAL_STATES:
        return
    at = given.ended_at or datetime.now(UTC)
    terminal = given.state in TERMINAL_STATES
    runs.merge_runs(session, [RunSeen.at(run_id, at, state=given.state, ended_at=at if terminal else None)], {})
    _save_facets(session, run_id, _error_facet(given.error_message), at)
    session.refresh(run)
    jobs.refresh_run_edges(session, runs.directions_of_jobs(session, [run_id]))
    quality_state.refresh(session, [run_id])


def list_runs(session: Session, wanted: RunFilter, limit: int, offset: int) -> Page[RunOut]:
    """Return a page of runs, newest first."""
    found, total = runs.list_runs(session, wanted, limit, offset)
    return Page(items=_out(session, found), total=total, limit=limit, offset=offset)


def list_runs_of_dataset(session: Session, dataset_id: UUID, limit: int, offset: int) -> Page[DatasetRunOut]:
    """Return a page of the runs that read or wrote a dataset, newest first."""
    canonical = find_dataset(session, dataset_id).id
    found, total = runs.list_runs(session, RunFilter(dataset_id=canonical), limit, offset)
    directions = runs.directions_of_dataset(session, [run.id for run in found], canonical)
    items = [DatasetRunOut(**dict(run), direction=directions[run.id]) for run in _out(session, found)]  # type: ignore[arg-type]
    return Page(items=items, total=total, limit=limit, offset=offset)


def describe_run(session: Session, run_id: str) -> RunDetail:
    """Return a run with its facets, datasets and children."""
    run = _find(session, run_id)
    sides: dict[str, list[RunDatasetOut]] = {"input": [], "output": []}
    recorded = runs.datasets_of_run(session, run_id)
    facets = {
        side: load_facets(session, side, [f"{run_id}/{id_}" for way, id_, _ in recorded if way == side])  # type: ignore[arg-type]
        for side in sides
    }
    for side, id_, dataset in recorded:
        mine = facets[side].get(f"{run_id}/{id_}", {})
        sides[side].append(RunDatasetOut(dataset=dataset_link(dataset), facets=mine))
    children, _ = runs.list_runs(session, RunFilter(parent_run_id=run_id), MAX_CHILDREN, 0)
    return RunDetail(
        **dict(_out(session, [run])[0]),
        facets=load_facets(session, "run", [run_id]).get(run_id, {}),
        inputs=sides["input"],
        outputs=sides["output"],
        children=_out(session, children),
    )


def list_results_of_run(session: Session, run_id: str, limit: int, offset: int) -> Page[DqResultOut]:
    """Return a page of a run's check results, newest first."""
    _find(session, run_id)
    found, total = quality.list_results(session, run_id=run_id, dataset_id=None, limit=limit, offset=offset)
    return Page(items=_results_out(session, found), total=total, limit=limit, offset=offset)


def describe_quality(session: Session, dataset_id: UUID, limit: int, offset: int) -> DatasetQuality:
    """Return the newest result of each check of a dataset and a page of all results."""
    canonical = find_dataset(session, dataset_id).id
    found, total = quality.list_results(session, run_id=None, dataset_id=canonical, limit=limit, offset=offset)
    history = Page(items=_results_out(session, found), total=total, limit=limit, offset=offset)
    return DatasetQuality(
        dataset_id=canonical,
        quality=states(session, [canonical])[canonical],
        suspect_because=causes(session, canonical),
        checks=latest_checks(session, canonical),
        history=history,
    )


def latest_checks(session: Session, dataset_id: UUID) -> list[DqResultOut]:
    """Return the newest result of each check of a dataset, given by its canonical id."""
    return _results_out(session, quality.latest_results(session, [dataset_id]).get(dataset_id, []))


def _save_facets(session: Session, run_id: str, facets: dict[str, dict[str, Any]], at: datetime) -> None:
    save_facets(session, {(FacetOwner("run", run_id), name): (at, facet) for name, facet in facets.items()})


def _error_facet(message: str | None) -> dict[str, dict[str, Any]]:
    return {"errorMessage": {"message": message}} if message else {}


def _find(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFoundError("run", run_id)
    return run


def _out(session: Session, found: Sequence[Run]) -> list[RunOut]:
    job_links = {
        job.id: JobLink(id=job.id, namespace=job.namespace, name=job.name)
        for job in jobs.get_many(session, {run.job_id for run in found if run.job_id is not None})
    }
    errors = load_facets(session, "run", [run.id for run in found], ["errorMessage"])
    relatives = runs.seen(session, (id_ for run in found for id_ in (run.parent_run_id, run.root_run_id)))
    shown = []
    for run in found:
        message = errors.get(run.id, {}).get("errorMessage", {}).get("message")
        ended = run.started_at is not None and run.ended_at is not None
        shown.append(
            RunOut(
                id=run.id,
                job=job_links.get(run.job_id) if run.job_id else None,
                state=run.state,  # type: ignore[arg-type]
                started_at=run.started_at,
                ended_at=run.ended_at,
                duration_seconds=(run.ended_at - run.started_at).total_seconds() if ended else None,  # type: ignore[operator]
                parent_run_id=run.parent_run_id if run.parent_run_id in relatives else None,
                root_run_id=run.root_run_id if run.root_run_id in relatives else None,
                error_message=str(message) if message else None,
                created_at=run.created_at,
                updated_at=run.updated_at,
            )
        )
    return shown


def _results_out(session: Session, found: Sequence[QualityResult]) -> list[DqResultOut]:
    named = {item.id: item for item in datasets.get_many(session, {r.dataset_id for r in found if r.dataset_id})}
    by_runs = runs.seen(session, (result.run_id for result in found))
    return [
        DqResultOut(
            id=result.id,
            run_id=result.run_id if result.run_id in by_runs else None,
            dataset=dataset_link(named[result.dataset_id]) if result.dataset_id else None,
            check=result.check_name,
            column=result.column_name,
            dimension=result.dimension,
            status=result.status,  # type: ignore[arg-type]
            severity=result.severity,  # type: ignore[arg-type]
            measured=result.measured,
            expected=result.expected,
            message=result.message,
            sql=result.sql,
            failed_rows=result.failed_rows,
            sample=result.sample,
            engine=result.engine,
            checked_at=result.checked_at,
            duration_seconds=result.duration_seconds,
        )
        for result in found
    ]
