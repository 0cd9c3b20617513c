"""Carry out checks by SQL: the metrics of a table in one scan, queries one by one, samples only of what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row

from data_quality.checks.model import Check, CheckResult, DuplicateCheckError, Status
from data_quality.checks.schemas import UnreadableSqlError, in_schemas

ENGINE = "sql"
SAMPLE_ROWS = 5
MASK = "•••"
STATEMENT_TIMEOUT = "5min"
TOO_LONG = f"took longer than {STATEMENT_TIMEOUT}"
RESCUED = "_rescued"
"""Ingestion's column of values whose columns no contract knows, and so nobody has classified."""

Connection = psycopg.Connection[dict[str, Any]]


NO_SCHEMAS: Mapping[str, str] = {}


def run_checks(
    checks: Iterable[Check], dsn: str, pii: Collection[str] = (), *, schemas: Mapping[str, str] = NO_SCHEMAS
) -> list[CheckResult]:
    """Carry out checks in one session, each in a read-only transaction of its own.

    A check that can't be carried out (no such table, broken SQL, a statement that writes) ends as `error` and hurts
    no other. Timestamps without a zone are taken for UTC.

    Args:
        checks: The checks.
        dsn: libpq URL of a role that may read the tables.
        pii: Names of columns whose values are masked in samples.
        schemas: Schemas to read in the place of those that the checks are written for, as {"curated": "candidate"}:
            results name the dataset as it is written, their `sql` is what was run.

    Raises:
        DuplicateCheckError: two checks of a dataset have the same name.
        psycopg.OperationalError: the warehouse is away, which is no fault of a check.
    """
    masked = {RESCUED, *(name.lower() for name in pii)}
    written = list(checks)
    refuse_duplicates(written)
    results: dict[int, CheckResult] = {}
    numbered = []
    for index, check in enumerate(written):
        try:
            numbered.append((index, in_schemas(check, schemas)))
        except UnreadableSqlError as error:
            results[index] = _error(check, str(error), 0.0)
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row, options="-c timezone=UTC") as connection:
        metrics = [item for item in numbered if item[1].expression]
        for _, group in groupby(sorted(metrics, key=lambda item: item[1].dataset), key=lambda item: item[1].dataset):
            results.update(_scan(connection, list(group), masked))
        for index, check in numbered:
            if check.query:
                results[index] = _measure(connection, check, masked)
    return [replace(results[index], dataset=check.dataset) for index, check in enumerate(written)]


def refuse_duplicates(checks: Iterable[Check]) -> None:
    """Raise `DuplicateCheckError` where two checks of a dataset have the same name: one result would hide the other."""
    counted = Counter((check.dataset, check.name) for check in checks)
    twice = [f"{dataset} {name}" for (dataset, name), number in counted.items() if number > 1]
    if twice:
        raise DuplicateCheckError(
            f"give each check of a dataset a name of its own; more than one is {', '.join(twice)}"
        )


def _ask(connection: Connection, statement: str) -> list[dict[str, Any]]:
    """Return the rows of a single statement that may not write, nor leave a setting behind for the next."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
        # A prepared statement is one statement: what follows a semicolon is refused.
        cursor = connection.execute(statement, prepare=True)
        rows: list[dict[str, Any]] = cursor.fetchall()
        return rows


def _scan(connection: Connection, group: list[tuple[int, Check]], masked: Collection[str]) -> dict[int, CheckResult]:
    """Measure all metrics of a table in one scan; where that fails, one by one to find out which."""
    _, first = group[0]
    columns = ", ".join(f"{check.expression} AS m{index}" for index, check in group)
    started = time.monotonic()
    try:
        (row,) = _ask(connection, f"SELECT {columns} FROM {first.relation}")
    except psycopg.Error as error:
        if connection.closed:
            raise
        if isinstance(error, psycopg.errors.QueryCanceled):  # one by one would take as long again for each
            return {index: _error(check, TOO_LONG, time.monotonic() - started) for index, check in group}
        return {index: _measure(connection, check, masked) for index, check in group}
    seconds = (time.monotonic() - started) / len(group)
    return {index: _judge(connection, check, row[f"m{index}"], seconds, masked) for index, check in group}


def _measure(connection: Connection, check: Check, masked: Collection[str]) -> CheckResult:
    started = time.monotonic()
    try:
        rows = _ask(connection, check.sql)
    except psycopg.Error as error:
        if connection.closed:
            raise
        message = TOO_LONG if isinstance(error, psycopg.errors.QueryCanceled) else str(error).strip()
        return _error(check, message, time.monotonic() - started)
    value = next(iter(rows[0].values())) if rows else None
    return _judge(connection, check, value, time.monotonic() - started, masked)


def _judge(
    connection: Connection,
    check: Check,
    value: Any,
    seconds: float,
    masked: Collection[str],
) -> CheckResult:
    try:
        passed = check.threshold.holds(value)
    except (TypeError, ValueError) as error:
        return _error(check, f"{value!r} can't be held against {check.threshold}: {error}", seconds)
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


def _sample(connection: Connection, query: str, masked: Collection[str]) -> list[dict[str, Any]]:
    try:
        rows = _ask(connection, f"SELECT * FROM (\n{query}\n) AS failing LIMIT {SAMPLE_ROWS}")
    except psycopg.Error:  # the verdict stands without a sample
        if connection.closed:
            raise
        return []
    return [
        {name: MASK if value is not None and name.lower() in masked else value for name, value in row.items()}
        for row in rows
    ]


def skip(check: Check, reason: str) -> CheckResult:
    """Return the result of a check that was not carried out because there is nothing to check yet."""
    return _unmeasured(check, Status.SKIPPED, reason, 0.0)


def _error(check: Check, message: str, seconds: float) -> CheckResult:
    return _unmeasured(check, Status.ERROR, message, seconds)


def _unmeasured(check: Check, status: Status, message: str, seconds: float) -> CheckResult:
    return CheckResult(
        check=check.name,
        dataset=check.dataset,
        status=status,
        severity=check.severity,
        engine=ENGINE,
        column=check.column,
        dimension=check.dimension,
        expected=str(check.threshold),
        message=message,
        sql=check.sql,
        duration_seconds=round(seconds, 4),
    )
