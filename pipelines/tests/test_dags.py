"""The DAG folder: every file imports, every DAG keeps the platform's policy, a broken contract hurts no other."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataplatform_cli.settings import StackSettings

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

pytestmark = pytest.mark.integration

DATASETS = ("campaigns", "customers", "orders", "products", "sales")
DAGS = {
    "build__curated", "check__warehouse", *(f"ingest__{dataset}" for dataset in DATASETS),
    "maintain__alerts", "maintain__contracts", "maintain__lineage_spool", "maintain__reprocess_failed",
}  # fmt: skip
EXAMPLES = {
    f"example_{name}" for name in ("data_quality", "hello_world", "monitoring", "postgres_to_minio", "taskflow_api")
}


def assets_that_start(dag: Any) -> list[str]:
    condition = dag.timetable.asset_condition
    return [asset.name for asset in getattr(condition, "objects", [condition])]


def test_every_file_imports(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == DAGS | EXAMPLES


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_policy(dag_bag: DagBag, dag_id: str) -> None:
    from pipelines.alerts import on_task_failure

    dag = dag_bag.dags[dag_id]
    assert dag.doc_md
    assert dag_id.partition("__")[0] in dag.tags
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert dag.tasks
    for task in dag.tasks:
        assert task.owner not in ("", "airflow")
        assert task.retry_exponential_backoff
        assert dt.timedelta(seconds=1) <= task.retry_delay <= dt.timedelta(minutes=5)
        callbacks = task.on_failure_callback
        told = on_task_failure in (callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])
        if dag_id == "build__curated":
            # Before the publication hold_back tells of all that failed, in one alert; a model's next try is somebody's.
            assert told == (task.task_id == "export")
            assert task.retries == (
                0 if task.task_id == "hold_back" or "models" in str(task.task_group.group_id) else 1
            )
        else:
            assert told
            assert task.retries >= (0 if dag_id.startswith("maintain") else 1)


def test_a_contract_is_a_dag(dag_bag: DagBag) -> None:
    dag = dag_bag.dags["ingest__sales"]
    assert dag.tags == {"ingest", "sales", "revenue"} | ({"core"} & dag.tags)
    assert {task.owner for task in dag.tasks} == {"sales-analytics"}
    assert "Contract: `sales.odcs.yaml`, version 1.0.0." in (dag.doc_md or "")
    assert assets_that_start(dag) == ["raw/sales"]
    assert {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} == {
        "discover": ["batch.ingest"],
        "batch.ingest": ["batch.loading_failed", "batch.processing_failed", "batch.validation_failed", "publish"],
        "batch.validation_failed": [],
        "batch.processing_failed": [],
        "batch.loading_failed": [],
        "publish": [],
    }


def test_a_change_of_staging_leads_to_a_build_and_that_to_a_publication(dag_bag: DagBag) -> None:
    def starts(dag_id: str) -> list[str]:
        return assets_that_start(dag_bag.dags[dag_id])

    def updates(dag_id: str, task_id: str) -> list[str]:
        return [asset.name for asset in dag_bag.dags[dag_id].get_task(task_id).outlets]

    for dataset in DATASETS:
        assert updates(f"ingest__{dataset}", "publish") == [f"staging.{dataset}"]
    assert starts("build__curated") == [f"staging.{dataset}" for dataset in DATASETS]
    assert updates("build__curated", "publish") == ["curated"]


@pytest.fixture
def broken_contract(contracts: Path, repository: Path) -> Any:
    """Two contracts beside the good one: one with a mistake, one that is no YAML."""
    text = (repository / "data-quality" / "contracts" / "sales" / "sales.odcs.yaml").read_text()
    broken = contracts / "broken.odcs.yaml"
    garbled = contracts / "garbled.odcs.yaml"
    broken.write_text(text.replace("name: sales\n    physicalName: sales", "name: returns").replace("write:", "wriet:"))
    garbled.write_text("a: [1, 2\n")
    yield broken, garbled
    broken.unlink()
    garbled.unlink()


def test_a_broken_contract_is_an_import_error_and_hurts_no_other(
    airflow: StackSettings, broken_contract: tuple[Path, Path], repository: Path, contracts: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from pipelines.factory import contract_problems

    bag = DagBag(repository / "pipelines" / "dags")
    assert set(bag.dags) == DAGS | EXAMPLES
    assert [Path(path).name for path in bag.import_errors] == ["contract_problems.py"]
    (message,) = bag.import_errors.values()
    problems = contract_problems(contracts)
    assert problems in message
    assert all(str(path) in problems for path in broken_contract)
    assert "wriet" in problems
    assert "'write'" in problems


def test_reading_the_folder_needs_no_service(airflow_environment: dict[str, str], tmp_path: Path) -> None:
    """Parsed in a process where no address answers: nothing is asked over the network, and no engine is imported."""
    script = tmp_path / "read.py"
    script.write_text(
        """
import socket, sys
def refuse(*arguments): raise AssertionError(f"a DAG file opened a connection: {arguments}")
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
socket.socket.connect = refuse
socket.create_connection = refuse
bag = DagBag(sys.argv[1])
heavy = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(bag.dags), bag.import_errors, sorted(heavy & {"pandas", "duckdb", "great_expectations", "dbt", "psycopg"}))
"""
    )
    folder = airflow_environment["AIRFLOW__CORE__DAGS_FOLDER"]
    done = subprocess.run(
        [sys.executable, str(script), folder], env=airflow_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{sorted(DAGS | EXAMPLES)} {{}} []"


def test_another_contract_is_another_dag(airflow: StackSettings, contracts: Path, repository: Path) -> None:
    from pipelines.factory import ingest_dags

    text = (repository / "data-quality" / "contracts" / "sales" / "sales.odcs.yaml").read_text()
    added = contracts / "returns.odcs.yaml"
    added.write_text(text.replace("name: sales\n    physicalName: sales", "name: returns"))
    try:
        found = {dag.dag_id for dag in ingest_dags(contracts)}
        assert found == {"ingest__returns", *(f"ingest__{dataset}" for dataset in DATASETS)}
    finally:
        added.unlink()
