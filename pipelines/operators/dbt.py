"""Build the curated layer with dbt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pipelines.config.settings import get_settings
from pipelines.utils.connections import WAREHOUSE_LOADER, WAREHOUSE_TRANSFORMER, dbt_environment, warehouse_dsn

if TYPE_CHECKING:
    from airflow.sdk import Context


class DbtBuildOperator(BaseOperator):
    """Run `dbt build`: models, tests, seeds and snapshots in the order of their dependencies.

    A model whose tests fail keeps everything below it from being built. Each model and test is a run of its own in
    lineage, below this task's. The project's sources are the contracts as they are now, and a contract whose first file
    is still to come has an empty table, so that what reads it can be built.

    Example:
        DbtBuildOperator(task_id="dbt_build", select="fct_sales+")

    Args:
        select: dbt's selection; all where empty.
        arguments: Further arguments of `dbt build`.
        postgres_conn_id: Postgres connection of the role that builds.
        loader_postgres_conn_id: Postgres connection of the role that owns the tables that are read.

    Returns:
        How many nodes ended with each status.

    Raises:
        AirflowFailException: tests failed; the message names each with what it said.
        AirflowException: a model could not be built, or dbt could not run.
    """

    template_fields: Sequence[str] = ("select", "arguments")
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        select: str = "",
        arguments: Sequence[str] = (),
        postgres_conn_id: str = WAREHOUSE_TRANSFORMER,
        loader_postgres_conn_id: str = WAREHOUSE_LOADER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.select, self.arguments = select, list(arguments)
        self.postgres_conn_id, self.loader_postgres_conn_id = postgres_conn_id, loader_postgres_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Build, report lineage, and return the counts."""
        from collections import Counter

        from pipelines.transformation import BuildError, run_dbt

        settings = get_settings()
        target = settings.platform_state_dir / "dbt" / "target"
        project = self._project(target.parent)
        selection = ["--select", self.select] if self.select else []
        try:
            nodes = run_dbt(
                ["build", *selection, *self.arguments],
                project=project,
                target=target,
                environment=self._environment(),
                echo=self.log.info,
            )
        except BuildError as error:
            # No retry where tests failed: the data will not be better in a minute.
            raise (AirflowFailException if error.of_data else AirflowException)(str(error)) from error
        finally:
            self._report_lineage(context["ti"], project, target)
        return dict(Counter(node.status for node in nodes))

    def _project(self, work: Path) -> Path:
        """Return the project to build, its sources' tables made where they are missing."""
        from data_quality.contract import load_contracts
        from pipelines.ingestion.core import connected
        from pipelines.onboarding import ensure_tables
        from pipelines.sources import current_project

        settings = get_settings()
        contracts = load_contracts(settings.contracts)
        with connected(warehouse_dsn(self.loader_postgres_conn_id)) as connection:
            for dataset, reason in ensure_tables(contracts, connection).items():
                self.log.warning("%s: %s", dataset, reason)
        return current_project(contracts, settings.transformations, work)

    def _environment(self) -> dict[str, str]:
        return {**dbt_environment(self.postgres_conn_id), "SUPERSET_URL": get_settings().superset_url}

    def _report_lineage(self, instance: Any, project: Path, target: Path) -> None:
        """Send the build's events. A build is not failed by its lineage."""
        from airflow.providers.openlineage import conf
        from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
        from airflow.providers.openlineage.plugins.macros import lineage_job_name, lineage_run_id

        from pipelines.transformation import lineage_events

        if conf.is_disabled() or not (target / "run_results.json").exists():
            return
        settings = get_settings()
        try:
            parent = (lineage_run_id(instance), conf.namespace(), lineage_job_name(instance))
            client = OpenLineageAdapter().get_or_create_openlineage_client()
            for event in lineage_events(
                project=project,
                target=target,
                environment=self._environment(),
                namespace="dbt",
                dashboards=f"superset://{urlsplit(settings.superset_url).netloc}",
                parent=parent,
            ):
                client.emit(event)
        except Exception:
            self.log.warning("the build's lineage could not be reported", exc_info=True)
