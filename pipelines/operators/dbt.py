"""dbt in Airflow: one build for all models, and a task for each model that shows how the model fares in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.triggers.base import StartTriggerArgs

from pipelines.config.settings import get_settings
from pipelines.utils.connections import WAREHOUSE_LOADER, WAREHOUSE_TRANSFORMER, dbt_environment, warehouse_dsn

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.transformation import Selection

TRIGGER = "pipelines.triggers.models.ModelBuiltTrigger"
POLL_SECONDS = 0.5


class DbtBuildOperator(BaseOperator):
    """Run one `dbt build` of what changed since the last publication, and of all below it.

    Models, seeds, snapshots and tests run in the order of their dependencies. A model whose tests fail keeps
    everything below it from being built, and the failure shows at the model's own task (`DbtModelOperator`): this one
    fails only where dbt itself could not run. Each model and test is a run of its own in lineage, below this task's.

    The project's sources are the contracts as they are now, and a contract whose first file is still to come has an
    empty table, so that what reads it can be built.

    Example:
        DbtBuildOperator(task_id="dbt_build", full_refresh="{{ params.full_refresh }}")

    Args:
        full_refresh: Build everything, incremental models from the start.
        postgres_conn_id: Postgres connection of the role that builds.
        loader_postgres_conn_id: Postgres connection of the role that owns the tables that are read.

    Returns:
        `counts`: how many nodes ended with each status; `sources`: the state of the sources that the build has seen;
        `started_at`; `reason`: why these models.

    Raises:
        AirflowException: dbt could not run.
    """

    template_fields: Sequence[str] = ("full_refresh",)
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        full_refresh: bool | str = False,
        postgres_conn_id: str = WAREHOUSE_TRANSFORMER,
        loader_postgres_conn_id: str = WAREHOUSE_LOADER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.full_refresh = full_refresh
        self.postgres_conn_id, self.loader_postgres_conn_id = postgres_conn_id, loader_postgres_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Build, report lineage, and return what was built of what."""
        import datetime as dt
        from collections import Counter

        from pipelines.transformation import BuildError, BuildRecord

        started_at = dt.datetime.now(dt.UTC)
        dsn, target = warehouse_dsn(self.postgres_conn_id), target_folder()
        instance = context["ti"]
        last_try = instance.try_number > instance.max_tries
        try:
            with BuildRecord(dsn, instance.run_id, target, last_try=last_try) as record:
                project, datasets = self._project(target.parent)
                selection = self._select(dsn, project, datasets)
                self.log.info("building %s", selection.reason)
                environment = build_environment(self.postgres_conn_id)
                nodes = record.run(selection.arguments, project=project, environment=environment, echo=self.log.info)
        except BuildError as error:
            raise AirflowException(str(error)) from error
        self._report_lineage(instance, project, target)
        return {
            "reason": selection.reason,
            "sources": selection.sources,
            "started_at": started_at.isoformat(),
            "counts": dict(Counter(node.status for node in nodes)),
        }

    def _project(self, work: Path) -> tuple[Path, dict[str, str]]:
        """Return the project to build, its sources' tables made where they are missing, and the datasets' sources."""
        from data_quality.contract import load_contracts
        from pipelines.ingestion.core import connected
        from pipelines.onboarding import ensure_tables
        from pipelines.sources import current_project, read_tables, source_name

        settings = get_settings()
        contracts = load_contracts(settings.contracts)
        with connected(warehouse_dsn(self.loader_postgres_conn_id)) as connection:
            for dataset, reason in ensure_tables(contracts, connection).items():
                self.log.warning("%s: %s", dataset, reason)
        project = current_project(contracts, settings.transformations, work)
        read = read_tables(project)
        sources = {item.name: f"{source_name(item.domain)}.{item.table}" for item in contracts if item.table in read}
        return project, sources

    def _select(self, dsn: str, project: Path, datasets: dict[str, str]) -> Selection:
        import psycopg

        from pipelines.transformation import select_changed

        everything = str(self.full_refresh).lower() == "true"
        with psycopg.connect(dsn, autocommit=True) as connection:
            places = (published_folder(), target_folder())
            return select_changed(connection, datasets, project, *places, everything=everything)

    def _report_lineage(self, instance: Any, project: Path, target: Path) -> None:
        """Send the build's events. A build is not failed by its lineage."""
        from airflow.providers.openlineage import conf
        from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
        from airflow.providers.openlineage.plugins.macros import lineage_job_name, lineage_run_id

        from pipelines.transformation import lineage_events

        if conf.is_disabled():
            return
        settings = get_settings()
        try:
            parent = (lineage_run_id(instance), conf.namespace(), lineage_job_name(instance))
            client = OpenLineageAdapter().get_or_create_openlineage_client()
            for event in lineage_events(
                project=project,
                target=target,
                environment=build_environment(self.postgres_conn_id),
                namespace="dbt",
                dashboards=f"superset://{urlsplit(settings.superset_url).netloc}",
                parent=parent,
            ):
                client.emit(event)
        except Exception:
            self.log.warning("the build's lineage could not be reported", exc_info=True)


