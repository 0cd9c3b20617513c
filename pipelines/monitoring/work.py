"""The work: what waits in Airflow's queue and in the buckets, what failed, and what could not be delivered."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from typing import Any

import psycopg

from pipelines.monitoring.model import Limits, Reading, Targets, graded
from pipelines.monitoring.services import SECONDS
from pipelines.utils.airflow_api import airflow_client

DAY = dt.timedelta(days=1)
_FAILED_FILES = """
SELECT count(*), string_agg(DISTINCT dataset, ', ') FROM audit.file_ingestion_log AS file
WHERE status = 'failed' AND finished_at > now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM audit.file_ingestion_log AS later WHERE later.dataset = file.dataset
                  AND later.content_hash = file.content_hash AND later.status = 'succeeded')
"""
_FAILED_CHECKS = """
SELECT count(*), string_agg(check_name, ', ' ORDER BY check_name) FROM (
    SELECT DISTINCT ON (dataset, check_name, column_name) check_name, status FROM audit.check_results
    ORDER BY dataset, check_name, column_name, checked_at DESC
) AS newest WHERE status IN ('failed', 'error')
"""


def queue(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield how many tasks wait for a slot, for how long, and how many DAG files can't be read."""
    with airflow_client(targets.airflow_url, targets.airflow_login, timeout=SECONDS) as http:
        query: dict[str, Any] = {"state": ["queued", "scheduled"], "order_by": "run_after", "limit": 100}
        found = http.get("/api/v2/dags/~/dagRuns/~/taskInstances", params=query).raise_for_status().json()
        broken = http.get("/api/v2/importErrors", params={"limit": 5}).raise_for_status().json()
    now = dt.datetime.now(dt.UTC)
    ages = {
        f"{task['dag_id']}.{task['task_id']}": (now - dt.datetime.fromisoformat(since)).total_seconds()
        for task in found["task_instances"]
        if (since := task["queued_when"] or task["scheduled_when"])
    }
    oldest = max(ages, key=lambda task: ages[task], default="")
    yield graded("airflow", "tasks in the queue", found["total_entries"], limits.queued, "tasks")
    yield graded("airflow", "oldest task in the queue", ages.get(oldest, 0.0), limits.queue_age, "s", oldest)
    files = ", ".join(item["filename"].rpartition("/")[2] for item in broken["import_errors"])
    yield graded("airflow", "broken DAG files", broken["total_entries"], limits.import_errors, "files", files)


def backlog(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield how many files wait in the datasets' `incoming/` folders, and for how long."""
    from data_quality.contract import load_contracts

    count, oldest, where = 0, 0.0, ""
    now = dt.datetime.now(dt.UTC)
    for contract in load_contracts(targets.contracts).contracts:
        pages = targets.s3.get_paginator("list_objects_v2").paginate(Bucket="raw", Prefix=f"{contract.name}/incoming/")
        for item in (item for page in pages for item in page.get("Contents", ())):
            count += 1
            age = (now - item["LastModified"]).total_seconds()
            if age > oldest:
                oldest, where = age, item["Key"]
    yield graded("ingestion", "files waiting", count, limits.waiting_files, "files")
    yield graded("ingestion", "oldest file waiting", oldest, limits.waiting_age, "s", where)


def failures(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield how many files failed within a day and were not taken in since, and how many checks fail now."""
    with psycopg.connect(targets.warehouse_dsn, connect_timeout=int(SECONDS)) as connection:

        def ask(table: str, query: str) -> tuple[int, str]:
            there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
            row: Any = connection.execute(query).fetchone() if there == (True,) else (0, "")  # type: ignore[arg-type, unused-ignore]
            return int(row[0]), str(row[1] or "")

        files, datasets = ask("audit.file_ingestion_log", _FAILED_FILES)
        checks, names = ask("audit.check_results", _FAILED_CHECKS)
    yield graded("ingestion", "files failed in a day", files, limits.failed_files, "files", datasets)
    yield graded("quality", "checks that fail", checks, limits.failed_checks, "checks", names[:500])


def spool(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield how many lineage events wait for the metadata service."""
    from data_lineage_hub_sdk import spool as waiting

    count = waiting.pending(targets.spool)
    yield graded("metadata", "lineage events waiting", count, limits.spooled_events, "events")


def disk(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield how full the disk is that holds the platform's state."""
    usage = shutil.disk_usage(
        next(path for path in (targets.state_folder, *targets.state_folder.parents) if path.exists())
    )
    share = 100 * (usage.total - usage.free) / usage.total
    yield graded("host", "disk", share, limits.disk, "%", f"{usage.free / 1024**3:.1f} GB are free")
