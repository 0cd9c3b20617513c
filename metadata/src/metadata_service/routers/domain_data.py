"""Domain data, read from the warehouse's curated tables."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from metadata_service.dependencies import DbSession, PageOf, Reader, TeamSessions
from metadata_service.repositories.warehouse import Warehouse
from metadata_service.schemas.common import Page
from metadata_service.schemas.products import ProductName
from metadata_service.services import domain_data

router = APIRouter(tags=["domain data"])
Row = dict[str, Any]


def get_warehouse(request: Request) -> Warehouse | None:
    """Return the warehouse, None where none is set."""
    warehouse: Warehouse | None = request.app.state.warehouse
    return warehouse


Source = Annotated[Warehouse | None, Depends(get_warehouse)]


def see_orders(sessions: TeamSessions, reader: Reader, source: Source) -> None:
    """Refuse who doesn't see the table of orders."""
    domain_data.require_table(sessions, reader, source, domain_data.ORDERS)


def see_campaigns(sessions: TeamSessions, reader: Reader, source: Source) -> None:
    """Refuse who doesn't see the table of campaigns."""
    domain_data.require_table(sessions, reader, source, domain_data.CAMPAIGNS)


@router.get("/sales/orders", dependencies=[Depends(see_orders)])
def list_orders(
    source: Source,
    paging: PageOf,
    start_date: Annotated[date | None, Query(description="The first day.")] = None,
    end_date: Annotated[date | None, Query(description="The last day.")] = None,
) -> Page[Row]:
    """List orders of curated.fct_orders, the newest first."""
    return domain_data.orders(source, start_date, end_date, paging.limit, paging.offset)


@router.get("/marketing/campaigns", dependencies=[Depends(see_campaigns)])
def list_campaigns(
    source: Source, paging: PageOf, active_only: Annotated[bool, Query(description="Those that run today.")] = False
) -> Page[Row]:
    """List campaigns of curated.fct_campaign_performance, the newest first."""
    today = datetime.now(UTC).date() if active_only else None
    return domain_data.campaigns(source, today, paging.limit, paging.offset)


@router.get("/product/{name}/data")
def list_rows(
    session: DbSession,
    source: Source,
    paging: PageOf,
    name: ProductName,
    table: Annotated[str | None, Query(max_length=63, description="One of its tables; the first if left out.")] = None,
) -> Page[Row]:
    """List rows of a product's curated table."""
    return domain_data.of_product(session, source, name, table, paging.limit, paging.offset)
