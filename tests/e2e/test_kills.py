"""Airflow killed while files are taken in: the task, the scheduler with its workers, the triggerer. Nothing is lost.

A lock that the test holds in Postgres stops the loader at a known stage; the loader's process is found by its
connection. After the kill the lock is let go of, and Airflow has to come back by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import yaml

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.s3 import client
from dataplatform_cli.stack.supervisor import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DP = Path(sys.executable).parent / "dp"
ROWS = 12_000  # enough that a file is loaded by itself
CONTRACT = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "events", "version": "1.0.0", "status": "active",
    "domain": "test", "team": {"name": "tests"},
    "schema": [{"name": "events", "logicalType": "object", "properties": [
        {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
        {"name": "n", "logicalType": "integer"},
        {"name": "changed", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
    ]}],
    "customProperties": [{"property": "ingest", "value": {"write": "upsert", "order_by": "changed"}}],
}  # fmt: skip
WAITING = """
SELECT client_port FROM pg_stat_activity
WHERE application_name = 'dataplatform-ingestion' AND wait_event_type = 'Lock' AND state = 'active'
"""


class Stack:
    """A platform without Superset, and the files that were put into it."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.put: dict[str, int] = {}

    def deliver(self, *names: str) -> None:
        """Put files of ROWS new keys each."""
        for name in names:
            start = len(self.put) * ROWS
            lines = [f"k{n:07},{n},2026-01-01T00:00:00Z" for n in range(start, start + ROWS)]
            body = "\n".join(["id,n,changed", *lines]).encode()
            client(self.settings).put_object(Bucket="raw", Key=f"events/incoming/{name}", Body=body)
            self.put[name] = len(body)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.dsn("loader"), autocommit=True) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type, unused-ignore]

    @contextmanager
    def stopped_at(self, lock: str) -> Iterator[psutil.Process]:
        """Hold a table's lock until the block ends, and give the process that waits for it."""
        with psycopg.connect(self.settings.dsn("loader")) as holder:
            holder.execute(f"LOCK TABLE {lock}")  # type: ignore[arg-type, unused-ignore]
            yield self._waiting()

    def _waiting(self) -> psutil.Process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for (port,) in self.rows(WAITING):
                for connection in psutil.net_connections("tcp"):
                    if connection.laddr and connection.laddr.port == port and connection.pid:
                        process = psutil.Process(connection.pid)
                        if "postgres" not in process.name():
                            return process
            time.sleep(0.2)
        raise AssertionError("no loader came to the lock")

    def is_done(self) -> bool:
        """Whether every file is in the ledger and at its place."""
        found = self.rows(
            "SELECT count(*) FROM audit.file_ingestion_log WHERE status = 'succeeded' AND moved_to IS NOT NULL"
        )
        return found == [(len(self.put),)]

    def check(self) -> None:
        """Wait until all files are in, then compare rows, ledger and objects with what was put."""
        deadline = time.monotonic() + 300
        while not self.is_done():
            assert time.monotonic() < deadline, self.rows("SELECT path, status, error FROM audit.file_ingestion_log")
            time.sleep(1)
        total = len(self.put) * ROWS
        assert self.rows("SELECT count(*), count(DISTINCT id), sum(n) FROM staging.events") == [
            (total, total, total * (total - 1) // 2)
        ]
        ledger = self.rows("SELECT path, status, rows_read, rows_inserted FROM audit.file_ingestion_log ORDER BY path")
        assert ledger == [(f"s3://raw/events/incoming/{name}", "succeeded", ROWS, ROWS) for name in sorted(self.put)]
        pages = client(self.settings).get_paginator("list_objects_v2").paginate(Bucket="raw", Prefix="events/")
        objects = [(entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", ())]
        assert all(key.startswith("events/processed/dt=") for key, _ in objects), objects
        assert {key.rpartition("/")[2]: size for key, size in objects} == self.put
        assert len(objects) == len(self.put)


@pytest.fixture(scope="module")
def stack(new_home: Callable[[], Path], free_port: Callable[[], int]) -> Iterator[Stack]:
    scratch = new_home()
    contracts = scratch / "contracts"
    contracts.mkdir()
    (contracts / "events.odcs.yaml").write_text(yaml.safe_dump(CONTRACT, sort_keys=False))
    services = ("postgres", "minio", "minio_console", "metadata", "airflow", "superset")
    ports = {f"{name}_port": free_port() for name in services}
    places = {"dp_home": scratch / "home", "contracts_dir": contracts}
    environment = {
        **os.environ,
        **{name.upper(): str(value) for name, value in {**ports, **places}.items()},
        "STACK": "local",  # whatever this machine runs on Compose is left alone
        "METADATA_API_KEY": "e2e-key",
    }
    settings = StackSettings(metadata_api_key="e2e-key", _env_file=None, **ports, **places)  # type: ignore[arg-type, call-arg]
    try:
        done = subprocess.run([str(DP), "up", "airflow"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        stack = Stack(settings)
        stack.deliver("0.csv")
        wait = time.monotonic() + 180
        while not stack.rows("SELECT to_regclass('audit.file_ingestion_log') IS NOT NULL")[0][0]:
            assert time.monotonic() < wait, "the first file was not taken in"
            time.sleep(1)
        stack.check()
        yield stack
    finally:
        subprocess.run([str(DP), "destroy", "--yes"], env=environment, capture_output=True, check=False)


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, 10)


@pytest.mark.parametrize(
    "lock", ["staging.events", "audit.file_ingestion_log IN SHARE MODE", "audit.rejected_rows, staging.events"]
)
def test_the_task_is_killed(stack: Stack, lock: str) -> None:
    number = len(stack.put)
    stack.deliver(f"{number}a.csv", f"{number}b.csv")
    with stack.stopped_at(lock) as loader:
        kill(loader)
    stack.check()


def test_the_scheduler_and_its_workers_are_killed(stack: Stack) -> None:
    stack.deliver("s1.csv", "s2.csv")
    with stack.stopped_at("audit.file_ingestion_log IN SHARE MODE"):
        scheduler = psutil.Process(Supervisor(stack.settings).states()["airflow-scheduler"]["pid"])
        kill(scheduler, *scheduler.children(recursive=True))
    stack.deliver("s3.csv")
    stack.check()


def test_the_triggerer_is_killed_while_files_arrive(stack: Stack) -> None:
    stack.deliver("t1.csv")
    triggerer = psutil.Process(Supervisor(stack.settings).states()["airflow-triggerer"]["pid"])
    kill(triggerer, *triggerer.children(recursive=True))
    stack.deliver("t2.csv", "t3.csv")
    stack.check()


def test_everything_of_airflow_is_killed_at_once(stack: Stack) -> None:
    stack.deliver("e1.csv", "e2.csv")
    with stack.stopped_at("staging.events"):
        states = Supervisor(stack.settings).states()
        roots = [psutil.Process(state["pid"]) for name, state in states.items() if name.startswith("airflow-")]
        kill(*roots, *(child for root in roots for child in root.children(recursive=True)))
    stack.check()
