"""The cluster policy: what a DAG dropped into the folder has without asking. What its author says wins.

Airflow finds this module by the entry point `airflow.policy` of the installed package, so it holds wherever the
package is installed, and applies it whenever a DAG file is read: by the dag-processor and again in the task's process.
Lineage needs no policy: Airflow's OpenLineage provider is on for every DAG.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.policies import hookimpl

if TYPE_CHECKING:
    from airflow.sdk import DAG

UNTAGGED = "untagged"


@hookimpl
def task_policy(task: Any) -> None:
    """Give a task the platform's owner, retries with back-off and failure callback where its author gave none."""
    from pipelines.utils.defaults import TASK_DEFAULTS

    for name, value in TASK_DEFAULTS.items():
        if not is_given(task, name):
            setattr(task, name, [value] if name.endswith("_callback") else value)


@hookimpl
def dag_policy(dag: DAG) -> None:
    """Give a DAG without tags those of its place."""
    if not dag.tags:
        dag.tags |= default_tags(dag.dag_id, Path(dag.fileloc))


def is_given(task: Any, name: str) -> bool:
    """Whether a task's author gave an argument, to the task or in default arguments, be it Airflow's own default.

    Of a mapped classic operator (`.partial(…)`) Airflow keeps no trace of what was given: there an argument that
    equals Airflow's default counts as not given, unless the DAG's default arguments name it.
    """
    given: dict[str, Any] | None = getattr(task, "_BaseOperator__init_kwargs", None)
    if given is not None:
        return name in given
    given = task.partial_kwargs
    if name not in given or (task.dag and name in task.dag.default_args):
        return name in given
    from airflow.sdk.bases.operator import OPERATOR_DEFAULTS

    is_filled_up = OPERATOR_DEFAULTS.keys() <= given.keys()
    return not is_filled_up or bool(given[name] != OPERATOR_DEFAULTS.get(name))


def default_tags(dag_id: str, file: Path) -> set[str]:
    """Return the folder of a DAG file below `dags/`, else the layer in the DAG's id (`<layer>__<subject>`)."""
    folders = file.parts[file.parts.index("dags") + 1 : -1] if "dags" in file.parts else ()
    layer, separator, _ = dag_id.partition("__")
    return set(folders) or {layer if separator else UNTAGGED}
