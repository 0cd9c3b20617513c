"""Wait for a table of the warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowException

from pipelines.utils.connections import WAREHOUSE_TRANSFORMER, warehouse_dsn

if TYPE_CHECKING:
    from airflow.sdk import Context


class PostgresTableSensorOperator(BaseSensorOperator):
    """Wait until a table exists and, if asked, has rows.

    Example:
        PostgresTableSensorOperator(task_id="wait", schema="staging", table="sales", minimum_rows=1)

    Args:
        schema: Schema name.
        table: Table name.
        minimum_rows: Rows it has to have; 0 asks for the table only.
        conn_id: Postgres connection.
        deferrable: Wait in the triggerer, which costs no worker slot.

    Returns:
        The number of rows seen; counting stops at `minimum_rows`.
    """

    template_fields: Sequence[str] = ("schema", "table")
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        table: str,
        schema: str = "staging",
        minimum_rows: int = 0,
        conn_id: str = WAREHOUSE_TRANSFORMER,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if minimum_rows < 0:
            raise ValueError(f"{self.task_id}: minimum_rows can't be negative, it is {minimum_rows}")
        self.schema, self.table, self.minimum_rows = schema, table, minimum_rows
        self.conn_id, self.deferrable = conn_id, deferrable
        self.rows = 0

    def poke(self, context: Context) -> bool:
        """Whether the table is ready now."""
        from pipelines.triggers.tables import count_rows

        rows = count_rows(warehouse_dsn(self.conn_id), self.schema, self.table, self.minimum_rows)
        if rows is None:
            self.log.info("there is no table %s.%s yet", self.schema, self.table)
            return False
        self.log.info("%s.%s has %d of %d rows", self.schema, self.table, rows, self.minimum_rows)
        self.rows = rows
        return rows >= self.minimum_rows

    def execute(self, context: Context) -> int:
        """Wait, in the triggerer where `deferrable`, and return the number of rows seen."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            from pipelines.triggers.tables import TableReadyTrigger

            trigger = TableReadyTrigger(self.schema, self.table, self.minimum_rows, self.conn_id, self.poke_interval)
            timeout = dt.timedelta(seconds=self.timeout)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        return self.rows

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """Take what the trigger found."""
        if "error" in event:
            raise AirflowException(f"waiting for {self.schema}.{self.table}: {event['error']}")
        return int(event["rows"])
