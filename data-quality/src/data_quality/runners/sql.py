"""Carry out checks by SQL on Postgres.

All that can be counted of a table is counted in one scan, in parallel; what the catalog proves needs none; queries and
keys without an index are asked one by one. Rows are looked at again only for the samples of what failed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row

from data_quality.checks.model import Check, CheckResult, DuplicateCheckError, Status, quoted
from data_quality.checks.rules import ForeignKey
from data_quality.checks.schemas import UnreadableSqlError, in_schemas
from data_quality.runners.catalog import NO_TABLE, Catalog, read_catalog
from data_quality.runners.measures import Measure, measure
from data_quality.runners.previous import change, previous_values
from data_quality.runners.scan import scan

ENGINE = "sql"
SAMPLE_ROWS = 5
MASK = "•••"
STATEMENT_TIMEOUT = "5min"
TOO_LONG = f"took longer than {STATEMENT_TIMEOUT}"
WORK_MEM = "64MB"
"""What a hash of a statement may take in each process: values that are looked up or grouped stay in memory longer."""
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
        dsn: libpq URL of a role that may read the tables, and audit.check_results where checks are compared.
        pii: Names of columns whose values are masked in samples.
        schemas: Schemas to read in the place of those that the checks are written for, as {"curated": "candidate"}:
            results name the dataset as it is written, their `sql` is what was run.

    Raises:
        DuplicateCheckError: two checks of a dataset have the same name.
        psycopg.OperationalError: the warehouse is away, which is no fault of a check.
    """
    written = list(checks)
    refuse_duplicates(written)
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row, options="-c timezone=UTC") as connection:
        return _Run(connection, {RESCUED, *(name.lower() for name in pii)}).results_of(written, schemas)


def refuse_duplicates(checks: Iterable[Check]) -> None:
    """Raise `DuplicateCheckError` where two checks of a dataset have the same name: one result would hide the other."""
    counted = Counter((check.dataset, check.name) for check in checks)
    twice = [f"{dataset} {name}" for (dataset, name), number in counted.items() if number > 1]
    if twice:
        raise DuplicateCheckError(
            f"give each check of a dataset a name of its own; more than one is {', '.join(twice)}"
        )


