"""Which files a run takes, and how they are cut into batches."""

from __future__ import annotations

import threading
import time

import pytest

from pipelines.ingestion import arrivals, core
from pipelines.ingestion.model import SourceFile


def files(count: int, size: int) -> list[SourceFile]:
    return [SourceFile(f"s3://raw/d/incoming/{n:06}", "d", size, "2026-01-01T00:00:00+00:00") for n in range(count)]


def test_many_small_files_become_a_few_dozen_batches(make_contract):
    waiting = files(10_000, 5_000)
    batches = arrivals.plan(waiting, make_contract())
    assert len(batches) <= 50
    assert [file for batch in batches for file in batch] == waiting


def test_a_batch_is_bounded_in_bytes_and_a_run_in_batches(make_contract):
    contract = make_contract()
    assert [len(batch) for batch in arrivals.plan(files(7, 100 * 1024**2), contract)] == [2, 2, 2, 1]
    assert [len(batch) for batch in arrivals.plan(files(2, 10 * 1024**3), contract)] == [1, 1]
    waiting = files(100_000, 1)
    batches = arrivals.plan(waiting, contract)
    assert len(batches) == arrivals.MAX_BATCHES
    assert batches[0] + batches[1] == waiting[:400]
    assert arrivals.plan([], contract) == []


@pytest.mark.parametrize(
    ("ingest", "together"),
    [
        ({"write": "replace"}, False),
        ({"write": "upsert", "order_by": None}, False),
        ({"write": "upsert", "order_by": "changed"}, True),
        ({"write": "append"}, True),
    ],
)
def test_files_that_have_to_be_taken_in_order_make_one_batch(make_contract, ingest, together):
    """Batches run side by side: of two, the one with older files could come last."""
    batches = arrivals.plan(files(500, 1), make_contract(**ingest))
    assert len(batches) == (3 if together else 1)
    assert batches[0] == files(500, 1)[:200]


@pytest.mark.integration
def test_a_file_still_being_written_is_left_for_the_next_run(store, dataset, make_contract, monkeypatch):
    monkeypatch.setattr(arrivals, "SETTLE_SECONDS", 1.0)
    contract, prefix = make_contract(name=dataset), f"{dataset}/incoming/"
    done = threading.Event()

    def write() -> None:
        size = 0
        while not done.is_set():
            size += 1
            store.client.put_object(Bucket="raw", Key=f"{prefix}growing.csv", Body=b"x" * size)
            time.sleep(0.02)

    store.client.put_object(Bucket="raw", Key=f"{prefix}whole.csv", Body=b"x")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        assert [file.name for file in arrivals.discover(store, contract)] == ["whole.csv"]
    finally:
        done.set()
        writer.join()
    began = time.monotonic()
    assert [file.name for file in arrivals.discover(store, contract)] == ["whole.csv", "growing.csv"]
    assert time.monotonic() - began < 2
    time.sleep(2)
    began = time.monotonic()
    assert len(arrivals.discover(store, contract)) == 2
    assert time.monotonic() - began < 0.5, "files that are left alone are not waited for"


@pytest.mark.integration
def test_a_clock_that_is_ahead_keeps_no_file_waiting(store, dataset, make_contract, monkeypatch):
    monkeypatch.setattr(arrivals, "SETTLE_SECONDS", 0.5)
    for name, moment in (("future.csv", 4_000_000_000), ("past.csv", 1_000_000_000)):
        store.client.put_object(
            Bucket="raw", Key=f"{dataset}/incoming/{name}", Body=b"x", Metadata={"mtime": f"{moment}.0"}
        )
    began = time.monotonic()
    assert {file.name for file in arrivals.discover(store, make_contract(name=dataset))} == {"future.csv", "past.csv"}
    assert time.monotonic() - began < 3


@pytest.mark.integration
def test_a_file_replaced_while_it_is_loaded_is_not_lost(store, dataset, make_contract, empty_database, rows):
    """Producers write each key once; one that does not loses nothing either."""
    contract, key = make_contract(name=dataset), f"{dataset}/incoming/a.csv"
    store.client.put_object(Bucket="raw", Key=key, Body=b"id,count\na,1\n")
    files = arrivals.discover(store, contract)
    copy = store.client.copy_object

    def replaced(**arguments):
        store.client.copy_object = copy
        store.client.put_object(Bucket="raw", Key=key, Body=b"id,count\nb,2\nc,3\n")
        return copy(**arguments)

    store.client.copy_object = replaced
    core.ingest_batch(files, contract, empty_database, store)
    core.ingest_batch(arrivals.discover(store, contract), contract, empty_database, store)
    assert rows(f"SELECT id, count FROM staging.{dataset} ORDER BY id") == [("a", 1), ("b", 2), ("c", 3)]
