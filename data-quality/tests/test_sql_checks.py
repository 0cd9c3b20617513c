"""Checks by SQL on a real table: what is measured, what is said of it, and that a bad check hurts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from data_quality.checks import Check, CheckFileError, Metric, Query, Severity, Status, Threshold, checks_from_contract
from data_quality.checks import checks_from_sql_files as read
from data_quality.contract import Contract, load_contract
from data_quality.runners.sql import MASK, run_checks

pytestmark = pytest.mark.integration

ROWS = """
    (1, 'a',  'x@example.com', 1.50, true,  now() - interval '3 hours'),
    (2, 'a',  NULL,            2.00, false, now() - interval '1 hour'),
    (3, 'b',  'N/A',           9.99, true,  now() - interval '2 hours'),
    (4, NULL, '',              1.5,  NULL,  NULL),
    (4, 'it''s', 'y@example.com', NULL, true,  NULL)
"""


@pytest.fixture
def dsn(empty_database: str) -> str:
    """A database with the table staging.items of five rows."""
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA staging")
        connection.execute(
            "CREATE TABLE staging.items (item_no int, kind text, email text, price numeric(12,2), ok boolean,"
            " changed timestamptz, _rescued jsonb)"
        )
        connection.execute(f"INSERT INTO staging.items VALUES {ROWS}")  # type: ignore[arg-type]
        connection.execute("UPDATE staging.items SET _rescued = '{\"secret\": 1}'")
    return empty_database


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    def rule(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "type": "library", **more}

    document = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "items", "version": "1.0.0", "status": "active",
        "domain": "test", "team": {"name": "tests"},
        "schema": [{
            "name": "items", "logicalType": "object",
            "quality": [
                rule("rows", metric="rowCount", mustBeBetween=[1, 5], severity="critical"),
                rule("pairs", metric="duplicateValues", arguments={"properties": ["ItemNo", "kind"]}, mustBe=0),
                {"name": "dear", "type": "sql", "query": "SELECT count(*) FROM ${table} WHERE price > 5", "mustBe": 0},
            ],
            "properties": [
                {"name": "ItemNo", "physicalName": "item_no", "logicalType": "integer", "required": True,
                 "quality": [rule("unique", metric="duplicateValues", mustBe=0),
                             rule("numbers", metric="invalidValues", arguments={"validValues": [1, 2, 3]}, mustBe=0)]},
                {"name": "kind", "logicalType": "string",
                 "quality": [rule("kind_null", metric="nullValues", mustBeLessThan=1),
                             rule("kind_percent", metric="nullValues", unit="percent", mustBeLessOrEqualTo=20),
                             rule("kind_twice", metric="duplicateValues", unit="percent", mustNotBe=20),
                             rule("kind_valid", metric="invalidValues", mustBeLessThan=2, severity="warning",
                                  arguments={"validValues": ["a", "it's"]})]},
                {"name": "email", "logicalType": "string", "classification": "pii",
                 "quality": [rule("email_missing", metric="missingValues", mustBe=0,
                                  arguments={"missingValues": [None, "", "N/A"]}),
                             rule("email_form", metric="invalidValues", arguments={"pattern": "@"}, mustBe=0)]},
                {"name": "price", "logicalType": "number", "physicalType": "numeric(12,2)",
                 "quality": [rule("price_known", metric="invalidValues", mustBe=1,
                                  arguments={"validValues": [1.5, 2]}),
                             rule("price_missing", metric="missingValues", mustBe=3,
                                  arguments={"missingValues": ["N/A", 1.5]})]},
                {"name": "ok", "logicalType": "boolean",
                 "quality": [rule("ok_is_true", metric="invalidValues", arguments={"validValues": [True]}, mustBe=1)]},
                {"name": "changed", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
            ],
        }],
        "slaProperties": [{"property": "freshness", "value": 90, "unit": "m", "element": "items.changed"}],
        "customProperties": [{"property": "ingest", "value": {"write": "append"}}],
    }  # fmt: skip
    path = tmp_path / "items.odcs.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_contract(path)


def test_every_metric_is_measured_exactly(contract: Contract, dsn: str) -> None:
    results = {result.check: result for result in run_checks(checks_from_contract(contract), dsn)}
    measured = {name: (result.status.value, result.measured) for name, result in results.items()}
    freshness = measured.pop("items_freshness")
    guaranteed = {name: measured.pop(name) for name in ("items_columns", "item_no_present")}
    assert guaranteed == {"items_columns": ("failed", 1), "item_no_present": ("passed", 0)}
    assert results["items_columns"].sample == [{"column": "item_no", "expected": "bigint", "found": "integer"}]
    assert measured == {
        "rows": ("passed", 5),
        "pairs": ("passed", 0),  # (4, NULL) and (4, it's): a pair with a gap is no value
        "dear": ("failed", 1),
        "unique": ("failed", 1),
        "numbers": ("failed", 2),
        "kind_null": ("failed", 1),
        "kind_percent": ("passed", Decimal("20.0000")),
        "kind_twice": ("failed", Decimal("20.0000")),
        "kind_valid": ("passed", 1),
        "email_missing": ("failed", 3),
        "email_form": ("failed", 2),
        "price_known": ("passed", 1),
        "price_missing": ("passed", 3),
        "ok_is_true": ("passed", 1),
    }
    assert freshness[0] == "passed"
    assert 3600 <= freshness[1] < 3700
    assert results["rows"].severity is Severity.CRITICAL
    assert results["items_freshness"].severity is Severity.WARN
    assert results["unique"].sample == [{"item_no": 4, "count": 2}]
    assert results["unique"].sql == (
        'SELECT (SELECT coalesce(sum(rows - 1), 0)::bigint FROM (SELECT count(*) AS rows FROM "staging"."items" '
        'WHERE "item_no" IS NOT NULL GROUP BY "item_no" HAVING count(*) > 1) AS repeated)'
    )


def test_an_empty_table_has_no_percentage_and_no_freshness(contract: Contract, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("TRUNCATE staging.items")
    results = {result.check: result for result in run_checks(checks_from_contract(contract), dsn)}
    assert (results["rows"].status, results["rows"].measured) == (Status.FAILED, 0)
    assert (results["kind_percent"].status, results["kind_percent"].measured) == (Status.PASSED, 0)
    assert (results["items_freshness"].status, results["items_freshness"].measured) == (Status.FAILED, None)


def test_a_history_has_one_current_row_of_a_key(contract: Contract, dsn: str) -> None:
    """In write mode scd2 the earlier versions of a row are no duplicates of it."""
    history = replace(contract, ingest=replace(contract.ingest, write="scd2"))
    checks = [check for check in checks_from_contract(history) if check.name in ("unique", "pairs")]
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE staging.items ADD COLUMN _is_current boolean")
        connection.execute("UPDATE staging.items SET _is_current = kind IS NOT NULL")
    assert [(result.status, result.measured) for result in run_checks(checks, dsn)] == [(Status.PASSED, 0)] * 2
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE staging.items SET _is_current = true")
    results = {result.check: result.measured for result in run_checks(checks, dsn)}
    assert results == {"pairs": 0, "unique": 1}


def test_samples_show_no_personal_data(contract: Contract, dsn: str) -> None:
    results = {result.check: result for result in run_checks(checks_from_contract(contract), dsn, {"EMAIL"})}
    rows = results["email_missing"].sample
    assert [(row["item_no"], row["email"], row["_rescued"]) for row in rows] == [
        (2, None, MASK), (3, MASK, MASK), (4, MASK, MASK),
    ]  # fmt: skip
    assert "N/A" not in str(rows)


def test_all_metrics_of_a_table_take_one_scan(contract: Contract, dsn: str, admin_dsn: str) -> None:
    def scans() -> int:
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
            row = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'items'").fetchone()
            return int(row[0]) if row else -1

    passing = [
        check
        for check in checks_from_contract(contract)
        if check.name in ("rows", "kind_percent", "kind_valid", "items_freshness")
    ]
    before = scans()
    assert {result.status for result in run_checks(passing, dsn)} == {Status.PASSED}
    assert scans() == before + 1


def check(name: str = "c", query: str = "SELECT 1", threshold: Threshold | None = None, **more: Any) -> Check:
    return Check(name, "staging", "items", threshold or Threshold("mustBe", 1), Query(query), **more)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT count(*) FROM staging.nothing", 'relation "staging.nothing" does not exist'),
        ("SELEC 1", "syntax error"),
        ("SELECT 1/0", "division by zero"),
        ("DELETE FROM staging.items RETURNING 1", "read-only transaction"),
        ("SELECT 1; DELETE FROM staging.items", "multiple commands"),
        ("SET default_transaction_read_only = off", ""),
        ("SELECT set_config('transaction_read_only', 'off', false)", "before any query"),
        ("SELECT 'abc'", "'abc' can't be held against > 1"),
    ],
)
def test_a_check_that_cannot_be_carried_out_hurts_no_other(dsn: str, query: str, said: str) -> None:
    more = Threshold("mustBeGreaterThan", 1)
    broken, writes = check("broken", query, more), check("writes", "DELETE FROM staging.items RETURNING 1")
    results = run_checks([check("first"), broken, writes, check("last")], dsn)
    assert [result.check for result in results] == ["first", "broken", "writes", "last"]
    assert [results[index].status for index in (0, 2, 3)] == [Status.PASSED, Status.ERROR, Status.PASSED]
    assert results[1].status is Status.ERROR
    assert said in (results[1].message or "")
    assert not results[1].stops
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM staging.items").fetchone() == (5,)


def test_a_broken_metric_hurts_no_other_of_its_table(dsn: str) -> None:
    def metric(name: str, expression: str) -> Check:
        return Check(name, "staging", "items", Threshold("mustBe", 5), Metric(expression), Severity.CRITICAL)

    results = run_checks([metric("good", "count(*)"), metric("broken", "count(no_column)")], dsn)
    assert [result.status for result in results] == [Status.PASSED, Status.ERROR]
    assert results[1].stops


def test_what_takes_too_long_is_an_error(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_quality.runners.sql.STATEMENT_TIMEOUT", "200ms")
    slow = Check("slow", "staging", "items", Threshold("mustBe", 5), Metric("count(pg_sleep(1))"))
    results = run_checks([slow, check("slow_query", "SELECT pg_sleep(1)"), check("good")], dsn)
    assert [result.status for result in results] == [Status.ERROR, Status.ERROR, Status.PASSED]
    assert all("took longer than" in (result.message or "") for result in results[:2])


def test_a_warehouse_that_is_away_is_no_result(free_port: Callable[[], int], dsn: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        run_checks([check()], f"postgresql://a:b@127.0.0.1:{free_port()}/x")
    dies = check("dies", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(psycopg.OperationalError):
        run_checks([dies, check()], dsn)


@pytest.mark.parametrize(
    ("operator", "value", "holds", "told"),
    [
        ("mustBe", 3, [3], "= 3"),
        ("mustNotBe", 3, [2, 4], "≠ 3"),
        ("mustBeGreaterThan", 3, [4], "> 3"),
        ("mustBeGreaterOrEqualTo", 3, [3, 4], "≥ 3"),
        ("mustBeLessThan", 3, [2], "< 3"),
        ("mustBeLessOrEqualTo", 3, [2, 3], "≤ 3"),
        ("mustBeBetween", [2, 3], [2, 3], "between [2, 3]"),
        ("mustNotBeBetween", [2, 3], [4], "not between [2, 3]"),
    ],
)
def test_thresholds(operator: str, value: Any, holds: list[int], told: str) -> None:
    threshold = Threshold(operator, value)
    assert [number for number in (2, 3, 4) if threshold.holds(number)] == holds
    assert [number for number in (2, 3, 4) if threshold.holds(Decimal(number))] == holds
    assert not threshold.holds(None)
    assert str(threshold) == told


def test_a_sql_file_is_a_check(tmp_path: Path, dsn: str) -> None:
    (tmp_path / "dear_items.sql").write_text(
        "-- dataset: staging.items\n-- severity: warn\n-- dimension: accuracy\n-- description: None is dear.\n"
        "-- allow: 1\n\n-- A note without a colon\nselect item_no, email\nfrom staging.items\nwhere price > 1.6;\n"
    )
    (one,) = read(tmp_path)
    assert (one.name, one.dataset, one.severity, one.dimension) == ("dear_items", "staging.items", "warn", "accuracy")
    (result,) = run_checks([one], dsn, {"email"})
    assert (result.status, result.measured, result.failed_rows) == (Status.FAILED, 2, 2)
    assert (result.expected, result.message) == ("≤ 1", "None is dear.")
    assert result.sample == [{"item_no": 2, "email": None}, {"item_no": 3, "email": MASK}]
    assert str(result) == "FAILED staging.items dear_items (warn): measured 2, expected ≤ 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "-- dataset: a.b\n-- severty: warn\nselect 1",
            "line 2: 'severty' is no fact of a check; did you mean 'severity'?",
        ),
        ("-- dataset: a.b\n-- whatever: 1\nselect 1", "known are dataset, severity, dimension, description, allow"),
        ("select 1", "say which table it is about: `-- dataset: <schema>.<table>`"),
        ("-- dataset: orders\nselect 1", "say which table it is about"),
        ("-- dataset: a.b\n", "there is no query below the comments"),
        ("-- dataset: a.b\n-- severity: high\nselect 1", "severity is warn, error or critical, not 'high'"),
        ("-- dataset: a.b\n-- allow: some\nselect 1", "a whole number, not 'some'"),
    ],
)
def test_a_sql_file_with_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "one.sql").write_text(text)
    (tmp_path / "other.sql").write_text("select 1")
    with pytest.raises(CheckFileError) as error:
        read(tmp_path)
    assert f"{tmp_path / 'one.sql'}" in str(error.value)
    assert said in str(error.value)
    assert f"{tmp_path / 'other.sql'}" in str(error.value)


def test_shipped_checks_can_be_read() -> None:
    assert len(read(Path(__file__).parents[1] / "checks")) >= 3
