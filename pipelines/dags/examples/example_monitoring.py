"""How the platform is, every 15 minutes: services, disk, database connections, queue, backlog, failures, lineage spool.

Readings go to `audit.platform_health`, which the dashboard "Platform health" shows, and are kept for 90 days. Readings
that are errors become alerts (log, webhook, mail), each matter once an hour.

What to learn here:

- the DAG declares, the library `pipelines.monitoring` does: the checks are plain functions, tested without Airflow
- limits are data, here in one place; others than the library's are given by name
- recording and alerting do not wait for each other: if the warehouse is down, the alert still goes out
"""

import datetime as dt
from typing import Any

from airflow.providers.openlineage.api.emission_policy import extend_global_openlineage_emission_policy
from airflow.sdk import dag, get_current_context, task

KEEP_DAYS = 90
LIMITS = {"disk": (80, 92), "queue_age": (120, 900), "waiting_age": (600, 3_600)}


@dag(
    schedule="*/15 * * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=1,
    tags=["example", "monitoring"],
    default_args={"owner": "data-platform", "retries": 1},
    doc_md=__doc__,
)
def example_monitoring() -> None:
    @task
    def observe() -> list[dict[str, Any]]:
        """Take all readings. What does not answer is a reading, not a failure of this task."""
        from pipelines.monitoring import Limits, Targets
        from pipelines.monitoring import observe as look

        return [reading.to_dict() for reading in look(Targets.of_airflow(), Limits(**LIMITS))]

    @task
    def record(readings: list[dict[str, Any]]) -> dict[str, int]:
        """Keep them, and remove what is too old."""
        from pipelines.monitoring import Reading
        from pipelines.monitoring import record as keep
        from pipelines.utils.connections import WAREHOUSE_LOADER, warehouse_dsn

        age = dt.timedelta(days=KEEP_DAYS)
        written, removed = keep(map(Reading.from_dict, readings), warehouse_dsn(WAREHOUSE_LOADER), age)
        return {"written": written, "removed": removed}

    @task
    def alert(readings: list[dict[str, Any]]) -> int:
        """Tell of errors, and return how many messages were sent."""
        from pipelines.alerts import report
        from pipelines.monitoring import Reading, alerts_of

        context = get_current_context()
        found = alerts_of(map(Reading.from_dict, readings), owner="data-platform", run_id=context["run_id"])
        return report(found)

    readings = observe()
    record(readings)
    alert(readings)


# Its runs say nothing about data, so lineage does not hear of them.
extend_global_openlineage_emission_policy(example_monitoring(), emit=False)
