"""Domain data: rows of curated tables, by their domain's paths or by the product that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from metadata_service.problems import NotFoundError, ProblemError
from metadata_service.repositories import datasets, tenancy
from metadata_service.repositories.warehouse import SCHEMA, TableMissing, Warehouse
from metadata_service.schemas.common import Page
from metadata_service.services import products
from metadata_service.services.access import Principal

ORDERS, CAMPAIGNS = "fct_orders", "fct_campaign_performance"


def orders(warehouse: Warehouse | None, start: date | None, end: date | None, limit: int, offset: int) -> Page[Any]:
    """Return orders, the newest first, of these days (both included)."""
    conditions: dict[str, Any] = {}
    if start is not None:
        conditions["order_date >= %s"] = start
    if end is not None:
        conditions["order_date <= %s"] = end
    return _read(warehouse, ORDERS, conditions, "order_date", limit, offset)


def campaigns(warehouse: Warehouse | None, active_on: date | None, limit: int, offset: int) -> Page[Any]:
    """Return campaigns, the newest first; only those that run on a day, if one is given."""
    conditions = {"start_date <= %s": active_on, "end_date >= %s": active_on} if active_on else {}
    return _read(warehouse, CAMPAIGNS, conditions, "start_date", limit, offset)


def of_product(
    session: Session, warehouse: Warehouse | None, name: str, table: str | None, limit: int, offset: int
) -> Page[Any]:
    """Return rows of a product's curated table: the first it names, or the one that is asked for."""
    tables = [
        parts[-1]
        for dataset in products.describe(session, name).datasets
        if len(parts := dataset.name.split(".")) > 1 and parts[-2] == SCHEMA
    ]
    if tenancy.is_narrowed(session) and warehouse is not None:
        tables = [item for item in tables if datasets.is_listed(session, warehouse.dataset_of(item))]
    if not tables:
        raise ProblemError(404, f"The product {name} has no table of the schema {SCHEMA}.")
    if table is not None and table not in tables:
        raise ProblemError(404, f"The product {name} has no table {table}; it has {', '.join(tables)}.")
    return _read(warehouse, table or tables[0], {}, None, limit, offset)


def require_table(
    sessions: sessionmaker[Session], reader: Principal | None, warehouse: Warehouse | None, table: str
) -> None:
    """Refuse the rows of a table to who doesn't see its dataset.

    Raises:
        NotFoundError: as if it were not there.
    """
    if reader is None or reader.sees is None or warehouse is None:
        return
    with sessions() as session:
        tenancy.narrow(session, reader.sees)
        if not datasets.is_listed(session, warehouse.dataset_of(table)):
            raise NotFoundError("table", f"{SCHEMA}.{table}")


def _read(
    warehouse: Warehouse | None, table: str, conditions: Mapping[str, Any], order: str | None, limit: int, offset: int
) -> Page[Any]:
    if warehouse is None:
        raise ProblemError(404, "This service knows no warehouse: set WAREHOUSE_URL to its address.")
    try:
        rows, total = warehouse.read(table, conditions, order, limit, offset)
    except TableMissing as missing:
        raise NotFoundError("table", f"{SCHEMA}.{table} as it is needed: {missing}") from missing
    return Page(items=rows, total=total, limit=limit, offset=offset)
