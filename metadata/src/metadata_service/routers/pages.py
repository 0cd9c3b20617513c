"""The web pages: the catalog, a dataset, the lineage graph, runs, a job, the API reference.

Every asset they use is in this package.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from metadata_service import charts
from metadata_service.dependencies import DbSession, Reader, TeamSessions, Telemetry, identify
from metadata_service.naming import LAYERS
from metadata_service.problems import ProblemError
from metadata_service.reference import build_reference
from metadata_service.rendering import templates
from metadata_service.repositories.datasets import DatasetFilter
from metadata_service.repositories.lineage import Reach
from metadata_service.repositories.runs import RunFilter
from metadata_service.repositories.search import KINDS, Kind
from metadata_service.schemas.common import RunState
from metadata_service.schemas.hub import SpanOut
from metadata_service.schemas.lineage import ColumnLineageEdge, DatasetLineage
from metadata_service.services import analytics, catalog, grants, history, lineage, runs, search, traces
from metadata_service.services.search import Narrowed

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ROWS = 50
QUALITY_DAYS = 30
OTHERS = 20  # things of other teams that a search shows
STRIP = 20  # results of a check that are shown in a row
DURATIONS = 60  # runs of a job whose durations are shown
QUALITY_LEVELS = ("failing", "error", "warning", "passing", "unknown")
SHOWN_ELSEWHERE = {"schema", "documentation", "ownership", "tags", "columnLineage", "dataQualityAssertions", "sql"}


@router.get("/")
def catalog_page(
    request: Request,
    session: DbSession,
    q: str = "",
    layer: str = "",
    tag: str = "",
    offset: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Search box and list of datasets."""
    page = catalog.list_datasets(session, DatasetFilter(layer=layer or None, tag=tag or None), ROWS, offset)
    query = {key: value for key, value in (("layer", layer), ("tag", tag)) if value}
    return _render(request, "catalog.html", page=page, layer=layer, tag=tag, query=query, layers=LAYERS)


