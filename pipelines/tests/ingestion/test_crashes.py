"""Killed at any point and run again, or run twice at once: the rows are exact, the ledger true, no file lost."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from data_quality.contract import load_contract
from pipelines.ingestion import core, ledger

pytestmark = pytest.mark.integration

# Runs the ingestion of one dataset, and kills itself before or after a named function, or meets others at a gate.
RUNNER = """
import importlib, os, pathlib, signal, sys, time
from data_quality.contract import load_contract
from pipelines.ingestion import arrivals, core
from pipelines.ingestion.objects import ObjectStore, s3_client

arrivals.SETTLE_SECONDS = 0
contract, dsn, endpoint, user, secret, when, module, name = sys.argv[1:9]
contract = load_contract(contract)
store = ObjectStore(s3_client(endpoint, user, secret))
if when in ("before", "after"):
    owner = store.client if module == "client" else importlib.import_module(module)
    if "." in name:
        owner, name = getattr(owner, name.split(".")[0]), name.split(".")[1]
    original = getattr(owner, name)

    def dying(*arguments, **options):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)
files = core.discover(store, contract)
if when == "gate":
    pathlib.Path(module, str(os.getpid())).touch()
    while len(list(pathlib.Path(module).iterdir())) < int(name):
        time.sleep(0.01)
for outcome in core.ingest_batch(files, contract, dsn, store, run_id="first"):
    print(outcome.status)
