"""The checks over the ledger: silent on what is right, and each wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from data_quality.checks import Check, check_from_ledger, checks_from_sql_files
from data_quality.contract import load_contract

pytestmark = pytest.mark.integration

LEDGER = """
CREATE SCHEMA audit;
CREATE TABLE audit.file_ingestion_log (
    id bigint, dataset text, path text, status text, rows_read int DEFAULT 0, rows_rejected int DEFAULT 0,
    rows_deduplicated int DEFAULT 0, rows_inserted int DEFAULT 0, rows_updated int DEFAULT 0,
    rows_unchanged int DEFAULT 0
);
CREATE SCHEMA staging;
CREATE TABLE staging.sales (k int, _file_id bigint);
INSERT INTO audit.file_ingestion_log VALUES
    (1, 'sales', 'a', 'succeeded', 9, 1, 2, 3, 2, 1), (2, 'sales', 'b', 'failed', 9, 5, 0, 0, 0, 0),
    (3, 'sales', 'a', 'duplicate', 0, 0, 0, 0, 0, 0), (4, 'odd', 'c', 'succeeded', 1, 0, 0, 1, 0, 0);
INSERT INTO staging.sales SELECT n, 1 FROM generate_series(1, 5) AS n;
"""


@pytest.fixture
def connection(empty_database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_database) as connection:
        connection.execute(LEDGER)
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def shipped(repository: Path) -> Callable[[str], Check]:
    checks = {check.name: check for check in checks_from_sql_files(repository / "data-quality" / "checks")}
    return checks.__getitem__


def found(connection: psycopg.Connection[Any], check: Check) -> list[tuple[Any, ...]]:
    return connection.execute(check.rule.failing).fetchall()  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ("UPDATE audit.file_ingestion_log SET rows_read = 10 WHERE id = 1", "a"),
        ("UPDATE audit.file_ingestion_log SET rows_unchanged = 0 WHERE id = 1", "a"),
        ("UPDATE audit.file_ingestion_log SET rows_rejected = -1, rows_read = 7 WHERE id = 1", "a"),
        ("UPDATE audit.file_ingestion_log SET rows_inserted = 1 WHERE id = 2", "b"),
        ("UPDATE audit.file_ingestion_log SET rows_rejected = 10 WHERE id = 2", "b"),
        ("UPDATE audit.file_ingestion_log SET rows_read = 1, rows_updated = 1 WHERE id = 3", "a"),
    ],
)
def test_a_ledger_that_does_not_add_up(connection: Any, shipped: Any, wrong: str, path: str) -> None:
    check = shipped("ledger_adds_up")
    assert found(connection, check) == []
    connection.execute(wrong)
    assert [row[1] for row in found(connection, check)] == [path]


def ledger_check(repository: Path, write: str) -> Check:
    contract = load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")
    return check_from_ledger(replace(contract, ingest=replace(contract.ingest, write=write)))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("INSERT INTO staging.sales VALUES (6, 1)", (1, 6, "a", 3, 2)),
        ("INSERT INTO staging.sales VALUES (6, 2)", (2, 1, None, None, None)),
        ("INSERT INTO staging.sales VALUES (6, 4)", (4, 1, None, None, None)),
        ("INSERT INTO staging.sales VALUES (6, NULL), (7, NULL)", (None, 2, None, None, None)),
    ],
)
def test_a_table_that_the_ledger_does_not_explain(connection: Any, repository: Path, wrong: str, told: Any) -> None:
    check = ledger_check(repository, "upsert")
    assert found(connection, check) == []
    connection.execute("DELETE FROM staging.sales WHERE k = 5")  # another file has taken its place
    assert found(connection, check) == []
    connection.execute("INSERT INTO staging.sales VALUES (5, 1)")
    connection.execute(wrong)
    assert found(connection, check) == [told]


def test_what_was_appended_stays(connection: Any, repository: Path) -> None:
    check = ledger_check(repository, "append")
    connection.execute("UPDATE audit.file_ingestion_log SET rows_inserted = 5, rows_updated = 0 WHERE id = 1")
    assert found(connection, check) == []
    connection.execute("DELETE FROM staging.sales WHERE k = 5")
    assert found(connection, check) == [(1, 4, "a", 5, 0)]
    connection.execute("DELETE FROM staging.sales")
    assert found(connection, check) == [(1, None, "a", 5, 0)]
