"""Each kind of check finds the row that was planted for it and no other, exactly, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from data_quality.checks import Check, Metric, Query, Severity, Status, Threshold
from data_quality.checks.rules import (
    Accepted,
    Columns,
    ForeignKey,
    Freshness,
    Kind,
    Length,
    NotNull,
    Pattern,
    Range,
    RowCount,
    Rule,
    Unique,
)
from data_quality.results import record
from data_quality.runners.scan import scan
from data_quality.runners.sql import MASK, run_checks

pytestmark = pytest.mark.integration

TABLES = """
CREATE SCHEMA staging; CREATE SCHEMA audit;
CREATE TABLE staging.people (person text, region text);
INSERT INTO staging.people VALUES ('P1', 'N'), ('P2', 'S'), ('P2', 'S'), (NULL, 'N');
CREATE TABLE staging.visits (visit int, person text, region text, paid numeric(12,2), rate float8, day date,
    at timestamptz, ok boolean, code varchar(9), _file_id bigint);
INSERT INTO staging.visits SELECT n, 'P' || 1 + n % 2, CASE WHEN n % 2 = 0 THEN 'N' ELSE 'S' END, 10.50, 0.5,
    '2026-01-01', now(), true, 'AB-' || n, 1 FROM generate_series(1, 9) AS n;
