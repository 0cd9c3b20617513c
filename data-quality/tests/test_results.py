"""Results: their JSON, and the table audit.check_results."""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from data_quality.checks import CheckResult, Severity, Status
from data_quality.results import record

RESULT = CheckResult("c", "staging.items", Status.FAILED, Severity.ERROR, "sql", measured=3, expected="= 0")


@pytest.fixture
def dsn(empty_database: str) -> str:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA audit")
    return empty_database


def rows(dsn: str, columns: str = "run_id, check_name, status, measured") -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM audit.check_results ORDER BY 1, 2").fetchall()  # type: ignore[arg-type]


@pytest.mark.integration
def test_a_repeated_run_replaces_its_results(dsn: str) -> None:
    record([RESULT, replace(RESULT, check="d")], "run 1", dsn)
    record([RESULT], "run 2", dsn)
    record([replace(RESULT, status=Status.PASSED, measured=0)], "run 1", dsn)
    assert rows(dsn) == [
        ("run 1", "c", "passed", 0),
        ("run 1", "d", "failed", 3),
        ("run 2", "c", "failed", 3),
    ]


@pytest.mark.integration
def test_many_may_be_first_at_once(dsn: str) -> None:
    failures: list[Exception] = []
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        try:
            record([RESULT], f"run {number}", dsn)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(dsn)) == 8


@pytest.mark.integration
def test_odd_values_are_kept(dsn: str) -> None:
    sample = [
        {"at": dt.date(2026, 1, 2), "amount": Decimal("1.50"), "raw": b"\xff", "none": None, "ratio": float("nan")}
    ]
    odd = [
        replace(RESULT, check="1", measured=Decimal("NaN"), sample=sample),
        replace(RESULT, check="2", measured=Decimal("Infinity")),
        replace(RESULT, check="3", measured=float("-inf")),
        replace(RESULT, check="4", measured=[1, {"a": dt.date(2026, 1, 2)}]),
        replace(RESULT, check="5", measured="ü'\""),
    ]
    record(odd, "run", dsn)
    assert [row[1] for row in rows(dsn, "check_name, measured")] == [
        "NaN", "Infinity", "-inf", [1, {"a": "2026-01-02"}], "ü'\"",
    ]  # fmt: skip
    assert rows(dsn, "sample, check_name")[-1][0] == [
        {"at": "2026-01-02", "amount": 1.5, "raw": "b'\\xff'", "none": None, "ratio": "nan"}
    ]


def test_only_a_critical_check_stops() -> None:
    def stops(status: Status, severity: Severity) -> bool:
        return replace(RESULT, status=status, severity=severity).stops

    assert [(status, severity) for status in Status for severity in Severity if stops(status, severity)] == [
        (Status.FAILED, Severity.CRITICAL),
        (Status.ERROR, Severity.CRITICAL),
    ]


def test_a_result_is_json() -> None:
    data = json.loads(json.dumps(RESULT.to_dict()))
    assert (data["status"], data["severity"], data["measured"], data["sample"]) == ("failed", "error", 3, [])
    assert dt.datetime.fromisoformat(data["checked_at"]).tzinfo is not None
