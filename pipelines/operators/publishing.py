"""Publishing in Airflow: the build's marts taken over into `curated`, or held back, and exported as Parquet."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.operators.dbt import published_folder, target_folder
from pipelines.operators.quality import FAILED_CHECKS, record_results
from pipelines.utils.connections import (
    MINIO,
    WAREHOUSE_LOADER,
    WAREHOUSE_TRANSFORMER,
    database_of,
    s3_client,
    warehouse_dsn,
    warehouse_namespace,
)

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from data_quality.checks import Status


class _PublishingOperator(BaseOperator):
    ui_color = "#d9ead3"

    def __init__(
        self, *, build_task_id: str = "dbt_build", postgres_conn_id: str = WAREHOUSE_TRANSFORMER, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.build_task_id, self.postgres_conn_id = build_task_id, postgres_conn_id

    def build(self, context: Context) -> dict[str, Any]:
        """Return what the run's build said of itself; where it said nothing, that it began with the run."""
        told: dict[str, Any] | None = context["ti"].xcom_pull(task_ids=self.build_task_id)
        begun = context["dag_run"].start_date or dt.datetime.now(dt.UTC)
        return told or {"sources": {}, "started_at": begun.isoformat()}

    def report(self, context: Context, models: Iterable[str], status: Status, message: str) -> None:
        """Tell the catalog of each model whether it is published. The outcome does not depend on who hears of it."""
        from data_quality.checks import CheckResult, Severity

        found = [
            CheckResult(
                check="publication",
                dataset=f"curated.{model}",
                status=status,
                severity=Severity.ERROR,
                engine="gate",
                dimension="timeliness",
                message=message,
            )
            for model in models
        ]
        warehouse = (warehouse_namespace(self.postgres_conn_id), database_of(self.postgres_conn_id))
        record_results(found, context["ti"], warehouse_dsn(self.postgres_conn_id), warehouse, self.log)


class PublishOperator(_PublishingOperator):
    """Publish the marts of the run's build: all of them in one transaction, or none.

    Whoever reads `curated` sees it as it was until the commit, and as it is from then on.

    Example:
        PublishOperator(task_id="publish", outlets=[CURATED])

    Args:
        build_task_id: Task of the build.
        postgres_conn_id: Postgres connection of the role that owns candidates and published tables.

    Returns:
        How many rows of each mart changed.

    Raises:
        AirflowFailException: a node of the build failed.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Publish, keep the build's manifest as the state that the next one is compared with, and tell the catalog."""
        from data_quality.checks import Status
        from pipelines.alerts import resolve
        from pipelines.publishing import PublicationRefused, marts_of, publish

        build, dsn = self.build(context), warehouse_dsn(self.postgres_conn_id)
        manifest = target_folder() / "manifest.json"
        marts = marts_of(manifest)
        try:
            done = publish(
                dsn,
                marts,
                build_id=context["ti"].run_id,
                run_id=context["ti"].run_id,
                sources=build["sources"],
                started_at=dt.datetime.fromisoformat(build["started_at"]),
            )
        except PublicationRefused as refused:
            raise AirflowFailException(f"nothing was published, since of the build failed:\n{refused}") from refused
        published_folder().mkdir(parents=True, exist_ok=True)
        kept = published_folder() / "manifest.json"
        shutil.copyfile(manifest, kept.with_suffix(".new"))
        kept.with_suffix(".new").replace(kept)
        for name, change in done.changes.items():
            self.log.info(
                "%s: %s inserted, %s updated, %s deleted", name, change.inserted, change.updated, change.deleted
            )
        # Those that had nothing to change are up to date as well.
        self.report(context, [mart.name for mart in marts], Status.PASSED, f"published by {context['ti'].run_id}")
        resolve("curated", "publication", dsn=warehouse_dsn(WAREHOUSE_LOADER))
        return {name: change.rows for name, change in done.changes.items()}


