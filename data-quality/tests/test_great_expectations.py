"""Great Expectations suites on a real table, answered in the platform's results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from data_quality.checks import Status
from data_quality.runners.great_expectations import Suite, SuiteError, load_suites, run_suite

SUITE = """
dataset: {table}
expectations:
  - {{name: ids, type: expect_column_values_to_be_unique, severity: critical, kwargs: {{column: id}}}}
  - {{type: expect_column_values_to_be_between, kwargs: {{column: amount, min_value: 0}}}}
  - {{name: mean, type: expect_column_mean_to_be_between, severity: warn, kwargs: {{column: amount, min_value: 0}}}}
  - {{name: no_such_column, type: expect_column_values_to_not_be_null, kwargs: {{column: nothing}}}}
  - {{name: no_such_type, type: expect_the_unexpected}}
  - {{name: bad_arguments, type: expect_column_values_to_be_between, kwargs: {{colunm: amount}}}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[[str], Suite]:
    def make(table: str) -> Suite:
        (tmp_path / "things.yaml").write_text(SUITE.format(table=table))
        (read,) = load_suites(tmp_path)
        return read

    return make


@pytest.mark.integration
def test_passed_failed_and_not_carried_out(suite: Callable[[str], Suite], empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA curated")
        connection.execute(
            "CREATE TABLE curated.things AS SELECT * FROM (VALUES (1, 5), (2, -1), (3, 2)) AS t(id, amount)"
        )
    results = run_suite(suite("curated.things"), empty_database)
    assert [(result.check, result.status.value, result.severity.value) for result in results] == [
        ("ids", "passed", "critical"),
        ("column_values_to_be_between_amount", "failed", "error"),
        ("mean", "passed", "warn"),
        ("no_such_column", "error", "error"),
        ("no_such_type", "error", "error"),
        ("bad_arguments", "error", "error"),
    ]
    failed, mean = results[1], results[2]
    assert (failed.measured, failed.failed_rows, failed.column, failed.engine) == (1, 1, "amount", "great_expectations")
    assert failed.expected == "expect_column_values_to_be_between(column=amount, min_value=0)"
    assert mean.measured == 2
    assert {result.dataset for result in results} == {"curated.things"}
    assert "nothing" in (results[3].message or "")
    assert "expect_the_unexpected" in (results[4].message or "")
    assert "column" in (results[5].message or "")

    missing = run_suite(suite("curated.nowhere"), empty_database)
    assert {result.status for result in missing} == {Status.ERROR}
    assert "curated.nowhere" in (missing[0].message or "")


@pytest.mark.integration
def test_a_warehouse_that_is_away_is_no_result(suite: Callable[[str], Suite], free_port: Callable[[], int]) -> None:
    with pytest.raises(psycopg.OperationalError):
        run_suite(suite("curated.things"), f"postgresql://a:b@127.0.0.1:{free_port()}/x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("expectations: []", "say which table it is about"),
        ("dataset: things", "say which table it is about"),
        ("dataset: a.b\nexpectations: [{name: x}]", "expectation 1 has no type"),
        ("dataset: a.b\nexpectations: [{type: t, severity: high}]", "severity is warn, error or critical, not 'high'"),
        ("dataset: a.b\nexpectations: [{type: t}, {type: t}]", "two expectations have the same name"),
    ],
)
def test_a_suite_with_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SuiteError, match=r"bad\.yaml") as error:
        load_suites(tmp_path)
    assert said in str(error.value)


def test_shipped_suites_can_be_read() -> None:
    assert load_suites(Path(__file__).parents[1] / "suites")