class _Run:
    """One run of checks on one connection."""

    def __init__(self, connection: Connection, masked: Collection[str]) -> None:
        self.connection, self.masked = connection, masked
        self.previous: dict[tuple[str, str], Decimal] = {}
        """What compared checks measured before, by the dataset that is read and the check's name."""
        self.catalog: Catalog = {}

    def results_of(self, written: list[Check], schemas: Mapping[str, str]) -> list[CheckResult]:
        results: dict[int, CheckResult] = {}
        previous = previous_values(self.connection, written)
        readable: list[tuple[int, Check]] = []
        for index, check in enumerate(written):
            try:
                read = in_schemas(check, schemas)
            except UnreadableSqlError as error:
                results[index] = _unmeasured(check, Status.ERROR, str(error), None, 0.0)
                continue
            readable.append((index, read))
            if (check.dataset, check.name) in previous:
                self.previous[read.dataset, read.name] = previous[check.dataset, check.name]
        self.catalog = read_catalog(self.connection, [name for _, check in readable for name in _relations(check)])
        shared = []
        for index, check in readable:
            how = measure(check, self.catalog)
            if how.proof:
                results[index] = self._proven(check, how)
            elif how.part:
                shared.append((index, check, how))
            else:
                results[index] = self._alone(check, how)
        for _, group in groupby(sorted(shared, key=lambda item: item[1].relation), key=lambda item: item[1].relation):
            results.update(self._scan(list(group)))
        return [replace(results[index], dataset=check.dataset) for index, check in enumerate(written)]

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a single statement that may not write, nor leave a setting behind for the next."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("SET TRANSACTION READ ONLY")
            self.connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
            self.connection.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
            # A prepared statement is one statement: what follows a semicolon is refused.
            cursor = self.connection.execute(statement, prepare=True)
            rows: list[dict[str, Any]] = cursor.fetchall()
            return rows

    def _scan(self, group: list[tuple[int, Check, Measure]]) -> dict[int, CheckResult]:
        """Measure what shares a table's scan. Where it fails, what Postgres can't even plan is left out of a second."""
        results, seconds, error = self._scanned(group)
        if error is None:
            return results
        if isinstance(error, psycopg.errors.QueryCanceled):  # one by one would take as long again for each
            return {index: _unmeasured(check, Status.ERROR, TOO_LONG, how, seconds) for index, check, how in group}
        broken = {index: self._alone(check, how) for index, check, how in group if not self._can_be_planned(how)}
        rest = [item for item in group if item[0] not in broken]
        if broken and rest:
            results, _, error = self._scanned(rest)
        if error is not None:  # it shows only with the rows, such as a division by zero
            results = {index: self._alone(check, how) for index, check, how in rest}
        return broken | results

    def _scanned(
        self, group: list[tuple[int, Check, Measure]]
    ) -> tuple[dict[int, CheckResult], float, psycopg.Error | None]:
        relation = group[0][1].relation
        statement = scan(relation, [how.part for _, _, how in group if how.part], self.catalog.get(relation, NO_TABLE))
        started = time.monotonic()
        try:
            (row,) = self._ask(statement)
        except psycopg.Error as error:
            self._refuse_to_go_on_alone(error)
            return {}, time.monotonic() - started, error
        seconds = (time.monotonic() - started) / len(group)
        results = {
            index: self._judge(check, how, row[f"m{number}"], seconds)
            for number, (index, check, how) in enumerate(group)
        }
        return results, seconds, None

    def _can_be_planned(self, how: Measure) -> bool:
        try:
            self._ask(f"EXPLAIN {how.query}")
        except psycopg.Error as error:
            self._refuse_to_go_on_alone(error)
            return False
        return True

    def _alone(self, check: Check, how: Measure) -> CheckResult:
        started = time.monotonic()
        try:
            rows = self._ask(how.query)
        except psycopg.Error as error:
            self._refuse_to_go_on_alone(error)
            message = TOO_LONG if isinstance(error, psycopg.errors.QueryCanceled) else str(error).strip()
            return _unmeasured(check, Status.ERROR, message, how, time.monotonic() - started)
        value = next(iter(rows[0].values())) if rows else None
        return self._judge(check, how, value, time.monotonic() - started)

    def _proven(self, check: Check, how: Measure) -> CheckResult:
        result = self._judge(check, how, 0, 0.0)
        return replace(result, message=f"{check.description} No row was read: {how.proof}.".strip())

    def _judge(self, check: Check, how: Measure, value: Any, seconds: float) -> CheckResult:
        try:
            measured, passed, message = self._verdict(check, value)
        except (TypeError, ValueError) as error:
            message = f"{value!r} can't be held against {check.threshold}: {error}"
            return _unmeasured(check, Status.ERROR, message, how, seconds)
        counts_rows = how.failing is not None and isinstance(value, int)
        return CheckResult(
            check=check.name,
            dataset=check.dataset,
            status=Status.PASSED if passed else Status.FAILED,
            severity=check.severity,
            engine=ENGINE,
            column=check.column,
            dimension=check.dimension,
            measured=measured,
            value=value if check.compared else None,
            expected=f"{check.threshold} %" if check.compared else str(check.threshold),
            message=message or None,
            sql=how.query,
            failed_rows=value if counts_rows else None,
            sample=[] if passed or not how.failing else self._sample(how.failing),
            duration_seconds=round(seconds, 4),
        )

    def _verdict(self, check: Check, value: Any) -> tuple[Any, bool, str]:
        """Return what is held against the threshold, whether it holds, and what is to be said of it.

        Raises:
            TypeError, ValueError: the two can't be compared.
        """
        if not check.compared:
            return value, check.threshold.holds(value), check.description
        before = self.previous.get((check.dataset, check.name))
        moved = change(value, Decimal(1) if before is None else before)
        if before is None:
            return None, True, f"{check.description} Measured {value}; there is no run to compare it with yet.".strip()
        told = f"{check.description} Measured {value}, and {before} in the last run that passed.".strip()
        return moved, check.threshold.holds(moved), told

    def _sample(self, query: str) -> list[dict[str, Any]]:
        try:
            rows = self._ask(f"SELECT * FROM (\n{query}\n) AS failing LIMIT {SAMPLE_ROWS}")
        except psycopg.Error as error:  # the verdict stands without a sample
            self._refuse_to_go_on_alone(error)
            return []
        return [
            {name: MASK if value is not None and name.lower() in self.masked else value for name, value in row.items()}
            for row in rows
        ]

    def _refuse_to_go_on_alone(self, error: psycopg.Error) -> None:
        """Raise the error if the connection is gone: no check is at fault, and the next could only say the same."""
        if self.connection.closed:
            raise error


def skip(check: Check, reason: str) -> CheckResult:
    """Return the result of a check that was not carried out because there is nothing to check yet."""
    return _unmeasured(check, Status.SKIPPED, reason, None, 0.0)


def _relations(check: Check) -> list[str]:
    """Return the tables of which the catalog may know something that helps."""
    rule = check.rule
    other = [f"{quoted(rule.to_schema)}.{quoted(rule.to_table)}"] if isinstance(rule, ForeignKey) else []
    return [check.relation, *other]


def _unmeasured(check: Check, status: Status, message: str, how: Measure | None, seconds: float) -> CheckResult:
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
        sql=how.query if how else None,
        duration_seconds=round(seconds, 4),
    )
