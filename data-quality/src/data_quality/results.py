"""Where results go: the table audit.check_results, and the metadata service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import psycopg
from psycopg.types.json import Jsonb

from data_quality.checks.model import CheckResult

TABLE = """
CREATE TABLE IF NOT EXISTS audit.check_results (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    check_name text NOT NULL,
    dataset text NOT NULL,
    column_name text,
    dimension text,
    engine text NOT NULL,
    severity text NOT NULL,
    status text NOT NULL,
    measured jsonb,
    expected text,
    message text,
    sql text,
    failed_rows bigint,
    sample jsonb NOT NULL,
    checked_at timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    value jsonb,
    UNIQUE (run_id, dataset, check_name, engine)
)
"""
COMMENT = (
    "COMMENT ON TABLE audit.check_results IS 'One row for each check of each run; a repeated run replaces its own.'"
)
# The column came later than the table.
LACKS_VALUE = """
SELECT NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('audit.check_results') AND attname = 'value')
"""
COLUMNS = (
    "check_name", "dataset", "column_name", "dimension", "engine", "severity", "status", "measured", "expected",
    "message", "sql", "failed_rows", "sample", "checked_at", "duration_seconds", "value",
)  # fmt: skip


def record(results: Sequence[CheckResult], run_id: str, dsn: str) -> None:
    """Write the results of a run to audit.check_results; a repeated run replaces what it wrote before.

    Raises:
        psycopg.Error: the table can't be made or written.
    """
    names = ", ".join(COLUMNS)
    places = ", ".join(["%s"] * (len(COLUMNS) + 1))
    updates = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)
    statement = (
        f"INSERT INTO audit.check_results (run_id, {names}) VALUES ({places}) "
        f"ON CONFLICT (run_id, dataset, check_name, engine) DO UPDATE SET {updates}"
    )
    with psycopg.connect(dsn) as connection:
        # Two tasks may be the first at the same moment.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit.check_results'))")
        exists = connection.execute("SELECT to_regclass('audit.check_results')").fetchone()
        if exists == (None,):
            connection.execute(TABLE)
            connection.execute(COMMENT)
        elif connection.execute(LACKS_VALUE).fetchone() == (True,):
            connection.execute("ALTER TABLE audit.check_results ADD COLUMN value jsonb")
        with connection.cursor() as cursor:
            cursor.executemany(statement, [(run_id, *_row(result.to_dict())) for result in results])


def report(
    results: Iterable[CheckResult],
    *,
    run_id: str,
    job: tuple[str, str],
    namespace: str,
    database: str,
    url: str,
    api_key: str,
    timeout: float = 10.0,
) -> None:
    """Send the results of a run to the metadata service.

    Args:
        results: The results.
        run_id: OpenLineage run id.
        job: Namespace and name of the job that ran them.
        namespace: OpenLineage namespace of the warehouse: `postgres://host:port`.
        database: Name of the warehouse's database.
        url: Address of the metadata service.
        api_key: Its key.
        timeout: Seconds to wait.

    Raises:
        httpx.HTTPError: it did not take them.
    """
    items = []
    for result in results:
        item = result.to_dict()
        del item["value"]  # for the next run only
        item["dataset"] = {"namespace": namespace, "name": f"{database}.{result.dataset}"}
        items.append(item)
    answer = httpx.post(
        f"{url}/runs/{run_id}/dq_results",
        json={"job": {"namespace": job[0], "name": job[1]}, "results": items},
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=timeout,
    )
    answer.raise_for_status()


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(item["check"], item["dataset"], item["column"], item["dimension"], item["engine"], item["severity"]),
        *(item["status"], Jsonb(item["measured"]), item["expected"], item["message"], item["sql"]),
        *(item["failed_rows"], Jsonb(item["sample"]), item["checked_at"], item["duration_seconds"]),
        None if item["value"] is None else Jsonb(item["value"]),
    )