"""

POINTS = [
    (when, module, name)
    for module, name in (
        ("pipelines.ingestion.core", "fetch"),
        ("pipelines.ingestion.ledger", "ensure_schema"),
        ("pipelines.ingestion.core", "_Batch._transact"),
        ("pipelines.ingestion.ledger", "new_ids"),
        ("pipelines.ingestion.core", "load_rows"),
        ("pipelines.ingestion.sandbox", "Reader.answer"),
        ("pipelines.ingestion.core", "_Batch._upload"),
        ("pipelines.ingestion.ledger", "record"),
        ("pipelines.ingestion.core", "settle_all"),
        ("pipelines.ingestion.settling", "_Moves.copy"),
        ("client", "copy_object"),
        ("client", "delete_object"),
        ("pipelines.ingestion.ledger", "record_moves"),
    )
    for when in ("before", "after")
]
GOOD = "id,day,amount,count,changed\n" + "".join(f"k{n},2026-01-01,1.5,{n},2026-01-01T00:00:00Z\n" for n in range(500))
BAD = GOOD + "x,2026-02-30,,,\n"


def command(contract, dsn, s3, *arguments: str) -> list[str]:
    secret = s3.minio_root_password.get_secret_value()
    return [sys.executable, "-c", RUNNER, contract.path, dsn, s3.s3_endpoint, s3.minio_root_user, secret, *arguments]


def put(store, dataset: str, name: str, text: str) -> None:
    store.client.put_object(Bucket="raw", Key=f"{dataset}/incoming/{name}", Body=text.encode())


@pytest.mark.parametrize(("when", "module", "name"), POINTS)
def test_killed_and_run_again(when, module, name, store, s3, dataset, make_contract, empty_database, rows):
    contract = make_contract(name=dataset)
    put(store, dataset, "a.csv", BAD)
    killed = subprocess.run(command(contract, empty_database, s3, when, module, name), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    core.ingest_batch(core.discover(store, contract), contract, empty_database, store, run_id="second")
    assert rows(f"SELECT count(*), count(DISTINCT id), sum(count) FROM staging.{dataset}") == [(500, 500, 124750)]
    ledger = "SELECT status, rows_read, rows_rejected, rows_inserted FROM audit.file_ingestion_log"
    assert rows(ledger) == [("succeeded", 501, 1, 500)]
    assert rows("SELECT line, rule FROM audit.rejected_rows") == [(502, "type")]
    [left] = store.list("raw", f"{dataset}/")
    assert left.uri.endswith("/a.csv")
    assert f"s3://raw/{dataset}/processed/dt=" in left.uri


def test_two_processes_load_a_file_once(tmp_path: Path, store, s3, dataset, make_contract, empty_database, rows):
    contract = make_contract(name=dataset)
    put(store, dataset, "a.csv", GOOD)
    gate = tmp_path / "gate"
    gate.mkdir()
    arguments = command(contract, empty_database, s3, "gate", str(gate), "3")
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        process.communicate(timeout=120)  # one that finds the file gone may fail; Airflow runs it again
    assert rows(f"SELECT count(*), count(DISTINCT id) FROM staging.{dataset}") == [(500, 500)]
    counted = "SELECT count(*), sum(rows_inserted) FROM audit.file_ingestion_log WHERE status = 'succeeded'"
    assert rows(counted) == [(1, 500)]
    [left] = store.list("raw", f"{dataset}/")
    assert "/processed/" in left.uri


def test_a_task_run_again_reports_what_it_did(store, dataset, make_contract, empty_database, rows):
    """An Airflow task is retried with the same list of files, of which some have been moved by then."""
    contract = make_contract(name=dataset)
    put(store, dataset, "a.csv", BAD)
    put(store, dataset, "b.csv", "no data")
    files = core.discover(store, contract)
    first = core.ingest_batch(files, contract, empty_database, store)
    again = core.ingest_batch(files, contract, empty_database, store)
    assert [(o.status, o.counts, o.error, o.moved_to) for o in again] == [
        (o.status, o.counts, o.error, o.moved_to) for o in first
    ]
    assert rows("SELECT count(*) FROM audit.file_ingestion_log") == [(2,)]
    store.client.put_object(Bucket="raw", Key=f"{dataset}/incoming/c.csv", Body=b"c")
    files = core.discover(store, contract)
    store.client.delete_object(Bucket="raw", Key=f"{dataset}/incoming/c.csv")
    [gone] = core.ingest_batch(files, contract, empty_database, store)
    assert (gone.status, gone.error, gone.moved_to) == ("failed", core.GONE, None)


def test_two_files_at_once_into_a_new_table(tmp_path: Path, store, s3, dataset, make_contract, empty_database, rows):
    """Each process sees both files and one key space; the table is made once and every row counted once."""
    contract = make_contract(name=dataset)
    put(store, dataset, "a.csv", GOOD)
    put(store, dataset, "b.csv", GOOD.replace("k", "l"))
    first, second = core.discover(store, contract)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = list(
            pool.map(lambda file: core.ingest_batch([file], contract, empty_database, store), (first, second))
        )
    assert [outcome.status for [outcome] in outcomes] == ["succeeded", "succeeded"]
    assert rows(f"SELECT count(*) FROM staging.{dataset}") == [(1000,)]


def test_failed_file_counts_its_attempts_and_can_be_mended(store, dataset, make_contract, empty_database, rows):
    strict = make_contract(name=dataset, rejects={"max_percent": 0})
    for _ in range(2):
        put(store, dataset, "a.csv", BAD)
        [outcome] = core.ingest_batch(core.discover(store, strict), strict, empty_database, store)
        assert (outcome.status, outcome.stage, outcome.rows_rejected) == ("failed", "validation", 1)
    assert rows("SELECT status, attempts FROM audit.file_ingestion_log") == [("failed", 2)]
    assert rows("SELECT line, rule FROM audit.rejected_rows") == [(502, "type")]
    put(store, dataset, "a.csv", BAD)
    lenient = make_contract(name=dataset)
    [outcome] = core.ingest_batch(core.discover(store, lenient), lenient, empty_database, store)
    assert (outcome.status, outcome.rows_inserted) == ("succeeded", 500)
    assert rows("SELECT status, attempts, stage, error FROM audit.file_ingestion_log") == [("succeeded", 3, None, None)]


def test_a_move_never_overwrites_another_file(store, dataset, make_contract, empty_database):
    contract = make_contract(name=dataset)
    for text in (GOOD, BAD):
        put(store, dataset, "a.csv", text)
        core.ingest_batch(core.discover(store, contract), contract, empty_database, store)
    sizes = sorted(entry.size for entry in store.list("raw", f"{dataset}/processed/"))
    assert sizes == sorted([len(GOOD), len(BAD)])


def test_loader_role_without_right_to_make_schemas(postgres, tmp_path: Path, repository):
    path = tmp_path / "x.csv"
    path.write_text("sale_id,sale_date,product_id,product_category,quantity,unit_price,total_amount,region,updated_at\n"
                    "S1,2026-01-01,P1,Toys,1,1.50,1.50,North,2026-01-01T00:00:00Z\n")  # fmt: skip
    contract = load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")
    outcome = core.ingest_file(str(path), contract, postgres.dsn("loader"))
    assert (outcome.status, outcome.error) in [("succeeded", None), ("duplicate", None)]


def test_the_reporter_sees_no_raw_text_of_rejected_rows(postgres, repository):
    contract = load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")
    with core.connected(postgres.dsn("loader")) as loader:
        ledger.ensure_schema(loader, contract)
    with psycopg.connect(postgres.dsn("reporter")) as reporter:
        reporter.execute("SELECT dataset, line, rule, message FROM audit.rejected_rows")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reporter.execute("SELECT raw FROM audit.rejected_rows")
