"""Trigger on a table of the warehouse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.utils.connections import postgres_hook
from pipelines.utils.failures import explain

if TYPE_CHECKING:
    from airflow.providers.postgres.hooks.postgres import PostgresHook


def count_rows(hook: PostgresHook, schema: str, table: str, at_most: int) -> int | None:
    """Return how many rows a table has, counting no further than `at_most`; None where there is no such table."""
    from psycopg import sql

    with hook.get_conn() as connection:
        name = connection.execute(
            "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))", (schema, table)
        ).fetchone()
        if name is None or name[0] is None:
            return None
        limited = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) AS counted").format(
            sql.Identifier(schema, table), sql.Literal(at_most)
        )
        row = connection.execute(limited).fetchone()
        return int(row[0]) if row else 0


class TableReadyTrigger(BaseTrigger):
    """Fire once a table exists and has enough rows.

    Args:
        schema: Schema name.
        table: Table name.
        minimum_rows: Rows it has to have; 0 asks for the table only.
        conn_id: Postgres connection.
        poll_seconds: Seconds between looks.
    """

    def __init__(self, schema: str, table: str, minimum_rows: int, conn_id: str, poll_seconds: float) -> None:
        super().__init__()
        self.schema, self.table, self.minimum_rows = schema, table, minimum_rows
        self.conn_id, self.poll_seconds = conn_id, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments that make it again."""
        names = ("schema", "table", "minimum_rows", "conn_id", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event once the table is ready, or the error that kept it from being looked at."""
        try:
            hook = await sync_to_async(postgres_hook)(self.conn_id)
            while True:
                rows = await asyncio.to_thread(count_rows, hook, self.schema, self.table, self.minimum_rows)
                if rows is not None and rows >= self.minimum_rows:
                    yield TriggerEvent({"rows": rows})
                    return
                await asyncio.sleep(self.poll_seconds)
        except Exception as error:  # the waiting task has to learn of it
            failure = explain(error, f"looking for the table {self.schema}.{self.table}", self.conn_id)
            told = {"error": failure.message, "permanent": failure.permanent} if failure else {"error": str(error)}
            yield TriggerEvent(told)
