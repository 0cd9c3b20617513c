"""Monitors on real tables: what they learn, what they call odd and how they say so; and that they are seldom wrong."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from data_quality.checks import CheckResult
from data_quality.contract import Contract, load_contract
from data_quality.monitors import watch
from data_quality.monitors.expectation import LEAST, Observation, Scale, expected

MONDAY = dt.datetime(2026, 1, 5, 6, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def daily(values: list[float], size: float = 1_000) -> list[Observation]:
    return [Observation(MONDAY + number * DAY, value, size) for number, value in enumerate(values)]


def test_nothing_is_expected_of_little_history() -> None:
    few = daily([100.0] * (LEAST - 1))
    assert expected(few, MONDAY + 30 * DAY, Scale.COUNT) is None
    enough = expected(daily([100.0] * LEAST), MONDAY + LEAST * DAY, Scale.COUNT)
    assert enough is not None
    assert (enough.low, enough.high, enough.why) == (72, 139, "from 8 deliveries")


def test_weekdays_have_expectations_of_their_own() -> None:
    chance = random.Random(1)  # noqa: S311
    week = [3000, 3100, 3000, 3200, 4000, 900, 0]
    history = daily([week[n % 7] * chance.uniform(0.97, 1.03) for n in range(56)])
    by_day = {}
    for number in range(56, 63):
        found = expected(history, MONDAY + number * DAY, Scale.COUNT)
        assert found is not None
        assert found.low <= week[number % 7] <= found.high
        by_day[number % 7] = found
    assert by_day[5].high < 1200 < 2500 < by_day[0].low
    assert by_day[5].why == "from 8 Saturdays in 8 weeks of history"


def test_deliveries_around_midnight_are_of_one_day() -> None:
    late = [Observation(item.at.replace(hour=23, minute=50) + dt.timedelta(minutes=n * 7 % 20), item.value)
            for n, item in enumerate(daily([1000.0 if n % 7 else 10.0 for n in range(56)]))]  # fmt: skip
    found = expected(late, MONDAY.replace(hour=23, minute=59) + 56 * DAY, Scale.COUNT)
    assert found is not None
    assert found.high < 30


@pytest.mark.parametrize(
    ("scale", "values", "normal", "odd"),
    [
        (Scale.SHARE, [0.0] * 20, [0.0, 0.004], [0.05, 1.0]),
        (Scale.SHARE, [1.0] * 20, [1.0, 0.996], [0.9]),
        (Scale.NUMBER, [-2.0, 2.0] * 10, [0.0, 3.0], [40.0, -40.0]),
        (Scale.NUMBER, [5.0] * 20, [5.01], [6.0, 0.0, -5.0]),
        (Scale.COUNT, [0.0] * 20, [0, 1], [100]),
        (Scale.COUNT, [float(1000 * 1.05**n) for n in range(30)], [1000 * 1.05**30], [1000]),
    ],
)
def test_each_scale_has_its_range(scale: Scale, values: list[float], normal: list[float], odd: list[float]) -> None:
    history = [Observation(MONDAY + 10 * n * DAY, value) for n, value in enumerate(values)]
    found = expected(history, MONDAY + 10 * len(values) * DAY, scale)
    assert found is not None
    assert [value for value in normal if not found.low <= value <= found.high] == []
    assert [value for value in odd if found.low <= value <= found.high] == []


def test_few_false_alarms_and_most_planted_ones() -> None:
    """The seeds are fixed; `dp bench monitors` measures many more shapes."""
    chance = random.Random(5)  # noqa: S311
    wrong = missed = checks = 0
    for _ in range(8):
        week = [math.exp(chance.uniform(-0.5, 0.5)) for _ in range(7)]
        values = [2000 * week[n % 7] * math.exp(0.002 * n + chance.gauss(0, 0.06)) for n in range(90)]
        for number in range(60, 90):
            found = expected(daily(values[:number]), MONDAY + number * DAY, Scale.COUNT)
            assert found is not None
            checks += 1
            wrong += not found.low <= values[number] <= found.high
            missed += found.low <= 0.4 * values[number] <= found.high
    assert (wrong, missed, checks) == (0, 0, 240)


LEDGER = """
CREATE SCHEMA audit; CREATE SCHEMA staging;
CREATE TABLE audit.file_ingestion_log (id bigint, dataset text, path text, contract_version text, status text,
    rows_read bigint, rows_rejected bigint, replay_of bigint, finished_at timestamptz);
CREATE TABLE staging.visits (visit bigint, region text, paid numeric(12,2), _file_id bigint);
"""
FILE = """
INSERT INTO audit.file_ingestion_log VALUES (%(id)s, 'visits', 'raw/visits/' || %(id)s || '.csv', %(version)s,
    'succeeded', %(rows)s, %(rejected)s, NULL, %(at)s);
"""
ROWS = """
INSERT INTO staging.visits SELECT %(id)s * 100000 + n, CASE WHEN n > %(nulls)s THEN 'R' || n %% 4 END,
    %(paid)s::numeric + n %% 10, %(id)s FROM generate_series(1, %(rows)s::bigint - %(rejected)s) AS n
