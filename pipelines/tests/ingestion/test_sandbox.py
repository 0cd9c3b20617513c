"""Files that kill, stall or fill their reader: the file is refused, the caller lives on and reads the next one."""

from __future__ import annotations

import gzip
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pipelines.ingestion import core, sandbox
from pipelines.ingestion.model import Limits, SourceFile

pytestmark = pytest.mark.integration

H = "id,day,amount,count,changed\n"


def prepare(path: Path, contract, folder: Path, limits: Limits | None = None):
    source = SourceFile(str(path), contract.name, path.stat().st_size, "2026-01-02T00:00:00+00:00")
    return core.prepare(source, contract, None, folder=folder, limits=limits)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(H + "a,,,,\n")
    return path


def kill_when_reading() -> threading.Thread:
    """Kill this thread's reading process as soon as it reads."""
    sandbox.reader().warm_up(Limits())
    process = sandbox.reader()._process
    assert process is not None

    def kill() -> None:
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGSEGV)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_crash_of_the_parser_is_the_files_failure(tmp_path: Path, make_contract, good):
    contract = make_contract()
    large = tmp_path / "large.csv"
    large.write_text(H + "".join(f"k{n},,,,\n" for n in range(1_500_000)))
    thread = kill_when_reading()
    crashed = prepare(large, contract, tmp_path / "out")
    thread.join()
    assert (crashed.status, crashed.stage) == ("failed", "processing")
    assert crashed.error == "the reader crashed on it (signal SIGSEGV)"
    assert prepare(good, contract, tmp_path / "out").status == "staged"


def test_a_crash_in_a_group_fails_none_of_the_others(
    tmp_path: Path, store, dataset, make_contract, empty_database, rows
):
    """The group is read again file by file, so that only what kills the reader fails."""
    contract = make_contract(name=dataset)
    for number in range(3):
        store.client.put_object(
            Bucket="raw", Key=f"{dataset}/incoming/{number}.csv", Body=f"{H}k{number},,,,\n".encode()
        )
    files = core.discover(store, contract)
    sandbox.reader().warm_up(Limits())
    process = sandbox.reader()._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)  # it gets the request and dies before it answers
    threading.Timer(1.0, os.kill, [process.pid, signal.SIGKILL]).start()
    outcomes = core.ingest_batch(files, contract, empty_database, store)
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3
    assert rows(f"SELECT id FROM staging.{dataset} ORDER BY id") == [("k0",), ("k1",), ("k2",)]


def test_a_file_that_takes_too_long_is_refused(tmp_path: Path, make_contract, good):
    contract = make_contract()
    large = tmp_path / "large.csv"
    large.write_text(H + "".join(f"k{n},,,,\n" for n in range(2_000_000)))
    slow = prepare(large, contract, tmp_path / "out", Limits(seconds=0.5))
    assert (slow.status, slow.stage) == ("failed", "processing")
    assert slow.error == "took longer to read than the 0.5 seconds it may"
    assert prepare(good, contract, tmp_path / "out").status == "staged"


def test_a_file_that_needs_too_much_memory_is_refused(tmp_path: Path, make_contract, good):
    contract = make_contract()
    wide = tmp_path / "wide.ndjson"
    with wide.open("w") as file:  # one record of two gigabytes
        file.write('{"id": "')
        for _ in range(64):
            file.write("x" * (32 << 20))
        file.write('"}\n')
    sandbox.reader().stop()
    refused = prepare(wide, contract, tmp_path / "out", Limits(memory=1536 << 20))
    sandbox.reader().stop()
    wide.unlink()
    assert refused.status == "failed"
    assert prepare(good, contract, tmp_path / "out").status == "staged"


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, make_contract):
    bomb = tmp_path / "bomb.csv.gz"
    with gzip.open(bomb, "wb", 6) as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
    assert bomb.stat().st_size < 2 << 20
    refused = prepare(bomb, make_contract(), tmp_path / "out")
    assert (refused.status, refused.stage) == ("failed", "validation")
    assert refused.error == "unpacks to more than 268,435,456 bytes, the most that is taken of such a file"


@pytest.mark.parametrize("depth", [100_000, 3_000_000])
def test_a_very_deep_document_ends_no_worker(depth, tmp_path: Path, make_contract, good):
    contract = make_contract()
    deep = tmp_path / "deep.ndjson"
    deep.write_text('{"id": "a", "x": ' + "[" * depth + "]" * depth + '}\n{"id": "b"}\n')
    found = prepare(deep, contract, tmp_path / "out")
    assert found.status in ("staged", "failed")
    assert prepare(good, contract, tmp_path / "out").status == "staged"


def test_the_reader_has_no_secrets_and_ends_with_its_parent(tmp_path: Path, make_contract, good):
    prepare(good, make_contract(), tmp_path / "out")
    process = sandbox.reader()._process
    assert process is not None
    assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
    sandbox.reader().stop()
    assert process.poll() is not None
