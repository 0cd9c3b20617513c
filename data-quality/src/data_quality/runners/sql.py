"""Carry out checks by SQL: the metrics of a table in one scan, queries one by one, samples only of what failed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row

from data_quality.checks.model import Check, CheckResult, Status

ENGINE = "sql"
SAMPLE_ROWS = 5
MASK = "•••"
STATEMENT_TIMEOUT = "5min"


def run_checks(checks: Iterable[Check], dsn: str, pii: Collection[str] = ()) -> list[CheckResult]:
    """Carry out checks in one read-only session.

    A check that can't be carried out (no such table, broken SQL) ends as `error` and hurts no other.

    Args:
        checks: The checks.
        dsn: libpq URL of a role that may read the tables.
        pii: Names of columns whose values are masked in samples.

    Raises:
        psycopg.OperationalError: the warehouse is away.
    """
    masked = {name.lower() for name in pii}
    results: dict[int, CheckResult] = {}
    numbered = list(enumerate(checks))
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
        metrics = [item for item in numbered if item[1].expression]
        for _, group in groupby(sorted(metrics, key=lambda item: item[1].dataset), key=lambda item: item[1].dataset):
            results.update(_scan(connection, list(group), masked))
        for index, check in numbered:
            if check.query:
                results[index] = _measure(connection, check, masked)
    return [results[index] for index, _ in numbered]


def _scan(
    connection: psycopg.Connection[dict[str, Any]], group: list[tuple[int, Check]], masked: Collection[str]
) -> dict[int, CheckResult]:
    """Measure all metrics of a table in one scan; where that fails, one by one to find out which."""
    _, first = group[0]
    columns = ", ".join(f"{check.expression} AS m{index}" for index, check in group)
    started = time.monotonic()
    try:
        row = connection.execute(f'SELECT {columns} FROM "{first.schema}"."{first.table}"').fetchone() or {}
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return {index: _measure(connection, check, masked) for index, check in group}
    seconds = (time.monotonic() - started) / len(group)
    return {index: _judge(connection, check, row[f"m{index}"], seconds, masked) for index, check in group}


def _measure(connection: psycopg.Connection[dict[str, Any]], check: Check, masked: Collection[str]) -> CheckResult:
    started = time.monotonic()
    try:
        row = connection.execute(check.sql).fetchone()
        value = next(iter(row.values())) if row else None
    except psycopg.errors.QueryCanceled:
        return _error(check, f"took longer than {STATEMENT_TIMEOUT}", time.monotonic() - started)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return _error(check, str(error).strip(), time.monotonic() - started)
    return _judge(connection, check, value, time.monotonic() - started, masked)


def _judge(
    connection: psycopg.Connection[dict[str, Any]],
    check: Check,
    value: Any,
    seconds: float,
    masked: Collection[str],
) -> CheckResult:
    passed = check.threshold.holds(value)
    counts_rows = check.failing is not None and isinstance(value, int)
    return CheckResult(
        check=check.name,
        dataset=check.dataset,
        status=Status.PASSED if passed else Status.FAILED,
        severity=check.severity,
        engine=ENGINE,
        column=check.column,
        dimension=check.dimension,
        measured=value,
        expected=str(check.threshold),
        message=check.description or None,
        sql=check.sql,
        failed_rows=value if counts_rows else None,
        sample=[] if passed or not check.failing else _sample(connection, check.failing, masked),
        duration_seconds=round(seconds, 4),
    )


def _sample(
    connection: psycopg.Connection[dict[str, Any]], query: str, masked: Collection[str]
) -> list[dict[str, Any]]:
    try:
        rows = connection.execute(f"SELECT * FROM ({query}) AS failing LIMIT {SAMPLE_ROWS}").fetchall()
    except psycopg.Error:  # the verdict stands without a sample
        return []
    return [{name: MASK if name.lower() in masked else value for name, value in row.items()} for row in rows]


def _error(check: Check, message: str, seconds: float) -> CheckResult:
    return CheckResult(
        check=check.name,
        dataset=check.dataset,
        status=Status.ERROR,
        severity=check.severity,
        engine=ENGINE,
        column=check.column,
        dimension=check.dimension,
        expected=str(check.threshold),
        message=message,
        sql=check.sql,
        duration_seconds=round(seconds, 4),
    )
