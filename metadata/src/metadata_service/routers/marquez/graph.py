"""Lineage, events, search and counts over time."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Response

from metadata_service.dependencies import DbSession
from metadata_service.openlineage import Time
from metadata_service.rendering import encoded
from metadata_service.routers.marquez.routing import Limit, NameInPath, Offset, make_router
from metadata_service.schemas.marquez import Count, EventCount, Events, Graph, SearchHits
from metadata_service.services.marquez import graphs, overview

router = make_router()
NodeId = Annotated[str, Query(alias="nodeId", max_length=5000, examples=["dataset:food_delivery:public.orders"])]
Depth = Annotated[int, Query(ge=0, lt=2**31, description="Hops; more than 100 are 100.")]
Period = Annotated[Literal["DAY", "WEEK"], Query(description="The last 24 hours, or the last 7 days.")]
Zone = Annotated[str, Query(max_length=100, examples=["Europe/Berlin"])]
Moment = Annotated[Time | None, Query()]


@router.get("/lineage", response_model=Graph)
def get_lineage(session: DbSession, node_id: NodeId, depth: Depth = 20) -> Response:
    """Return the graph around a dataset or job."""
    return encoded(graphs.table_lineage(session, node_id, depth))


@router.get("/column-lineage", response_model=Graph)
def get_column_lineage(
    session: DbSession,
    node_id: NodeId,
    depth: Depth = 20,
    with_downstream: Annotated[bool, Query(alias="withDownstream")] = False,
) -> Response:
    """Return the fields that a field, or those of a dataset or job, come from, and flow into if wanted."""
    return encoded(graphs.column_lineage(session, node_id, depth, with_downstream))


@router.get("/events/lineage", response_model=Events)
def list_lineage_events(
    session: DbSession,
    before: Moment = None,
    after: Moment = None,
    limit: Limit = 100,
    offset: Offset = 0,
    direction: Annotated[Literal["asc", "desc"], Query(alias="sortDirection")] = "desc",
) -> Response:
    """List the OpenLineage events that came in."""
    ascending = direction == "asc"
    return encoded(
        overview.list_events(
            session, after=after, before=before, namespace=None, ascending=ascending, limit=limit, offset=offset
        )
    )


@router.get("/events", response_model=Events)
def list_events(session: DbSession, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the OpenLineage events that came in, newest first."""
    return list_lineage_events(session, limit=limit, offset=offset)


@router.get("/events/{namespace:name}", response_model=Events)
def list_events_of_namespace(
    session: DbSession, namespace: NameInPath, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """List the OpenLineage events of the jobs of a namespace, newest first."""
    return encoded(
        overview.list_events(
            session, after=None, before=None, namespace=namespace, ascending=False, limit=limit, offset=offset
        )
    )


@router.get("/search", response_model=SearchHits)
def search(
    session: DbSession,
    q: Annotated[str, Query(max_length=1000)],
    kind: Annotated[Literal["DATASET", "JOB", "dataset", "job"] | None, Query(alias="filter")] = None,
    sort: Annotated[Literal["NAME", "UPDATE_AT", "name", "update_at", "updated_at"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=0, le=500)] = 10,
    namespace: Annotated[str | None, Query(max_length=1000)] = None,
    before: Moment = None,
    after: Moment = None,
) -> Response:
    """Return the datasets and jobs that a text finds, the best first unless sorted otherwise."""
    order = {"updated_at": "UPDATE_AT"}.get(sort, sort.upper()) if sort else None
    return encoded(overview.search(session, q, kind, order, limit, namespace, before, after))


@router.get("/stats/lineage-events", response_model=list[EventCount])
def count_events(session: DbSession, period: Period = "DAY", timezone: Zone = "UTC") -> Response:
    """Return how many events of runs came in each hour or day."""
    return encoded(overview.count_events(session, period, timezone))


@router.get("/stats/{kind}", response_model=list[Count])
def count_created(
    session: DbSession,
    kind: Literal["jobs", "datasets", "sources"],
    period: Period = "DAY",
    timezone: Zone = "UTC",
) -> Response:
    """Return how many there were after each hour or day."""
    return encoded(overview.count_created(session, kind, period, timezone))