class DbtModelOperator(BaseOperator):
    """Show how one model fares in the run's build; where it failed, a further try builds it alone.

    The task waits in the triggerer and takes no worker: it is green once the model and its tests are, red where one
    failed (the log says why), and skipped where the build had no reason to build the model. Clear a red one when its
    cause is mended: it is built again by itself, and what comes after goes on.

    Models do not wait for each other as tasks, which would cost seconds for each step: dbt has built them in order. One
    that is built alone looks whether those that it reads are well.

    Example:
        DbtModelOperator(task_id="fct_sales", reads=["stg_sales__sales"])

    Args:
        model: Name of the model, seed or snapshot; the task's by default.
        reads: Names of those that it reads.
        build_id: The build, by default that of the run.
        postgres_conn_id: Postgres connection of the role that builds.

    Raises:
        AirflowFailException: the model, or a test of it, failed.
        AirflowSkipException: nothing that the model is made of has changed.
    """

    template_fields: Sequence[str] = ("build_id",)
    ui_color = "#fce5cd"
    start_from_trigger = True

    def __init__(
        self,
        *,
        model: str | None = None,
        reads: Sequence[str] = (),
        build_id: str = "{{ run_id }}",
        postgres_conn_id: str = WAREHOUSE_TRANSFORMER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model or self.task_id.rpartition(".")[2]
        self.reads = list(reads)
        self.build_id, self.postgres_conn_id = build_id, postgres_conn_id
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=TRIGGER, trigger_kwargs=self._trigger_arguments(), next_method="build_alone"
        )

    def execute(self, context: Context) -> None:
        """Look once, and be called again while the build is at work: for `dag.test()`, which knows no triggerer."""
        import datetime as dt

        from airflow.sdk.exceptions import AirflowRescheduleException

        from pipelines.transformation import verdict
        from pipelines.transformation.builds import mark_told

        dsn = warehouse_dsn(self.postgres_conn_id)
        found = verdict(dsn, self.build_id, self.model)
        if found.state in ("waiting", "running"):
            raise AirflowRescheduleException(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
        if found.state == "failed" and found.told:
            self.build_alone(context)
            return
        for line in found.lines:
            self.log.info(line)
        if found.state == "unchanged":
            raise AirflowSkipException("nothing that it is made of has changed")
        if found.state == "failed":
            mark_told(dsn, self.build_id, self.model)
            raise AirflowFailException("\n".join(found.reasons))

    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "build_id": self.build_id,
            "model": self.model,
            "conn_id": self.postgres_conn_id,
            "poll_seconds": POLL_SECONDS,
        }

    def build_alone(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Build the model and its tests by themselves, after their failure in the run's build was told."""
        from pipelines.transformation import BuildError, BuildRecord, verdict
        from pipelines.transformation.builds import mark_told, unbuilt
        from pipelines.triggers.models import ModelBuiltTrigger

        dsn = warehouse_dsn(self.postgres_conn_id)
        state = verdict(dsn, self.build_id, self.model).state
        if state in ("waiting", "running"):  # the whole run was cleared: a new build is on its way
            self.defer(trigger=ModelBuiltTrigger(**self._trigger_arguments()), method_name="build_alone")
        if state != "failed":
            return
        missing = unbuilt(dsn, self.build_id, self.reads)
        if missing:
            raise AirflowFailException(f"it reads {', '.join(missing)}, which failed: clear that first")
        target = target_folder().parent / "alone" / self.model
        project = target_folder().parent / "project"
        try:
            with BuildRecord.resumed(dsn, self.build_id, target) as record:
                record.run(
                    ["--select", self.model],
                    project=project if project.exists() else get_settings().transformations,
                    environment=build_environment(self.postgres_conn_id),
                    echo=self.log.info,
                )
        except BuildError as error:
            raise AirflowException(str(error)) from error
        found = verdict(dsn, self.build_id, self.model)
        if found.state == "failed":
            mark_told(dsn, self.build_id, self.model)
            raise AirflowFailException("\n".join(found.reasons))


def target_folder() -> Path:
    """Return the folder of the last build's artifacts."""
    return get_settings().platform_state_dir / "dbt" / "target"


def published_folder() -> Path:
    """Return the folder that keeps the manifest of the last published build."""
    return get_settings().platform_state_dir / "dbt" / "published"


def build_environment(postgres_conn_id: str) -> dict[str, str]:
    """Return what the dbt project reads of its environment."""
    return {**dbt_environment(postgres_conn_id), "SUPERSET_URL": get_settings().superset_url}