"""


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    kinds = {"visit": "integer", "region": "string", "paid": "number"}
    document = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "visits", "version": "1.0.0", "status": "active",
        "domain": "test", "team": {"name": "tests"},
        "schema": [{"name": "visits", "properties": [{"name": k, "logicalType": v} for k, v in kinds.items()]}],
    }  # fmt: skip
    path = tmp_path / "visits.odcs.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_contract(path)


@pytest.fixture
def load(empty_database: str) -> Callable[..., str]:
    """A function that loads a file of a day, as a normal one but for what is said."""
    with psycopg.connect(empty_database) as connection:
        connection.execute(LEDGER)

    def one(day: int, **odd: Any) -> str:
        given = {"id": day, "rows": 1000 + day % 3, "rejected": 10, "nulls": 20, "paid": 10, "version": "1.0.0",
                 "at": MONDAY + day * DAY} | odd  # fmt: skip
        with psycopg.connect(empty_database) as connection:
            connection.execute(FILE, given)
            connection.execute(ROWS, given)
        return empty_database

    return one


def told(results: list[CheckResult]) -> dict[str, str]:
    return {name(result): result.message or "" for result in results if result.status == "failed"}


def name(result: CheckResult) -> str:
    assert result.check.startswith("usual_")
    return result.check.removeprefix("usual_")


@pytest.mark.integration
def test_a_normal_history_is_silent_and_told_of_once(contract: Contract, load: Callable[..., str]) -> None:
    for day in range(12):
        dsn = load(day)
        results = watch([contract], dsn, now=MONDAY + day * DAY + dt.timedelta(hours=1))
        assert told(results) == {}
    assert {name(result) for result in results} == {
        "volume", "table_rows", "rejected_share", "null_share", "distinct", "distribution", "schema", "freshness"
    }  # fmt: skip
    assert {(result.engine, result.severity.value, result.dataset) for result in results} == {
        ("monitor", "warn", "staging.visits")
    }
    again = watch([contract], dsn, now=MONDAY + 11 * DAY + dt.timedelta(hours=1))
    assert [(one.check, one.status, one.measured) for one in again] == [
        (one.check, one.status, one.measured) for one in results
    ]
    with psycopg.connect(dsn) as connection:
        count = "SELECT count(*), count(DISTINCT file_id) FROM audit.observations"
        # Four of the file, two of each of three columns, four more of two numbers; and the hours but for the first.
        assert connection.execute(count).fetchone() == (12 * 18 + 11, 12)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("odd", "alarms", "message"),
    [
        ({"rows": 300}, {"volume"}, "300 rows; expected 830 to 1,207, from 12 deliveries. It came with raw/visits/12"),
        ({"rejected": 200}, {"rejected_share"}, "20.0 % of the rows rejected; expected 0 % to 4.1 %, from 12"),
        ({"nulls": 400}, {"region_null_share"}, "40.4 % of region without a value; expected"),
        ({"paid": 30}, {"paid_mean", "paid_quantile_05", "paid_quantile_50", "paid_quantile_95"}, "mean of paid 34.5;"),
        ({"rows": 300, "version": "2.0.0"}, {"volume"},
         "It came with raw/visits/12.csv, under contract version 2.0.0, the last normal one under 1.0.0."),
    ],
)  # fmt: skip
def test_what_is_odd_is_an_alarm_that_explains_itself(
    contract: Contract, load: Callable[..., str], odd: dict[str, Any], alarms: set[str], message: str
) -> None:
    for day in range(12):
        load(day)
    dsn = load(12, **odd)
    found = told(watch([contract], dsn, now=MONDAY + 12 * DAY))
    assert set(found) - {"visit_distinct"} == alarms
    assert any(message in text for text in found.values()), found
    load(13)
    healed = watch([contract], dsn, now=MONDAY + 13 * DAY)
    assert told(healed) == {}
    assert set(found) <= {name(result) for result in healed}
    assert len({result.check for result in healed}) == len(healed)


@pytest.mark.integration
def test_a_delivery_that_is_late_for_its_rhythm(contract: Contract, load: Callable[..., str]) -> None:
    for day in range(12):
        dsn = load(day)
    assert told(watch([contract], dsn, now=MONDAY + 12 * DAY)) == {}
    late = told(watch([contract], dsn, now=MONDAY + 12 * DAY + dt.timedelta(hours=6)))
    assert late == {
        "freshness": "30 hours since the last delivery; expected within 25.36 hours, from 11 deliveries. "
        "The last was raw/visits/11.csv."
    }


@pytest.mark.integration
def test_a_changed_table_is_told_with_the_delivery(contract: Contract, load: Callable[..., str]) -> None:
    dsn = load(1)
    assert told(watch([contract], dsn, now=MONDAY + DAY)) == {}
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE staging.visits ADD odd text, ALTER visit TYPE text")
    load(2)
    assert told(watch([contract], dsn, now=MONDAY + 2 * DAY)) == {
        "schema": "2 columns changed; expected those of the delivery before. It came with raw/visits/2.csv. "
        "The table's columns have changed: odd text is new, visit is text, was bigint."
    }
    load(3)
    assert told(watch([contract], dsn, now=MONDAY + 3 * DAY)) == {}
