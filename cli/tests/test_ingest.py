"""`dp ingest`: files by hand into a bare Postgres, as a program and as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.integration

HEADER = "sale_id,sale_date,customer_id,product_id,product_category,quantity,unit_price,total_amount,region,updated_at"
GOOD = "S1,2026-01-02,C1,P1,Toys,2,10.00,20.00,North,2026-01-02 10:00:00"
NEWER = "S1,2026-01-02,C1,P1,Toys,3,10.00,30.00,North,2026-01-03 10:00:00"
BAD = "S2,2026-02-30,C1,P1,Toys,2,10.00,20.00,North,2026-01-02 10:00:00"


def ingest(*arguments: str) -> subprocess.CompletedProcess[str]:
    dp = Path(sys.executable).parent / "dp"
    return subprocess.run([str(dp), "ingest", *arguments], capture_output=True, text=True, check=False)


def outcomes(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)["files"]
    return found


def test_rows_by_outcome_and_the_rows_themselves(tmp_path: Path, empty_database: str) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("\n".join([HEADER, GOOD, *[GOOD.replace("S1", f"X{n}") for n in range(30)], BAD]) + "\n")
    second.write_text("\n".join([HEADER, NEWER]) + "\n")
    done = ingest(str(first), str(second), "--contract", "sales", "--dsn", empty_database, "--json")
    assert done.returncode == 0, done.stderr
    told = outcomes(done)
    assert [sorted(item) for item in told] == [
        sorted(["path", "status", "rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted", "rows_updated",
                "rows_unchanged", "error", "seconds"])
    ] * 2  # fmt: skip
    assert [(item["status"], item["rows_read"], item["rows_rejected"]) for item in told] == [
        ("succeeded", 32, 1),
        ("succeeded", 1, 0),
    ]
    assert [(item["rows_inserted"], item["rows_updated"]) for item in told] == [(31, 0), (0, 1)]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT quantity FROM staging.sales WHERE sale_id = 'S1'").fetchone() == (3,)
        rejected = connection.execute("SELECT column_name, raw FROM audit.rejected_rows").fetchall()
    assert [(column, "2026-02-30" in raw) for column, raw in rejected] == [("sale_date", True)]


def test_a_file_twice_is_a_duplicate_and_no_failure(tmp_path: Path, empty_database: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n")
    arguments = (str(path), "--contract", "sales", "--dsn", empty_database, "--json")
    assert outcomes(ingest(*arguments))[0]["status"] == "succeeded"
    again = ingest(*arguments)
    assert again.returncode == 0
    assert outcomes(again)[0]["status"] == "duplicate"


def test_one_bad_file_makes_the_exit_code_and_hurts_no_other(tmp_path: Path, empty_database: str) -> None:
    good, page, missing = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    good.write_text(f"{HEADER}\n{GOOD}\n")
    page.write_text("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>")
    done = ingest(str(page), str(missing), str(good), "--contract", "sales", "--dsn", empty_database, "--json")
    assert done.returncode == 1
    told = outcomes(done)
    assert [item["status"] for item in told] == ["failed", "failed", "succeeded"]
    assert "HTML" in told[0]["error"]
    assert str(missing) in told[1]["error"]


def test_a_warehouse_that_is_away_is_an_error_with_a_cure(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n")
    done = ingest(str(path), "--contract", "sales", "--dsn", "postgresql://me:secret-word@127.0.0.1:9/x", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Postgres can't be reached" in done.stderr
    assert "dp up postgres" in done.stderr
    assert "secret-word" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_contract_names_those_there_are(tmp_path: Path) -> None:
    done = ingest(str(tmp_path / "a.csv"), "--contract", "salse", "--dsn", "postgresql://x/y")
    assert done.returncode == 1
    assert "there is no contract 'salse'" in done.stderr
    assert "sales" in done.stderr
