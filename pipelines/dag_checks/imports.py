"""Names that moved with Airflow 3, each with its place now, and libraries that are too large for a DAG file's top."""

from __future__ import annotations

# (module, name or "" for the whole module) → where it is now. The longest matching module decides.
MOVED: dict[tuple[str, str], str] = {
    ("airflow.decorators", ""): "airflow.sdk (dag, task, task_group)",
    ("airflow", "DAG"): "airflow.sdk (DAG)",
    ("airflow.models", "DAG"): "airflow.sdk (DAG)",
    ("airflow.models.dag", ""): "airflow.sdk (DAG)",
    ("airflow.models.baseoperator", ""): "airflow.sdk (BaseOperator, chain, cross_downstream)",
    ("airflow.models", "BaseOperator"): "airflow.sdk (BaseOperator)",
    ("airflow.models", "Variable"): "airflow.sdk (Variable)",
    ("airflow.models.variable", ""): "airflow.sdk (Variable)",
    ("airflow.models", "Connection"): "airflow.sdk (Connection)",
    ("airflow.models.connection", ""): "airflow.sdk (Connection)",
    ("airflow.models", "Param"): "airflow.sdk (Param)",
    ("airflow.models.param", ""): "airflow.sdk (Param)",
    ("airflow.models.xcom_arg", ""): "airflow.sdk (XComArg)",
    ("airflow.hooks.base", ""): "airflow.sdk (BaseHook)",
    ("airflow.hooks.base_hook", ""): "airflow.sdk (BaseHook)",
    ("airflow.sensors.base", ""): "airflow.sdk (BaseSensorOperator, PokeReturnValue)",
    ("airflow.datasets", ""): "airflow.sdk (Asset)",
    ("airflow", "Dataset"): "airflow.sdk (Asset)",
    ("airflow.utils.task_group", ""): "airflow.sdk (TaskGroup, task_group)",
    ("airflow.utils.edgemodifier", ""): "airflow.sdk (Label)",
    ("airflow.utils.trigger_rule", ""): "airflow.sdk (TriggerRule)",
    ("airflow.utils.context", ""): "airflow.sdk (Context)",
    ("airflow.exceptions", ""): "airflow.sdk.exceptions",
    ("airflow.utils.dates", ""): "datetime.datetime(…, tzinfo=datetime.UTC), a fixed day",
    ("airflow.utils.helpers", "chain"): "airflow.sdk (chain)",
    ("airflow.timetables", ""): "airflow.sdk (CronTriggerTimetable, DeltaTriggerTimetable and the like)",
    ("airflow.io.path", ""): "airflow.sdk (ObjectStoragePath)",
    ("airflow.operators.python", ""): "airflow.providers.standard.operators.python",
    ("airflow.operators.bash", ""): "airflow.providers.standard.operators.bash",
    ("airflow.operators.empty", ""): "airflow.providers.standard.operators.empty",
    ("airflow.operators.dummy", ""): "airflow.providers.standard.operators.empty (EmptyOperator)",
    ("airflow.operators.trigger_dagrun", ""): "airflow.providers.standard.operators.trigger_dagrun",
    ("airflow.operators.latest_only", ""): "airflow.providers.standard.operators.latest_only",
    ("airflow.operators.email", ""): "airflow.providers.smtp.operators.smtp (EmailOperator)",
    ("airflow.operators", ""): "airflow.providers.standard.operators",
    ("airflow.sensors", ""): "airflow.providers.standard.sensors",
    ("airflow.hooks", ""): "airflow.providers.standard.hooks",
}

# Each costs every reading of the file a good part of a second, and its memory.
HEAVY = frozenset({
    "pandas", "numpy", "pyarrow", "duckdb", "polars", "scipy", "sklearn", "matplotlib", "torch", "tensorflow",
    "great_expectations", "dbt", "boto3", "psycopg",
})  # fmt: skip


def moved_to(module: str, name: str = "") -> str | None:
    """Return where a name of a module is now, None where it did not move."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for key in ((prefix, name), (prefix, "")) if length == len(parts) else ((prefix, ""),):
            if key in MOVED:
                return MOVED[key]
    return None