@router.get("/ui/search")
def search_page(
    request: Request,
    session: DbSession,
    sessions: TeamSessions,
    reader: Reader,
    q: Annotated[str, Query(max_length=1000)] = "",
    type: Annotated[Kind | None, Query()] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """What a search finds: datasets, jobs and products, the best first; and what other teams let a team find."""
    narrowed = Narrowed((type,) if type else KINDS)
    page = search.find(session, q, narrowed, ROWS, offset)
    query = {key: value for key, value in (("q", q), ("type", type)) if value}
    others = grants.discover(sessions, reader if q else None, q, OTHERS, 0)
    return _render(request, "search.html", page=page, others=others, q=q, type=type, query=query, kinds=KINDS)


@router.get("/ui/quality")
def quality_page(request: Request, session: DbSession) -> HTMLResponse:
    """The quality board: states of all datasets, what fails now, how the last days went."""
    stats = analytics.quality_stats(session, QUALITY_DAYS)
    return _render(request, "quality.html", stats=stats, days=charts.of_days(stats.days), levels=QUALITY_LEVELS)


@router.get("/ui/datasets/{dataset_id}")
def dataset_page(request: Request, session: DbSession, dataset_id: UUID) -> HTMLResponse:
    """A dataset: columns, lineage, quality, runs, facets."""
    dataset = catalog.describe_dataset(session, dataset_id)
    answer = lineage.around_dataset(session, dataset_id, Reach("upstream", 1, 1000))
    around = DatasetLineage.model_validate_json(msgspec.json.encode(answer))
    return _render(
        request,
        "dataset.html",
        dataset=dataset,
        sources=_column_sources(around),
        checks=runs.latest_checks(session, dataset.id),
        strips=history.check_strips(session, dataset_id, STRIP),
        days=charts.of_days(history.quality_by_day(session, QUALITY_DAYS, dataset_id)),
        versions=history.list_versions(session, dataset_id, 20, 0),
        runs=runs.list_runs_of_dataset(session, dataset_id, 10, 0),
        facets=_other_facets(dataset.facets),
    )


@router.get("/ui/lineage")
def lineage_page(request: Request) -> HTMLResponse:
    """The whole graph."""
    return _render(request, "lineage.html")


@router.get("/ui/runs")
def runs_page(
    request: Request,
    session: DbSession,
    state: RunState | None = None,
    job_name: str = "",
    offset: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Runs, newest first."""
    page = runs.list_runs(session, RunFilter(state=state, job_name=job_name or None), ROWS, offset)
    query = {key: value for key, value in (("state", state), ("job_name", job_name)) if value}
    states = ("RUNNING", "COMPLETED", "FAILED", "ABORTED")
    return _render(request, "runs.html", page=page, state=state, job_name=job_name, query=query, states=states)


@router.get("/ui/runs/{run_id}")
def run_page(request: Request, session: DbSession, telemetry: Telemetry, run_id: str) -> HTMLResponse:
    """A run: what it read and wrote, its checks, the runs it started, its spans, its facets."""
    run = runs.describe_run(session, run_id)
    results = runs.list_results_of_run(session, run_id, 500, 0)
    facets = _other_facets(run.facets, hidden={"parent", "errorMessage", "telemetry"})
    for item in (*run.inputs, *run.outputs):
        item.facets = _other_facets(item.facets)
    spans: list[SpanOut] | None = None
    with suppress(ProblemError):  # the rest of the page does not need the telemetry store
        spans = traces.spans_of_run(session, telemetry, run_id)
    return _render(request, "run.html", run=run, results=results, facets=facets, spans=spans)


@router.get("/ui/jobs/{job_id}")
def job_page(request: Request, session: DbSession, job_id: UUID) -> HTMLResponse:
    """A job: its SQL, current edges and runs."""
    job = catalog.describe_job(session, job_id)
    page = runs.list_runs(session, RunFilter(job_id=job_id), DURATIONS, 0)
    durations = charts.of_durations(page.items[::-1])
    page.items = page.items[:20]
    return _render(
        request,
        "job.html",
        job=job,
        runs=page,
        durations=durations,
        facets=_other_facets(job.facets, hidden={"jobType"}),
    )


@router.get("/sign-in", dependencies=[Depends(identify)])
def sign_in() -> RedirectResponse:
    """Let the browser ask for a key, also where reading needs none, and go on with it to what it sees."""
    return RedirectResponse("/", 303)


@router.get("/docs")
@router.get("/redoc")
def reference_page(request: Request) -> HTMLResponse:
    """The API reference."""
    app: FastAPI = request.app
    reference = build_reference(app.openapi(), str(request.base_url).rstrip("/"))
    return _render(request, "reference.html", reference=reference)


def _render(request: Request, template: str, **context: Any) -> HTMLResponse:
    return templates.TemplateResponse(request, template, context)


def _column_sources(graph: DatasetLineage) -> dict[str, list[tuple[str, ColumnLineageEdge]]]:
    """Return for each column of the graph's dataset the (dataset name, edge) pairs it comes from."""
    names = {node.id: node.name for node in graph.nodes}
    sources: dict[str, list[tuple[str, ColumnLineageEdge]]] = {}
    for edge in graph.column_edges:
        if edge.target.dataset_id == graph.dataset_id:
            known = sources.setdefault(edge.target.column, [])
            if all(other.source != edge.source for _, other in known):
                known.append((names[edge.source.dataset_id], edge))
    return sources


def _other_facets(
    facets: dict[str, dict[str, Any]], hidden: set[str] | frozenset[str] = frozenset()
) -> dict[str, dict[str, Any]]:
    """Return the facets that a page doesn't show in a place of their own, without OpenLineage's own keys."""
    return {
        name: {key: value for key, value in facet.items() if key not in ("_producer", "_schemaURL", "_deleted")}
        for name, facet in facets.items()
        if name not in SHOWN_ELSEWHERE and name not in hidden
    }
