"""Files through the whole core on real Postgres and S3, exact rows read back."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.ingestion import core
from pipelines.ingestion.model import FileOutcome

pytestmark = pytest.mark.integration

HEADER = "id,day,amount,count,changed\n"


def put(store, dataset, name, text):
    body = text if isinstance(text, bytes) else text.encode()
    store.client.put_object(Bucket="raw", Key=f"{dataset}/incoming/{name}", Body=body)


def counts(outcome: FileOutcome) -> tuple[int, ...]:
    return (
        outcome.rows_read,
        outcome.rows_rejected,
        outcome.rows_deduplicated,
        outcome.rows_inserted,
        outcome.rows_updated,
        outcome.rows_unchanged,
    )


def take_in(store, contract, dsn):
    outcomes = []
    for batch in core.plan(core.discover(store, contract), contract):
        outcomes += core.ingest_batch(batch, contract, dsn, store, run_id="run")
    return outcomes


def test_upsert_keeps_the_newest_and_counts_everything(store, dataset, make_contract, empty_database, rows):
    contract = make_contract(name=dataset)
    put(
        store,
        dataset,
        "1.csv",
        HEADER
        + "a,2026-01-01,1.50,1,2026-01-01T10:00:00Z\n"
        + "b,2026-02-30,1.50,1,2026-01-01T10:00:00Z\n"
        + "a,2026-01-02,2.50,2,2026-01-01T11:00:00Z\n"
        + "c,2026-01-03,3,17.5,2026-01-01T11:00:00Z\n"
        + "d,,,,2026-01-01T11:00:00Z\n",
    )
    [first] = take_in(store, contract, empty_database)
    assert (first.status, counts(first)) == ("succeeded", (5, 2, 1, 2, 0, 0))
    assert first.rejects_by_rule == {"day: type": 1, "count: type": 1}
    assert rows("SELECT record, line, column_name, rule, message, raw FROM audit.rejected_rows ORDER BY record") == [
        (2, 3, "day", "type", "day '2026-02-30' is no date", "b,2026-02-30,1.50,1,2026-01-01T10:00:00Z"),
        (4, 5, "count", "type", "count '17.5' is no integer", "c,2026-01-03,3,17.5,2026-01-01T11:00:00Z"),
    ]
    put(
        store,
        dataset,
        "2.ndjson.gz",
        gzip.compress(
            b'{"id":"a","day":"2026-01-09","amount":9,"count":9,"changed":"2025-12-31T00:00:00Z"}\n'
            b'{"id":"d","day":"2026-01-04","amount":4.25,"count":4.0,"changed":"2026-01-05T00:00:00Z","extra":{"x":1}}\n'
            b'{"id":"e","changed":"2026-01-05T00:00:00Z"}\n'
        ),
    )
    [second] = take_in(store, contract, empty_database)
    assert counts(second) == (3, 0, 0, 1, 1, 1)
    table = f"SELECT id, day::text, amount::text, count, changed::text, _rescued FROM staging.{dataset} ORDER BY id"
    assert rows(table) == [
        ("a", "2026-01-02", "2.50", 2, "2026-01-01 11:00:00+00", None),
        ("d", "2026-01-04", "4.25", 4, "2026-01-05 00:00:00+00", {"extra": {"x": 1}}),
        ("e", None, None, None, "2026-01-05 00:00:00+00", None),
    ]
    keys = [entry.uri for entry in store.list("raw", f"{dataset}/")]
    assert keys == [first.moved_to, second.moved_to]
    assert first.moved_to == f"s3://raw/{dataset}/processed/dt={first.modified[:10]}/1.csv"


def test_same_content_is_loaded_once_whatever_its_name(store, dataset, make_contract, empty_database, rows):
    contract = make_contract(name=dataset)
    text = HEADER + "a,2026-01-01,1.50,1,2026-01-01T10:00:00Z\n"
    put(store, dataset, "1.csv", text)
    take_in(store, contract, empty_database)
    put(store, dataset, "copy.csv", text)
    put(store, dataset, "1.csv", text)
    assert [outcome.status for outcome in take_in(store, contract, empty_database)] == ["duplicate", "duplicate"]
    assert rows("SELECT status, count(*), sum(rows_read) FROM audit.file_ingestion_log GROUP BY 1 ORDER BY 1") == [
        ("duplicate", 2, 0),
        ("succeeded", 1, 1),
    ]
    assert rows(f"SELECT count(*) FROM staging.{dataset}") == [(1,)]


def test_broken_file_fails_alone_and_is_moved(store, dataset, make_contract, empty_database, rows):
    contract = make_contract(name=dataset)
    put(store, dataset, "1.csv", "<!DOCTYPE html><html><body>502</body></html>")
    put(store, dataset, "2.csv", HEADER + "a,,,,\n")
    bad, good = take_in(store, contract, empty_database)
    assert (bad.status, bad.stage) == ("failed", "validation")
    assert "HTML page" in (bad.error or "")
    assert bad.moved_to == f"s3://raw/{dataset}/failed/validation_failed/dt={bad.modified[:10]}/1.csv"
    assert good.status == "succeeded"
    assert rows("SELECT status, stage, attempts FROM audit.file_ingestion_log ORDER BY path") == [
        ("failed", "validation", 1),
        ("succeeded", None, 1),
    ]


def test_local_file_needs_no_bucket(tmp_path: Path, make_contract, empty_database, rows):
    path = tmp_path / "x.csv"
    path.write_text(HEADER + '"a",2026-01-01,"1.50",1,\n"b\nb",,,,\n')
    outcome = core.ingest_file(str(path), make_contract(), empty_database)
    assert (outcome.status, counts(outcome)) == ("succeeded", (2, 0, 0, 2, 0, 0)), outcome
    assert rows("SELECT id FROM staging.things ORDER BY id") == [("a",), ("b\nb",)]
    assert path.exists()
