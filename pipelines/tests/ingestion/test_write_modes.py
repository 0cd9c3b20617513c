"""Write modes, and the law of counts for any mixture of rows against a slow reader of the same rules."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion import core

pytestmark = pytest.mark.integration

PLAIN = [{"name": "name", "logicalType": "string"}, {"name": "amount", "logicalType": "integer"}]
HEADER = "id,day,amount,count,changed"


def take(tmp_path: Path, text: str, contract, dsn):
    path = tmp_path / "file"
    path.write_text(text)
    outcome = core.ingest_file(str(path), contract, dsn)
    assert outcome.status == "succeeded", outcome.error
    return outcome


def test_append_keeps_equal_rows(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(PLAIN, write="append")
    for text in ("name,amount\na,1\na,1\n", "name,amount\na,1\n"):
        take(tmp_path, text, contract, empty_database)
    assert rows("SELECT name, amount FROM staging.things") == [("a", 1)] * 3


def test_replace_leaves_the_last_file(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(PLAIN, write="replace")
    take(tmp_path, "name,amount\na,1\nb,2\n", contract, empty_database)
    outcome = take(tmp_path, "name,amount\nc,3\n", contract, empty_database)
    assert outcome.rows_inserted == 1
    assert rows("SELECT name, amount FROM staging.things") == [("c", 3)]


def test_delete_insert_replaces_the_partitions_of_the_file(tmp_path, make_contract, empty_database, rows):
    fields = [{**PLAIN[0], "partitioned": True}, PLAIN[1]]
    contract = make_contract(fields, write="delete_insert")
    take(tmp_path, "name,amount\na,1\na,2\nb,3\n,9\n", contract, empty_database)
    outcome = take(tmp_path, "name,amount\na,5\n,8\n,7\n", contract, empty_database)
    assert outcome.rows_inserted == 3
    assert rows("SELECT name, amount FROM staging.things ORDER BY 1, 2") == [("a", 5), ("b", 3), (None, 7), (None, 8)]


def test_new_optional_column_is_added(tmp_path, make_contract, empty_database, rows):
    take(tmp_path, "name,amount\na,1\n", make_contract(PLAIN), empty_database)
    wider = make_contract([*PLAIN, {"name": "extra", "logicalType": "date"}])
    take(tmp_path, "name,amount,extra\nb,2,2026-01-01\n", wider, empty_database)
    assert rows("SELECT name, amount, extra::text FROM staging.things ORDER BY 1") == [
        ("a", 1, None),
        ("b", 2, "2026-01-01"),
    ]


def test_changed_type_is_refused_and_named(tmp_path, make_contract, empty_database):
    take(tmp_path, "name,amount\na,1\n", make_contract(PLAIN), empty_database)
    changed = make_contract([PLAIN[0], {"name": "amount", "logicalType": "date"}])
    path = tmp_path / "next"
    path.write_text("name,amount\nb,2026-01-01\n")
    outcome = core.ingest_file(str(path), changed, empty_database)
    assert (outcome.status, outcome.stage) == ("failed", "loading")
    assert "staging.things.amount is bigint, its contract says date" in (outcome.error or "")


def test_every_type_comes_back_as_it_went_in(tmp_path, make_contract, empty_database, rows):
    kinds = {
        "t": ("string", "text"), "v": ("string", "varchar(3)"), "u": ("string", "uuid"), "i": ("integer", "smallint"),
        "n": ("number", "numeric(10,3)"), "f": ("number", "double precision"), "b": ("boolean", None),
        "d": ("date", None), "c": ("time", None), "l": ("timestamp", "timestamp"), "z": ("timestamp", "timestamptz"),
        "o": ("object", None), "a": ("array", None),
    }  # fmt: skip
    fields = [
        {"name": name, "logicalType": logical} | ({"physicalType": physical} if physical else {})
        for name, (logical, physical) in kinds.items()
    ]
    line = {
        "t": 'q"uo\n,te\\.', "v": "abc", "u": "123e4567-e89b-12d3-a456-426614174000",
        "i": "-7", "n": "1.125", "f": "0.1",
        "b": "YES", "d": "2026-02-28", "c": "23:59:01", "l": "2026-01-01T10:00:00+02:00", 
        "z": "2026-01-01 10:00:00.123456+02",
        "o": '{"k": [1, "é"]}', "a": "[1, null]",
    }  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(text, list(line))
    writer.writeheader()
    writer.writerow(line)
    writer.writerow(dict.fromkeys(line, ""))
    take(tmp_path, text.getvalue(), make_contract(fields), empty_database)
    names = ", ".join(name if name in "oa" else f"{name}::text" for name in line)
    with psycopg.connect(empty_database, options="-c timezone=UTC") as connection:
        found = connection.execute(f"SELECT {names} FROM staging.things ORDER BY t").fetchall()
    assert found == [
        (line["t"], "abc", line["u"], "-7", "1.125", "0.1", "true", "2026-02-28", "23:59:01", "2026-01-01 08:00:00",
         "2026-01-01 08:00:00.123456+00", {"k": [1, "é"]}, [1, None]),
        (None,) * 13,
    ]  # fmt: skip


def slow(files: list[list[tuple[Any, ...]]]) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """The rules again, a row at a time: rejects, the last of a key by (order, place), never older over newer.

    A row that is as new as the one that counts, and says something else, is rejected.
    """
    table: dict[str, Any] = {}
    counts = []
    for file in files:
        best: dict[str, Any] = {}
        rows: list[tuple[str, Any]] = []
        rejected = 0
        for key, day, count, changed in file:
            if not key or day == "2026-02-30" or count in ("x", "1.5"):
                rejected += 1
                continue
            row = (day or None, int(float(count)) if count else None, changed or None)
            if key not in best or (changed or "") >= (best[key][2] or ""):
                best[key] = row
            rows.append((key, row))
        rejected += sum(row != best[key] and row[2] is not None and row[2] == best[key][2] for key, row in rows)
        inserted = updated = unchanged = 0
        for key, row in best.items():
            old = table.get(key)
            if old is None:
                inserted += 1
                table[key] = row
            elif row != old and (old[2] is None or (row[2] is not None and row[2] >= old[2])):
                updated += 1
                table[key] = row
            else:
                unchanged += 1
        good = len(file) - rejected
        counts.append((len(file), rejected, good - len(best), inserted, updated, unchanged))
    return table, counts


ROWS = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "é", ""]),
    st.sampled_from(["2026-01-01", "2026-01-02", "2026-02-30", ""]),
    st.sampled_from(["1", "2.0", "x", "1.5", ""]),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", ""]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ROWS, min_size=1, max_size=12), min_size=1, max_size=3, unique_by=str))
def test_law_of_counts(make_contract, empty_database, files):
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS staging CASCADE; DROP SCHEMA IF EXISTS audit CASCADE")
    table, expected = slow(files)
    contract = make_contract()
    for number, (file, counts) in enumerate(zip(files, expected, strict=True)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            text = [f"{key},{day},,{count},{changed}" for key, day, count, changed in file]
            path.write_text("\n".join([HEADER, *text]) + "\n" * (number % 2))
            outcome = core.ingest_file(str(path), contract, empty_database)
        assert tuple(outcome.counts.to_dict().values()) == counts, outcome
    with psycopg.connect(empty_database) as connection:
        rows = connection.execute("SELECT id, day::text, count, changed FROM staging.things").fetchall()
    found = {
        key: (day, count, changed and f"{changed.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}")
        for key, day, count, changed in rows
    }
    assert found == table