"""
TYPES = (
    ("visit", "integer"), ("person", "text"), ("region", "text"), ("paid", "numeric(12,2)"),
    ("rate", "double precision"), ("day", "date"), ("at", "timestamp with time zone"), ("ok", "boolean"),
    ("code", "character varying(9)"),
)  # fmt: skip
NONE = Threshold("mustBe", 0)
PLANT = "INSERT INTO staging.visits SELECT 10, 'P1', 'N', 10.5, 0.5, '2026-01-01', now(), true, 'AB-10', 1"


def planted(column: str, value: str) -> str:
    """Return the statements that plant one row, with another value in a column."""
    return f"{PLANT}; UPDATE staging.visits SET {column} = {value} WHERE visit = 10"


BY_PERSON = ForeignKey(("person",), "staging", "people", ("person",))
BY_BOTH = ForeignKey(("person", "region"), "staging", "people", ("person", "region"))
SHARED = ("not_null", "accepted_words", "pattern", "foreign_key", "range_float")
LAST_DAY = Threshold("mustBeLessThan", 86_400)
CASES: dict[str, tuple[Rule, Threshold, str, Any]] = {
    "row_count": (RowCount(), Threshold("mustBe", 9), PLANT, 10),
    "not_null": (NotNull("person"), NONE, planted("person", "NULL"), 1),
    "no_missing_word": (NotNull("region", ("", "N/A")), NONE, planted("region", "'N/A'"), 1),
    "no_missing_number": (NotNull("paid", (-1,), True), NONE, planted("paid", "-1.0"), 1),
    "unique": (Unique(("visit",)), NONE, planted("visit", "9"), 1),
    "unique_together": (Unique(("person", "code")), NONE, planted("code", "'AB-2'"), 1),
    "unique_among": (Unique(("visit",), "ok"), NONE, planted("visit", "9"), 1),
    "accepted_words": (Accepted("region", ("N", "S")), NONE, planted("region", "'it''s'"), 1),
    "accepted_numbers": (Accepted("paid", (10.5, 1), True), NONE, planted("paid", "10.51"), 1),
    "accepted_and_like": (Accepted("region", ("N", "S", "x"), pattern="[A-Z]"), NONE, planted("region", "'x'"), 1),
    "accepted_booleans": (Accepted("ok", (True,)), NONE, planted("ok", "false"), 1),
    "range_integer": (Range("visit", 1, 99), NONE, planted("visit", "100"), 1),
    "range_decimal": (Range("paid", exclusive_maximum=10.51), NONE, planted("paid", "10.51"), 1),
    "range_float": (Range("rate", exclusive_minimum=0), NONE, planted("rate", "0"), 1),
    "range_nan": (Range("rate", maximum=1), NONE, planted("rate", "'NaN'"), 1),
    "range_date": (Range("day", "2000-01-01"), NONE, planted("day", "'1999-12-31'"), 1),
    "range_time": (Range("at", maximum="2100-01-01T00:00:00+00:00"), NONE, planted("at", "'2100-01-02'"), 1),
    "too_short": (Length("code", 1), NONE, planted("code", "''"), 1),
    "too_short_by_one": (Length("code", 3), NONE, planted("code", "'üü'"), 1),
    "too_long": (Length("region", maximum=3), NONE, planted("region", "'üüüü'"), 1),
    "long_in_bytes_only": (Length("region", maximum=3), Threshold("mustBe", 1), planted("region", "'üüü'"), 0),
    "pattern": (Pattern("code", "^AB-[0-9]+$"), NONE, planted("code", "'AB-x'"), 1),
    "foreign_key": (BY_PERSON, NONE, planted("person", "'P3'"), 1),
    "foreign_key_gap": (BY_PERSON, Threshold("mustBe", 1), planted("person", "NULL"), 0),
    "foreign_key_of_two": (BY_BOTH, Threshold("mustBe", 0), planted("region", "'S'"), 1),
    "freshness": (Freshness("at"), LAST_DAY, "UPDATE staging.visits SET at = now() - interval '2 days'", 172_800),
    "column_type": (Columns(TYPES), NONE, "ALTER TABLE staging.visits ALTER visit TYPE bigint", 1),
    "column_gone": (Columns(TYPES), NONE, "ALTER TABLE staging.visits DROP ok", 1),
    "column_new": (Columns(TYPES), NONE, "ALTER TABLE staging.visits ADD odd int", 1),
    "column_new_borne": (Columns(TYPES, True), Threshold("mustBe", 1), "ALTER TABLE staging.visits ADD odd int", 0),
    "metric": (Metric("sum(paid)"), Threshold("mustBe", Decimal("94.5")), PLANT, Decimal("105.00")),
    "folded": (Query("SELECT count(*) FROM staging.visits WHERE visit > 9"), NONE, PLANT, 1),
    "query": (Query("SELECT max(visit) FROM staging.visits"), Threshold("mustBeLessThan", 10), PLANT, 10),
}


def one(name: str, rule: Rule, threshold: Threshold = NONE, **more: Any) -> Check:
    return Check(name, "staging", "visits", threshold, rule, **more)


def all_checks(**more: Any) -> list[Check]:
    return [one(name, rule, threshold, **more) for name, (rule, threshold, _, _) in CASES.items()]


def passing_checks() -> list[Check]:
    """All checks with thresholds that clean data meets."""
    bears_one = Threshold("mustBe", 1)  # of what must not be counted: nothing is
    return [replace(check, threshold=NONE) if check.threshold == bears_one else check for check in all_checks()]


@pytest.fixture(scope="module")
def database(admin_dsn: str) -> Iterator[str]:
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS planted")
        admin.execute("CREATE DATABASE planted")
        yield admin_dsn.rsplit("/", 1)[0] + "/planted"
        admin.execute("DROP DATABASE planted WITH (FORCE)")


@pytest.fixture
def dsn(database: str) -> Iterator[str]:
    """The two tables, new for each test."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES)
        yield database
        connection.execute("DROP SCHEMA staging CASCADE; DROP SCHEMA audit CASCADE")


def change(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statements)  # type: ignore[call-overload]


