"""Which alerts are over: what they tell of has gone well since.

A dataset's files have healed when one was taken in after the alert, a reading of the platform's health when its newest
is good, a task when it succeeded. A publication closes its own alert (`pipelines.operators.publishing`).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

import httpx
import psycopg

from pipelines.alerts.model import Alert
from pipelines.utils.airflow_api import airflow_client

log = logging.getLogger(__name__)

FILE_STAGES = ("validation", "processing", "loading", "rejected")
SECONDS = 10.0
_TAKEN_IN = """
SELECT EXISTS (
    SELECT FROM audit.file_ingestion_log WHERE dataset = %s AND status = 'succeeded' AND finished_at > %s
    AND (%s OR rows_rejected * 100 <= %s * rows_read)
)
"""
_WELL = """
SELECT EXISTS (SELECT FROM audit.platform_health_latest WHERE check_name = %s AND status = 'ok' AND checked_at > %s)
"""


def healed(
    alerts: list[tuple[Alert, dt.datetime]],
    dsn: str,
    *,
    rejected_percent: float,
    succeeded: Callable[[str, str, dt.datetime], bool],
) -> dict[tuple[str, str], dt.datetime]:
    """Return subject and stage of the alerts that are over, with when the newest of them was raised.

    Args:
        alerts: Open alerts, each with when it was last raised.
        dsn: The warehouse, as a role that reads audit.
        rejected_percent: Up to which share of rejected rows a file is well.
        succeeded: Whether a task (DAG, task) has succeeded since a moment.
    """
    newest: dict[tuple[str, str], dt.datetime] = {}
    for alert, raised in alerts:
        key = (alert.subject, alert.stage)
        newest[key] = max(raised, newest.get(key, raised))
    over = {}
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        for (subject, stage), raised in newest.items():
            if stage in FILE_STAGES:
                values: list[Any] = [subject, raised, stage != "rejected", rejected_percent]
                well = connection.execute(_TAKEN_IN, values).fetchone() == (True,)
            elif stage == "health":
                well = connection.execute(_WELL, [subject, raised]).fetchone() == (True,)
            elif stage == "task":
                dag_id, _, task_id = subject.partition(".")
                well = succeeded(dag_id, task_id, raised)
            else:
                well = False
            if well:
                over[subject, stage] = raised
    return over


def airflow_successes(url: str, login: tuple[str, str]) -> Callable[[str, str, dt.datetime], bool]:
    """Return a function that asks Airflow whether a task (DAG, task) has succeeded since a moment."""
    http = airflow_client(url, login, timeout=SECONDS)

    def succeeded(dag_id: str, task_id: str, since: dt.datetime) -> bool:
        try:
            found = http.get(
                f"/api/v2/dags/{dag_id}/dagRuns/~/taskInstances",
                params={"task_id": task_id, "state": "success", "end_date_gt": since.isoformat(), "limit": 1},
            ).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("Airflow could not be asked for %s.%s: %s", dag_id, task_id, type(error).__name__)
            return False
        return bool(found.json()["task_instances"])

    return succeeded
