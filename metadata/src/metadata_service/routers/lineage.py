"""Lineage of datasets, columns, jobs and runs; the graph as it was; what stands below a dataset.

Answers are encoded as they are, without a model of each node: a graph may have thousands.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from metadata_service.dependencies import DbSession
from metadata_service.openlineage import RunId, Time
from metadata_service.rendering import encoded
from metadata_service.repositories.lineage import Reach
from metadata_service.schemas.lineage import (
    ColumnLineage,
    DatasetLineage,
    Direction,
    Impact,
    JobLineage,
    LineageChanges,
    LineageGraph,
    RunLineage,
)
from metadata_service.services import impact, lineage, lineage_history, run_lineage

router = APIRouter(tags=["lineage"])

MAX_NODES = 5000
Direct = Annotated[Direction, Query()]
Depth = Annotated[int, Query(ge=0, le=100, description="Hops from dataset to dataset.")]
Nodes = Annotated[int, Query(ge=1, le=MAX_NODES, description="Most nodes of the answer; the nearest ones stay.")]
After = Annotated[UUID | None, Query(description="Leave out neighbours up to this id, as the frontier says.")]
Columns = Annotated[bool, Query(description="With the edges between columns.")]
At = Annotated[Time | None, Query(description="The graph as it was at this time.")]
ColumnName = Annotated[str, Path(min_length=1)]


async def get_reach(
    direction: Direct = "both", depth: Depth = 20, max_nodes: Nodes = 1000, after: After = None
) -> Reach:
    """Read how far a walk goes. (Asynchronous: what has nothing to wait for needs no thread.)"""
    return Reach(direction, depth, max_nodes, after)


Walk = Annotated[Reach, Depends(get_reach)]


@router.get("/datasets/{dataset_id}/lineage", response_model=DatasetLineage)
def get_dataset_lineage(
    session: DbSession, dataset_id: UUID, reach: Walk, columns: Columns = True, at: At = None
) -> Response:
    """Return the graph around a dataset; `frontier` says where it goes on."""
    if at is None:
        return encoded(lineage.around_dataset(session, dataset_id, reach, columns))
    return encoded(lineage_history.around_dataset(session, dataset_id, reach, at, columns))


@router.get("/datasets/{dataset_id}/lineage/changes", response_model=LineageChanges)
def get_dataset_changes(
    session: DbSession,
    dataset_id: UUID,
    since: Annotated[Time, Query(alias="from")],
    until: Annotated[Time, Query(alias="to")],
    reach: Walk,
) -> Response:
    """Return what came to and went from the graph around a dataset between two times."""
    return encoded(lineage_history.changes(session, dataset_id, reach, since, until, of_job=False))


@router.get("/datasets/{dataset_id}/columns/{column:path}/lineage", response_model=ColumnLineage)
def get_column_lineage(
    session: DbSession,
    dataset_id: UUID,
    column: ColumnName,
    direction: Direct = "both",
    depth: Depth = 20,
    max_nodes: Nodes = 1000,
    after: Annotated[str | None, Query(description="Leave out neighbours up to this one, of the frontier.")] = None,
    at: At = None,
) -> Response:
    """Return the columns that a column comes from and flows into."""
    reach = Reach(direction, depth, max_nodes)
    if at is None:
        return encoded(lineage.around_column(session, dataset_id, column, reach, after))
    return encoded(lineage_history.around_column(session, dataset_id, column, reach, at))


@router.get("/datasets/{dataset_id}/impact", response_model=Impact)
def get_impact(
    session: DbSession,
    dataset_id: UUID,
    column: Annotated[str | None, Query(min_length=1, description="Of this column only.")] = None,
    max_nodes: Nodes = 1000,
) -> Response:
    """Return everything below a dataset or one of its columns: what breaks if it goes, and who owns that."""
    return encoded(impact.of(session, dataset_id, column, max_nodes))


@router.get("/jobs/{job_id}/lineage", response_model=JobLineage)
def get_job_lineage(session: DbSession, job_id: UUID, reach: Walk, columns: Columns = True, at: At = None) -> Response:
    """Return the graph around a job; `frontier` says where it goes on."""
    if at is None:
        return encoded(lineage.around_job(session, job_id, reach, columns))
    return encoded(lineage_history.around_job(session, job_id, reach, at, columns))


@router.get("/jobs/{job_id}/lineage/changes", response_model=LineageChanges)
def get_job_changes(
    session: DbSession,
    job_id: UUID,
    since: Annotated[Time, Query(alias="from")],
    until: Annotated[Time, Query(alias="to")],
    reach: Walk,
) -> Response:
    """Return what came to and went from the graph around a job between two times."""
    return encoded(lineage_history.changes(session, job_id, reach, since, until, of_job=True))


@router.get("/runs/{run_id}/lineage", response_model=RunLineage)
def get_run_lineage(
    session: DbSession,
    run_id: Annotated[RunId, Path()],
    direction: Direct = "both",
    depth: Annotated[int, Query(ge=0, le=100, description="Hops from run to run.")] = 5,
    max_nodes: Nodes = 1000,
) -> Response:
    """Return the runs that made what a run read, and those that read what it made."""
    return encoded(run_lineage.around_run(session, run_id, Reach(direction, depth, max_nodes)))


@router.get("/graph", response_model=LineageGraph)
def get_graph(session: DbSession, limit: Annotated[int, Query(ge=1, le=5000)] = 2000) -> Response:
    """Return the whole graph, at most `limit` edges of it."""
    return encoded(lineage.everything(session, limit))
