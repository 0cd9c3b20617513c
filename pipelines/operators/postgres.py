"""Wait for a table of the warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSensorTimeout

from pipelines.utils.connections import WAREHOUSE_TRANSFORMER, database_of, postgres_hook, warehouse_namespace
from pipelines.utils.failures import Failure, explained

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context


class PostgresTableSensorOperator(BaseSensorOperator):
    """Wait until a table exists and, if asked, has rows.

    Example:
        PostgresTableSensorOperator(task_id="wait", schema="staging", table="sales", minimum_rows=1)

    Args:
        schema: Schema name (templated).
        table: Table name (templated).
        minimum_rows: Rows it has to have; 0 asks for the table only.
        postgres_conn_id: Postgres connection.
        deferrable: Wait in the triggerer, which costs no worker slot; by default as Airflow's setting
            `[operators] default_deferrable` says. Leave such a task a retry: Airflow 3.3 can lose a trigger that
            fires at once.
        poke_interval: Seconds between looks.
        timeout: Seconds after which the task fails.

    Returns:
        The number of rows seen; counting stops at `minimum_rows`.

    Raises:
        AirflowSensorTimeout: it was not ready in time; the message says what was missing.
        AirflowFailException: there is no such connection, its password is refused, or its role may not read the table.
        AirflowException: Postgres is away.
    """

    template_fields: Sequence[str] = ("schema", "table", "postgres_conn_id")
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        table: str,
        schema: str = "staging",
        minimum_rows: int = 0,
        postgres_conn_id: str = WAREHOUSE_TRANSFORMER,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if minimum_rows < 0:
            raise ValueError(f"{self.task_id}: minimum_rows can't be negative, it is {minimum_rows}")
        self.schema, self.table, self.minimum_rows = schema, table, minimum_rows
        self.postgres_conn_id, self.deferrable = postgres_conn_id, deferrable
        self.rows: int | None = None
        self.namespace, self.database = "", ""

    def poke(self, context: Context) -> bool:
        """Whether the table is ready now."""
        from pipelines.triggers.tables import count_rows

        with explained(f"looking for the table {self.schema}.{self.table}", self.postgres_conn_id):
            self.rows = count_rows(postgres_hook(self.postgres_conn_id), self.schema, self.table, self.minimum_rows)
        if self.rows is None:
            self.log.info("there is no table %s.%s yet", self.schema, self.table)
            return False
        self.log.info("%s.%s has %d of %d rows", self.schema, self.table, self.rows, self.minimum_rows)
        return self.rows >= self.minimum_rows

    def execute(self, context: Context) -> int:
        """Wait, in the triggerer where `deferrable`, and return the number of rows seen."""
        if not self.deferrable:
            try:
                super().execute(context)
            except AirflowSensorTimeout as error:
                found = "there is no such table" if self.rows is None else f"{self.rows} of {self.minimum_rows} rows"
                what = f"{self.schema}.{self.table} was not ready within {self.timeout:g} s: {found}"
                raise AirflowSensorTimeout(what) from error
        elif not self.poke(context):
            from pipelines.triggers.tables import TableReadyTrigger

            trigger = TableReadyTrigger(
                self.schema, self.table, self.minimum_rows, self.postgres_conn_id, self.poke_interval
            )
            timeout = dt.timedelta(seconds=self.timeout)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        return self._seen(self.rows)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """Take what the trigger found."""
        if "error" in event:
            raise Failure(event["error"], bool(event.get("permanent"))).to_exception()
        return self._seen(event["rows"])

    def _seen(self, rows: int | None) -> int:
        # For lineage, which is told beside the task and should not have to ask Airflow for the address.
        self.namespace, self.database = warehouse_namespace(self.postgres_conn_id), database_of(self.postgres_conn_id)
        return rows or 0

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the table that was waited for as an input."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset

        if not self.namespace:  # the task failed before the table was there
            return OperatorLineage()
        name = f"{self.database}.{self.schema}.{self.table}"
        return OperatorLineage(inputs=[Dataset(namespace=self.namespace, name=name)])
