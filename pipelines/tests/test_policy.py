"""What a plain DAG file dropped into the folder has without asking, and that what its author says wins."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

PLAIN = """
from airflow.sdk import dag, task
from airflow.providers.standard.operators.bash import BashOperator

@dag(dag_id="{name}", schedule=None, {dag})
def plain():
    @task({task})
    def one(x=1):
        return x
    one()
    one.override(task_id="mapped").expand(x=[1, 2])
    BashOperator(task_id="bash", bash_command="true")
    BashOperator.partial(task_id="bash_mapped").expand(bash_command=["true"])

plain()
"""


def written(folder: Path, name: str, **words: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(PLAIN.format(**{"name": name, "dag": "", "task": "", **words}))
    return path


def test_defaults_come_without_asking(load_dag: Any, tmp_path: Path) -> None:
    from pipelines.alerts import on_task_failure

    dag = load_dag(written(tmp_path, "plain"))
    assert {task.task_id for task in dag.tasks} == {"one", "mapped", "bash", "bash_mapped"}
    for task in dag.tasks:
        assert task.owner == "data-platform"
        assert (task.retries, task.retry_exponential_backoff) == (3, 2.0)
        assert (task.retry_delay, task.max_retry_delay) == (dt.timedelta(seconds=10), dt.timedelta(minutes=5))
        assert task.on_failure_callback == [on_task_failure]
    assert dag.tags == {"untagged"}


def test_what_the_author_says_wins(load_dag: Any, tmp_path: Path) -> None:
    given = "retries=0, owner='me', retry_exponential_backoff=False, on_failure_callback=print, retry_delay=300"
    dag = load_dag(written(tmp_path, "own", dag="tags=['mine']", task=given))
    for task_id in ("one", "mapped"):
        task = dag.get_task(task_id)
        assert (task.retries, task.owner, bool(task.retry_exponential_backoff)) == (0, "me", False)
        assert task.on_failure_callback in (print, [print])
        # Airflow's own default, given by hand, is a choice too.
        assert task.retry_delay == dt.timedelta(seconds=300)
    assert dag.tags == {"mine"}


def test_default_arguments_win_too(load_dag: Any, tmp_path: Path) -> None:
    given = "default_args={'retries': 0, 'owner': 'airflow', 'on_failure_callback': None}"
    for task in load_dag(written(tmp_path, "defaults", dag=given)).tasks:
        assert (task.retries, task.owner) == (0, "airflow")
        assert not task.on_failure_callback
        assert task.retry_exponential_backoff == 2.0


def test_tags_come_from_the_place(load_dag: Any, tmp_path: Path) -> None:
    assert load_dag(written(tmp_path / "dags" / "finance", "monthly")).tags == {"finance"}
    assert load_dag(written(tmp_path / "dags", "export__sales")).tags == {"export"}


def test_the_worker_and_the_scheduler_see_the_same(load_dag: Any, tmp_path: Path) -> None:
    """The scheduler decides on retries by what the dag-processor wrote down."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = load_dag(written(tmp_path, "stored"))
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    for task in stored.tasks:
        assert (task.owner, task.retries, task.retry_exponential_backoff) == ("data-platform", 3, 2.0)
        assert task.has_on_failure_callback