def scans(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'visits'").fetchone()
    return int(row[0]) if row else -1


@pytest.mark.parametrize("name", CASES)
def test_the_planted_fault_is_found(dsn: str, name: str) -> None:
    """Measured with all others in one scan and alone, the same comes out."""
    rule, threshold, plant, measured = CASES[name]
    tolerated = threshold == Threshold("mustBe", 1)  # what must not be counted: then nothing is
    (clean,) = run_checks([one(name, rule, NONE if tolerated else threshold)], dsn)
    assert clean.status is Status.PASSED, clean
    change(dsn, plant)
    together = next(result for result in run_checks(all_checks(), dsn) if result.check == name)
    (alone,) = run_checks([one(name, rule, threshold)], dsn)
    for found in (together, alone):
        assert (found.status, found.severity) == (Status.FAILED, Severity.ERROR)
        assert found.measured == pytest.approx(measured, abs=60 if name == "freshness" else 0)
    sampled = alone.sample[0] if alone.sample else {}
    assert bool(sampled) == (measured == 1)
    assert "visit" not in sampled or sampled["visit"] in (9, 10, 100)


def test_every_kind_has_its_case_and_clean_data_takes_three_scans(dsn: str) -> None:
    assert {rule.kind for rule, *_ in CASES.values()} == set(Kind)
    checks = passing_checks()
    before = scans(dsn)
    results = run_checks(checks, dsn)
    assert [result for result in results if result.status is not Status.PASSED] == []
    # One for all that is counted; keys without an index and a query that isn't a count have one each.
    assert scans(dsn) - before == 1 + 3 + 1


def test_counted_by_values_the_same_comes_out(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large table columns with few values are counted by value first."""
    odd = [("person", "'P3'"), ("person", "NULL"), ("region", "'it''s'"), ("region", "'üüüü'"), ("code", "'AB-x'"),
           ("rate", "'NaN'"), ("paid", "-1")]  # fmt: skip
    for column, value in odd:
        change(dsn, f"{planted(column, value)}; UPDATE staging.visits SET visit = visit + 10 WHERE visit = 10")
    change(dsn, "ANALYZE staging.visits; ANALYZE staging.people")
    checks = [check for check in all_checks() if check.name != "metric"]
    checks += [replace(check, name=f"{check.name}_share", percent=True) for check in checks if check.name in SHARED]
    statements: list[str] = []

    def noted(*given: Any) -> str:
        statements.append(scan(*given))
        return statements[-1]

    monkeypatch.setattr("data_quality.runners.sql.scan", noted)
    by_row = run_checks(checks, dsn)
    monkeypatch.setattr("data_quality.runners.scan._WORTHWHILE_ROWS", 1)
    monkeypatch.setattr("data_quality.runners.scan._ROWS_A_GROUP", 0.001)
    by_group = run_checks(checks, dsn)
    assert ["GROUP BY" in statement for statement in statements] == [False, True]
    assert '"person"' in statements[1].rpartition("GROUP BY")[2]
    assert [(one.check, one.status, one.measured) for one in by_group if one.check != "freshness"] == [
        (one.check, one.status, one.measured) for one in by_row if one.check != "freshness"
    ]
    assert {type(one.measured) for one in by_group} == {type(one.measured) for one in by_row}
    change(dsn, "DELETE FROM staging.visits")
    empty = {one.check: one.measured for one in run_checks(checks, dsn)}
    assert "GROUP BY" in statements[2]
    assert (empty["row_count"], empty["not_null_share"], empty["foreign_key"], empty["freshness"]) == (0, 0, 0, None)


@pytest.mark.parametrize("severity", list(Severity))
def test_a_severity_says_whether_it_stops(dsn: str, severity: Severity) -> None:
    change(dsn, planted("person", "NULL"))
    (found,) = run_checks([one("known", NotNull("person"), severity=severity)], dsn, ["person"])
    assert (found.status, found.severity, found.stops) == (Status.FAILED, severity, severity is Severity.CRITICAL)
    assert (found.measured, found.expected, found.failed_rows) == (1, "= 0", 1)


def test_shares_are_of_all_rows(dsn: str) -> None:
    orphan = planted("person", "'P3'")
    change(dsn, f"{orphan}; UPDATE staging.visits SET code = NULL WHERE visit = 10")
    kinds: list[tuple[Rule, Decimal]] = [
        (NotNull("code"), Decimal(10)), (Unique(("region",)), Decimal(80)), (BY_PERSON, Decimal(10)),
        (Accepted("person", ("P1", "P2")), Decimal(10)), (Range("visit", maximum=8), Decimal(20)),
        (Query("SELECT count(*) FROM staging.visits WHERE person = 'P3'"), Decimal(10)),
    ]  # fmt: skip
    results = run_checks([one(str(n), rule, percent=True) for n, (rule, _) in enumerate(kinds)], dsn)
    assert [result.measured for result in results] == [share for _, share in kinds]
    for (rule, share), result in zip(kinds, results, strict=True):
        (alone,) = run_checks([one("alone", rule, percent=True)], dsn)
        assert (alone.measured, alone.sql) == (share, result.sql)
    change(dsn, "TRUNCATE staging.visits")
    assert {result.measured for result in run_checks([one("n", NotNull("code"), percent=True)], dsn)} == {0}


def test_what_the_catalog_proves_is_not_read(dsn: str) -> None:
    change(dsn, "ALTER TABLE staging.visits ADD PRIMARY KEY (visit), ALTER person SET NOT NULL;"
                "CREATE UNIQUE INDEX some_codes ON staging.visits (code) WHERE ok")  # fmt: skip
    before = scans(dsn)
    proven = [one("key", Unique(("visit",))), one("wider", Unique(("visit", "code"))),
              one("among", Unique(("code",), "ok")), one("person", NotNull("person"), percent=True)]  # fmt: skip
    results = run_checks(proven, dsn)
    assert [(result.status, result.measured) for result in results] == [(Status.PASSED, 0)] * 4
    assert scans(dsn) == before
    assert results[0].message == "No row was read: the unique index visits_pkey lets no value in twice."
    assert results[3].message == "No row was read: the column person is NOT NULL."
    # A partial index says nothing of the other rows, an inheriting table keeps no key of its parent.
    (partial,) = run_checks([one("code", Unique(("code",)))], dsn)
    assert partial.message is None
    change(dsn, "CREATE TABLE staging.more () INHERITS (staging.visits); INSERT INTO staging.more SELECT * FROM "
                "ONLY staging.visits WHERE visit = 9")  # fmt: skip
    (inherited,) = run_checks(proven[:1], dsn)
    assert (inherited.status, inherited.measured) == (Status.FAILED, 1)


def test_a_run_is_compared_with_the_last_that_passed(dsn: str) -> None:
    volume = one("volume", RowCount(), Threshold("mustBeBetween", [-20, 20]), compared=True)

    def run(number: int) -> tuple[Any, ...]:
        results = run_checks([volume], dsn)
        record(results, f"run {number}", dsn)
        return results[0].status.value, results[0].measured, results[0].message, results[0].expected

    expected = "between [-20, 20] %"
    assert run(1) == ("passed", None, "Measured 9; there is no run to compare it with yet.", expected)
    change(dsn, PLANT)
    assert run(2) == ("passed", Decimal("11.1111"), "Measured 10, and 9 in the last run that passed.", expected)
    change(dsn, "DELETE FROM staging.visits WHERE visit > 7")
    assert run(3) == ("failed", -30, "Measured 7, and 10 in the last run that passed.", expected)
    assert run(4) == ("failed", -30, "Measured 7, and 10 in the last run that passed.", expected)
    change(dsn, "UPDATE audit.check_results SET value = '0'")
    assert run(5)[:2] == ("failed", Decimal("Infinity"))


def test_a_check_that_cannot_be_planned_leaves_the_others_their_scan(dsn: str) -> None:
    nowhere = ForeignKey(("person",), "staging", "nowhere", ("person",))
    checks = [*passing_checks(), one("nowhere", nowhere), one("no_column", NotNull("odd"))]
    before = scans(dsn)
    results = {result.check: result for result in run_checks(checks, dsn)}
    assert {name for name, result in results.items() if result.status is Status.ERROR} == {"nowhere", "no_column"}
    assert 'relation "staging.nowhere" does not exist' in (results["nowhere"].message or "")
    assert scans(dsn) - before == 5


def test_samples_of_looked_up_rows_are_masked(dsn: str) -> None:
    change(dsn, planted("person", "'P3'"))
    (found,) = run_checks([one("known", BY_PERSON)], dsn, ["person"])
    assert [(row["visit"], row["person"]) for row in found.sample] == [(10, MASK)]
