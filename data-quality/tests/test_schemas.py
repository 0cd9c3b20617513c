"""Checks written for one schema and run on another: what is read, and under which name it is told."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from data_quality.checks import Check, DuplicateCheckError, Metric, Query, Severity, Status, Threshold
from data_quality.checks.schemas import UnreadableSqlError, sql_in_schemas
from data_quality.runners.great_expectations import load_suites, run_suite
from data_quality.runners.sql import run_checks

GATE = {"curated": "candidate"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("select a from curated.x", 'select a from "candidate".x'),
        ('from "curated" . "X", CURATED.y', 'from "candidate" . "X", "candidate".y'),
        ('from "Curated".x, curated_old.x, curated', 'from "Curated".x, curated_old.x, curated'),
        ("'curated.x', E'\\'curated.x', $q$curated.x$q$", "'curated.x', E'\\'curated.x', $q$curated.x$q$"),
        ("/* curated.x */ -- curated.ü\nfrom curated.x", '/* curated.x */ -- curated.ü\nfrom "candidate".x'),
        ("é = 'ü' and curated.x.a > 1.5", "é = 'ü' and \"candidate\".x.a > 1.5"),
        ("from warehouse.curated.x, staging.x", 'from warehouse."candidate".x, staging.x'),
    ],
)
def test_only_the_name_of_the_schema_is_replaced(written: str, read: str) -> None:
    assert sql_in_schemas(written, GATE) == read
    assert sql_in_schemas(written, {}) == written


def test_what_is_no_sql_is_said_to_be_none() -> None:
    with pytest.raises(UnreadableSqlError, match="can't be read as SQL"):
        sql_in_schemas("select 'without end", GATE)


@pytest.fixture
def dsn(empty_database: str) -> str:
    """A database with a published table of one row and a candidate of two, of which one is bad."""
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "CREATE SCHEMA curated CREATE TABLE t (n int); CREATE SCHEMA candidate CREATE TABLE t (n int);"
            "INSERT INTO curated.t VALUES (1); INSERT INTO candidate.t VALUES (1), (-1)"
        )
    return empty_database


def check(name: str, rule: Metric | Query) -> Check:
    return Check(name, "curated", "t", Threshold("mustBe", 0), rule, Severity.WARN)


@pytest.mark.integration
def test_candidates_are_checked_under_the_published_name(dsn: str) -> None:
    checks = [
        check("metric", Metric("count(*) FILTER (WHERE n < 0)", "SELECT * FROM curated.t WHERE n < 0")),
        check("query", Query("SELECT count(*) FROM curated.t WHERE n < 0")),
        check("unreadable", Query("SELECT 'curated.t")),
    ]
    metric, query, unreadable = run_checks(checks, dsn, schemas=GATE)
    assert [(one.dataset, one.status, one.measured) for one in (metric, query)] == [("curated.t", Status.FAILED, 1)] * 2
    assert metric.sample == [{"n": -1}]
    assert query.sql == 'SELECT count(*) FROM "candidate".t WHERE n < 0'
    assert (unreadable.status, unreadable.dataset) == (Status.ERROR, "curated.t")
    assert {one.status for one in run_checks(checks[:2], dsn)} == {Status.PASSED}


@pytest.mark.integration
def test_suites_read_candidates_too(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "dataset: curated.t\nexpectations:\n"
        "  - {name: positive, type: expect_column_values_to_be_between, kwargs: {column: n, min_value: 0}}\n"
        "  - {name: rows, type: unexpected_rows_expectation,"
        " kwargs: {unexpected_rows_query: 'SELECT n FROM curated.t WHERE n < 0'}}\n"
    )
    (suite,) = load_suites(tmp_path)
    assert [(one.dataset, one.status.value) for one in run_suite(suite, dsn)] == [("curated.t", "passed")] * 2
    found = run_suite(suite, dsn, schemas=GATE)
    assert [(one.dataset, one.status.value) for one in found] == [("curated.t", "failed")] * 2


def test_a_name_that_is_given_twice_is_refused() -> None:
    with pytest.raises(DuplicateCheckError, match=r"more than one is curated\.t one"):
        run_checks([check("one", Query("SELECT 1")), check("one", Query("SELECT 2"))], "postgresql://nowhere")
