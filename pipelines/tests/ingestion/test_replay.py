"""Failed files and rejected rows, taken in again after something was mended; the ledger says what came from where."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import core, replay

pytestmark = pytest.mark.integration

H = "id,day,amount,count,changed\n"
NARROW = [
    {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
    {"name": "amount", "logicalType": "integer", "logicalTypeOptions": {"maximum": 10}},
]
WIDE = [NARROW[0], {"name": "amount", "logicalType": "integer"}]


def put(store, dataset, name, body):
    store.client.put_object(Bucket="raw", Key=f"{dataset}/incoming/{name}", Body=body)


def take_in(store, contract, dsn):
    return core.ingest_batch(core.discover(store, contract), contract, dsn, store)


def test_failed_file_is_put_back_and_taken_in(store, dataset, make_contract, empty_database, rows):
    strict = make_contract(name=dataset, rejects={"max_percent": 0})
    put(store, dataset, "a.csv", H + "a,2026-02-30,,,\nb,,,,\n")
    put(store, dataset, "b.csv", "<html>")
    assert [outcome.status for outcome in take_in(store, strict, empty_database)] == ["failed", "failed"]
    lenient = make_contract(name=dataset)
    with core.connected(empty_database) as connection:
        assert [entry.name for entry in replay.failed_files(connection, dataset)] == ["a.csv", "b.csv"]
        assert replay.failed_files(connection, dataset, stage="loading") == []
        [entry] = replay.failed_files(connection, dataset, match="a*")
        assert replay.failed_files(connection, dataset, ids=(entry.id,)) == [entry]
        assert len(list(store.list("raw", f"{dataset}/failed/"))) == 3  # two files, the rejected rows of one
        source = replay.put_back(entry, store)
        assert replay.put_back(entry, store) == source
        [outcome] = core.ingest_batch([source], lenient, connection, store)
        assert (outcome.status, outcome.rows_inserted, outcome.rows_rejected) == ("succeeded", 1, 1)
        assert [entry.name for entry in replay.failed_files(connection, dataset)] == ["b.csv"]
    left = sorted(entry.uri.rpartition("/")[2] for entry in store.list("raw", f"{dataset}/"))
    assert left == ["a.csv", "b.csv"]
    ledger = "SELECT status, attempts FROM audit.file_ingestion_log ORDER BY path"
    assert rows(ledger) == [("succeeded", 2), ("failed", 1)]


def test_a_failed_file_that_is_gone_says_so(store, dataset, make_contract, empty_database):
    contract = make_contract(name=dataset)
    put(store, dataset, "a.csv", "<html>")
    [outcome] = take_in(store, contract, empty_database)
    store.delete(outcome.moved_to)
    with core.connected(empty_database) as connection:
        [entry] = replay.failed_files(connection, dataset)
        with pytest.raises(replay.NotReplayable, match="not in the bucket any more"):
            replay.put_back(entry, store)


RECORDS = [{"id": key, "amount": value} for key, value in (("a", 5), ("b\nc", 11), ("d", 12), ("e", "x"))]
BODIES = {
    "a.csv": 'id;amount\na;5\n"b\nc";11\nd;12\ne;x\n',
    "a.ndjson": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "a.json": json.dumps(RECORDS, indent=2),
}


@pytest.mark.parametrize("name", [*BODIES, "a.parquet", "utf16.csv"])
def test_rejected_rows_come_in_once_the_contract_allows_them(
    name, store, dataset, make_contract, empty_database, rows, tmp_path: Path
):
    narrow, wide = make_contract(NARROW, name=dataset), make_contract(WIDE, name=dataset)
    if name == "a.parquet":
        table = pa.table({"id": ["a", "b\nc", "d", "e"], "amount": ["5", "11", "12", "x"]})
        pq.write_table(table, tmp_path / name)
        body = (tmp_path / name).read_bytes()
    else:
        body = BODIES["a.csv"].encode("utf-16") if name == "utf16.csv" else BODIES[name].encode()
    put(store, dataset, name, body)
    narrow = make_contract(NARROW, name=dataset)
    [first] = take_in(store, narrow, empty_database)
    assert (first.rows_read, first.rows_rejected, first.rows_inserted) == (4, 3, 1)
    wide = make_contract(WIDE, name=dataset)
    with core.connected(empty_database) as connection:
        [entry] = replay.rejected_files(connection, dataset)
        again = replay.replay_rejected(entry, wide, connection, store)
        assert (again.status, again.rows_read, again.rows_rejected, again.rows_inserted) == ("succeeded", 3, 1, 2), (
            again
        )
        assert rows(f"SELECT id, amount FROM staging.{dataset} ORDER BY id") == [("a", 5), ("b\nc", 11), ("d", 12)]
        [left] = replay.rejected_files(connection, dataset)
        assert rows("SELECT path, replay_of FROM audit.file_ingestion_log WHERE replay_of IS NOT NULL") == [
            (left.path, entry.id)
        ]
        once_more = replay.replay_rejected(entry, wide, connection, store)
        assert (once_more.status, once_more.counts) == ("succeeded", again.counts)
        assert rows("SELECT count(*) FROM audit.file_ingestion_log") == [(2,)]


def test_mended_rows_stand_for_the_rejected_ones(store, dataset, make_contract, empty_database, rows, tmp_path: Path):
    contract = make_contract(NARROW, name=dataset)
    put(store, dataset, "a.csv", "id,amount\na,1\nb,99\n")
    take_in(store, contract, empty_database)
    with core.connected(empty_database) as connection:
        [entry] = replay.rejected_files(connection, dataset)
        rebuilt = replay.rebuild(entry, contract, store, tmp_path)
        assert rebuilt.read_text() == "id,amount\nb,99\n"
        rebuilt.write_text("id,amount\nb,9\n")
        outcome = replay.replay_rejected(entry, contract, connection, store, mended=rebuilt)
        assert (outcome.status, outcome.rows_inserted) == ("succeeded", 1)
        assert replay.rejected_files(connection, dataset) == []
    assert rows(f"SELECT id, amount FROM staging.{dataset} ORDER BY id") == [("a", 1), ("b", 9)]


def test_a_row_that_lost_a_tie_is_not_replayed(store, dataset, make_contract, empty_database, rows):
    fields = [*NARROW, {"name": "changed", "logicalType": "timestamp", "physicalType": "timestamptz"}]
    contract = make_contract(fields, name=dataset, order_by="changed")
    put(store, dataset, "a.csv", b"id,amount,changed\na,1,2026-01-01T00:00:00Z\na,2,2026-01-01T00:00:00Z\n")
    [first] = take_in(store, contract, empty_database)
    assert (first.rows_read, first.rejects_by_rule, first.rows_inserted) == (2, {"changed: tie": 1}, 1)
    assert rows("SELECT record, line, column_name, rule, raw FROM audit.rejected_rows") == [
        (1, 2, "changed", "tie", "a,1,2026-01-01T00:00:00Z")
    ]
    with core.connected(empty_database) as connection:
        [entry] = replay.rejected_files(connection, dataset)
        again = replay.replay_rejected(entry, contract, connection, store)
        assert (again.status, again.rows_read) == ("succeeded", 0)
    assert rows(f"SELECT id, amount FROM staging.{dataset}") == [("a", 2)]
