"""A DAG run in this process, on real services, and what became of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow import settings
from airflow.models.asset import AssetEvent
from airflow.models.dag import DagModel
from airflow.models.xcom import XComModel
from airflow.sdk.serde import deserialize
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import object_session

if TYPE_CHECKING:
    from airflow.sdk import DAG


@dataclass(frozen=True)
class Run:
    """What became of a DAG run."""

    dag_run: Any
    errors: dict[str, str] = field(default_factory=dict)
    """Why tasks failed, by label."""

    @property
    def state(self) -> str:
        """The run's state."""
        return str(self.dag_run.state)

    @property
    def states(self) -> dict[str, str]:
        """The tasks' states by id; those of mapped tasks by `id[index]`."""
        return {_label(instance): str(instance.state) for instance in self.dag_run.get_task_instances()}

    def task(self, label: str) -> Any:
        """Return a task instance by its label in `states`."""
        return next(instance for instance in self.dag_run.get_task_instances() if _label(instance) == label)

    def result(self, task_id: str, map_index: int = -1) -> Any:
        """Return what a task returned."""
        return self.xcom(task_id, "return_value", map_index)

    def xcom(self, task_id: str, key: str, map_index: int = -1) -> Any:
        """Return what a task pushed under a key, None where it pushed nothing."""
        with create_session() as session:
            value = session.scalar(
                select(XComModel).where(
                    XComModel.dag_id == self.dag_run.dag_id,
                    XComModel.run_id == self.dag_run.run_id,
                    XComModel.task_id == task_id,
                    XComModel.map_index == map_index,
                    XComModel.key == key,
                )
            )
            if value is None:
                return None
            # As a task would get it: tuples, dates and the like are stored as dictionaries.
            return deserialize(XComModel.deserialize_value(value))

    @property
    def asset_events(self) -> list[str]:
        """The names of the assets that the run updated."""
        with create_session() as session:
            events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == self.dag_run.run_id))
            return sorted(event.asset.name for event in events)

    def lineage_id(self, label: str) -> str:
        """Return the OpenLineage run id of a task."""
        from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

        instance = self.task(label)
        return str(
            OpenLineageAdapter.build_task_instance_run_id(
                dag_id=instance.dag_id,
                task_id=instance.task_id,
                try_number=instance.try_number,
                logical_date=self.dag_run.logical_date,
                map_index=instance.map_index,
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON has it."""
        tasks = [
            {
                "task": _label(instance),
                "state": str(instance.state),
                "result": self.result(instance.task_id, instance.map_index),
                "error": self.errors.get(_label(instance), ""),
            }
            for instance in sorted(self.dag_run.get_task_instances(), key=lambda item: str(item.start_date))
        ]
        return {"dag_id": self.dag_run.dag_id, "run_id": self.dag_run.run_id, "state": self.state, "tasks": tasks}


def run(dag: DAG, conf: Mapping[str, Any] | None = None) -> Run:
    """Run a DAG once in this process, as `dag.test()` does, without waiting between retries.

    Args:
        dag: The DAG; one that lies in no DAG folder known to Airflow's database is made known first.
        conf: The run's configuration, which also fills the DAG's params.
    """
    if DagModel.get_current(dag.dag_id) is None and not Path(dag.fileloc).is_relative_to(settings.DAGS_FOLDER):
        _register(dag)
    for task in dag.tasks:
        task.retry_delay, task.retry_exponential_backoff = dt.timedelta(0), 0.0
    errors: dict[str, str] = {}
    with _errors_kept(errors):
        dag_run = dag.test(run_conf=dict(conf) if conf else None)
    # Airflow leaves its session open, and with it a transaction, until the process ends.
    session = object_session(dag_run)
    if session is not None:
        session.refresh(dag_run)
        session.expunge(dag_run)
        session.close()
    return Run(dag_run, errors)


def _errors_kept(errors: dict[str, str]) -> Any:
    """Keep why tasks fail: Airflow's database has the states only."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.lineage import get_hook_lineage_collector

    original = task_runner.finalize

    def finalize(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> Any:
        if error is not None:
            errors[_label(ti)] = f"{type(error).__name__}: {error}"
        try:
            return original(ti, state, context, log, error)
        finally:
            # What hooks noted belongs to this task: a worker's process would end here.
            get_hook_lineage_collector.cache_clear()

    return mock.patch.object(task_runner, "finalize", finalize)


def _label(instance: Any) -> str:
    mapped = instance.map_index is not None and instance.map_index >= 0
    return f"{instance.task_id}[{instance.map_index}]" if mapped else str(instance.task_id)


def _register(dag: DAG) -> None:
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
        session.flush()
        problems: dict[Any, Any] = {}
        update_dag_parsing_results_in_db(
            "tests", None, [LazyDeserializedDAG.from_dag(dag)], problems, None, set(), session
        )
        if problems:
            raise AssertionError("\n".join(map(str, problems.values())))
