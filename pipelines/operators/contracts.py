"""Bring data contracts into effect, as a task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from pipelines.config.settings import get_settings
from pipelines.utils.connections import WAREHOUSE_LOADER, warehouse_dsn, warehouse_namespace

if TYPE_CHECKING:
    from airflow.sdk import Context


class SyncContractsOperator(BaseOperator):
    """Make the tables of all contracts of a folder and enter what is new or changed in the catalog.

    Args:
        folder: Folder of the contracts.
        postgres_conn_id: Postgres connection of the role that owns the tables.

    Returns:
        How many datasets were new, changed, unchanged, removed.

    Raises:
        AirflowException: the table of a dataset does not fit its contract; the message says which and why.
    """

    ui_color = "#d9ead3"

    def __init__(self, *, folder: str, postgres_conn_id: str = WAREHOUSE_LOADER, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.folder, self.postgres_conn_id = folder, postgres_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Bring the contracts into effect."""
        from data_lineage_hub_sdk.transport import client_from
        from data_quality.contract import load_contracts
        from pipelines.onboarding import metadata_declare, sync

        settings = get_settings()
        key = settings.metadata_api_key.get_secret_value()
        done = sync(
            load_contracts(Path(self.folder)),
            warehouse_dsn(self.postgres_conn_id),
            warehouse_namespace=warehouse_namespace(self.postgres_conn_id),
            emit=client_from(settings.metadata_url, key, settings.lineage_spool).emit,
            declare=metadata_declare(settings.metadata_url, key),
        )
        for item in done:
            if item.action != "unchanged":
                self.log.info("%s: %s%s", item.dataset, item.action, f", {item.message}" if item.message else "")
        failed = [f"{item.dataset}: {item.message}" for item in done if item.action == "failed"]
        if failed:
            raise AirflowException("contracts that don't fit their tables:\n" + "\n".join(failed))
        return dict(Counter(item.action for item in done))