class HoldBackOperator(_PublishingOperator):
    """Note that the run's build is not published, and why: for the dashboard, for the catalog, and for the owner.

    It comes after everything else. Where the build is published it has nothing to do; where not, it fails, since a run
    that published nothing is no success.

    Example:
        HoldBackOperator(task_id="hold_back", trigger_rule="all_done", check_task_ids=["sql_checks"])

    Args:
        check_task_ids: Tasks of checks, which leave the names of those that failed.
        build_task_id: Task of the build.
        postgres_conn_id: Postgres connection of the role that publishes.

    Raises:
        AirflowFailException: the build is not published; the message says what held it back.
        AirflowSkipException: it is.
    """

    def __init__(self, *, check_task_ids: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_task_ids = list(check_task_ids)

    def execute(self, context: Context) -> None:
        """Record, report, alert."""
        from data_quality.checks import Status
        from pipelines.alerts import Alert, report
        from pipelines.publishing import hold_back, marts_of

        instance, build = context["ti"], self.build(context)
        failed = [
            (str(name), str(told))
            for task in self.check_task_ids
            for name, told in instance.xcom_pull(task_ids=task, key=FAILED_CHECKS) or ()
        ]
        held = hold_back(
            warehouse_dsn(self.postgres_conn_id),
            build_id=instance.run_id,
            run_id=instance.run_id,
            started_at=dt.datetime.fromisoformat(build["started_at"]),
            failed_checks=failed,
            broken_tasks=_failed_tasks(instance),
        )
        if held is None:
            raise AirflowSkipException("the build is published")
        marts = marts_of(target_folder() / "manifest.json")
        self.report(context, [mart.name for mart in marts], Status.FAILED, held.message)
        named = [
            mart for mart in marts if any(f"curated.{mart.name}" in told or mart.name in name for name, told in failed)
        ]
        owner = next((mart for mart in [*named, *marts] if mart.owner), None)
        report(
            [
                Alert(
                    subject="curated",
                    stage="publication",
                    reason=held.message,
                    owner=owner.owner if owner else self.owner,
                    owner_email=owner.owner_email if owner else None,
                    run_id=instance.run_id,
                    link=str(getattr(instance, "log_url", "") or ""),
                )
            ],
            dsn=warehouse_dsn(WAREHOUSE_LOADER),
        )
        raise AirflowFailException(held.message)


class ExportCuratedOperator(_PublishingOperator):
    """Bring the bucket `curated` up to the newest publication: Parquet, a manifest for each model switched last.

    Example:
        ExportCuratedOperator(task_id="export")

    Args:
        aws_conn_id: AWS connection of the object store.
        postgres_conn_id: Postgres connection of a role that reads the published tables.

    Returns:
        How many files of each model were written.
    """

    def __init__(self, *, aws_conn_id: str = MINIO, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.exported: list[str] = []
        self.warehouse, self.database = "", ""

    def execute(self, context: Context) -> dict[str, int]:
        """Export what is not exported yet."""
        from pipelines.publishing import export_models, marts_of

        self.warehouse, self.database = warehouse_namespace(self.postgres_conn_id), database_of(self.postgres_conn_id)
        marts = marts_of(published_folder() / "manifest.json")
        done = export_models(warehouse_dsn(self.postgres_conn_id), s3_client(self.aws_conn_id), marts)
        for item in done:
            self.log.info(
                "%s: %s files written, %s rows, %s bytes in all", item.model, item.files_written, item.rows, item.bytes
            )
        self.exported = [item.model for item in done]
        return {item.model: item.files_written for item in done}

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the tables that were exported, and where to."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset

        return OperatorLineage(
            inputs=[
                InputDataset(namespace=self.warehouse, name=f"{self.database}.curated.{model}")
                for model in self.exported
            ],
            outputs=[OutputDataset(namespace="s3://curated", name=model) for model in self.exported],
        )


def _failed_tasks(instance: Any) -> list[str]:
    """Return the tasks of a run that have failed, sorted."""
    states = instance.get_task_states(dag_id=instance.dag_id, run_ids=[instance.run_id]).get(instance.run_id, {})
    return sorted(str(task) for task, state in states.items() if state == "failed")
