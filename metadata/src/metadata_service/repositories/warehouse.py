"""Rows of the warehouse's curated tables, read by a role that can do nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg import sql
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ProgrammingError

from metadata_service.connecting import connect_arguments
from metadata_service.problems import first_line

SCHEMA = "curated"
_SECONDS = 10  # that a query may take


class TableMissing(Exception):
    """The table, or a column that is asked for, is not there."""


class Warehouse:
    """The curated tables.

    Args:
        url: Address of the warehouse with the reader's role.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        arguments = connect_arguments(
            "metadata_service_data", default_transaction_read_only="on", statement_timeout=_SECONDS * 1000
        )
        self._engine: Engine = create_engine(
            url, pool_size=2, max_overflow=4, pool_timeout=5, pool_pre_ping=True, connect_args=arguments
        )

    def dataset_of(self, table: str) -> tuple[str, str]:
        """Return the namespace and name of a table's dataset, as OpenLineage names it."""
        return f"postgres://{self._url.host}:{self._url.port or 5432}", f"{self._url.database}.{SCHEMA}.{table}"

    def read(
        self, table: str, conditions: Mapping[str, Any], order: str | None, limit: int, offset: int
    ) -> tuple[list[Any], int]:
        """Return a page of a table's rows as JSON objects, and how many rows match.

        Args:
            table: Its name in the schema curated.
            conditions: SQL over the table's columns, such as `day >= %s`, and the value of each.
            order: The column they are sorted by, the greatest first; None for any order.
            limit: Rows on the page.
            offset: Rows to pass over.

        Raises:
            TableMissing: the table or a column is not there.
            sqlalchemy.exc.OperationalError: the warehouse is away, or the query took too long.
        """
        source = sql.Identifier(SCHEMA, table)
        where = sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL(text) for text in conditions)])
        ordered = sql.SQL("ORDER BY {} DESC NULLS LAST").format(sql.Identifier(order)) if order else sql.SQL("")
        page = sql.SQL("SELECT to_jsonb(t)::text FROM (SELECT * FROM {} WHERE {} {} LIMIT %s OFFSET %s) AS t")
        count = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(source, where)
        values = tuple(conditions.values())
        try:
            with self._engine.connect() as connection:
                driver = connection.connection.dbapi_connection
                text = page.format(source, where, ordered).as_string(driver)  # type: ignore[arg-type]
                found = connection.exec_driver_sql(text, (*values, limit, offset)).scalars().all()
                total = connection.exec_driver_sql(count.as_string(driver), values).scalar() or 0  # type: ignore[arg-type]
        except ProgrammingError as error:
            raise TableMissing(first_line(error.orig)) from error
        return [json.loads(row) for row in found], int(total)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()
