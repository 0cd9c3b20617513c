"""Loader, Postgres and S3 killed with SIGKILL at every call between them, then run on: as if nothing had happened.

A point is a call that the loader makes to a service: a round trip to Postgres or a request to S3, whatever the code
around it looks like. For each point a dataset of its own is loaded, disturbed there, and loaded again; table, ledger,
rejected rows and objects must be those of a dataset that nothing disturbed.

By default some of the calls are points, 75 in all; with DP_TEST_EVERY_POINT=1 most are, 300 in all (ten minutes).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from data_quality.contract import Contract, load_contract
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import postgres as postgres_server
from dataplatform_cli.stack import s3 as s3_server
from pipelines.ingestion import core
from pipelines.ingestion.model import SourceFile
from pipelines.ingestion.objects import ObjectStore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

# Forks a loader for each line of its input, which costs a tenth of starting one. The loader counts its calls and, at
# the one that is asked for, kills itself or waits for leave to go on. An error makes it try again, as Airflow does.
LOADERS = """
import json, os, signal, sys, threading, time
import boto3, psycopg, pyarrow
from data_quality.contract import load_contract
from pipelines.ingestion import arrivals, core
from pipelines.ingestion.objects import ObjectStore, s3_client

def tell(**what):
    os.write(1, (json.dumps(what) + "\\n").encode())

def load(contract, dsn, s3, at, after, pause):
    calls, lock = [], threading.Lock()

    def disturbed(label, call):
        with lock:
            calls.append(label)
            here = len(calls) - 1 == at
        if here and after:
            result = call()
        if here and pause:
            tell(paused=label)
            os.read(0, 1)
        elif here:
            tell(killed=label)
            os.kill(os.getpid(), signal.SIGKILL)
        return result if here and after else call()

    wait = psycopg.Connection.wait
    psycopg.Connection.wait = lambda self, gen, *a, **k: disturbed(
        "sql " + gen.__name__, lambda: wait(self, gen, *a, **k)
    )
    store = ObjectStore(s3_client(*s3))
    request = store.client._make_api_call
    store.client._make_api_call = lambda name, *a: disturbed("s3 " + name, lambda: request(name, *a))
    arrivals.SETTLE_SECONDS = 0
    files, outcomes, errors = None, None, []
    while outcomes is None and len(errors) < 30:
        try:
            files = files or core.discover(store, load_contract(contract))
            outcomes = core.ingest_batch(files, load_contract(contract), dsn, store, run_id="first")
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            time.sleep(0.3)
    tell(calls=calls, errors=errors, done=outcomes is not None)

s3_client("http://127.0.0.1:1", "a", "b")
tell(ready=True)
while True:
    line = b""
    while not line.endswith(b"\\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit()
        line += byte
    pid = os.fork()
    if not pid:
        try:
            load(**json.loads(line))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    tell(ended=True)
"""


class Server:
    """A service of the test's own, to be killed and started again."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]], is_ready: Callable[[], bool]) -> None:
        self._start, self._is_ready = start, is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers; a killed Postgres must first be let go of by its children."""
        deadline = time.monotonic() + 60
        while not (self._process and self._process.poll() is None and self._is_ready()):
            assert time.monotonic() < deadline, "the service did not come up"
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Place:
    """Where the datasets are loaded."""

    settings: StackSettings
    postgres: Server
    s3: Server
    loaders: subprocess.Popen[bytes]

    @property
    def dsn(self) -> str:
        return self.settings.dsn("loader")

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(s3_server.client(self.settings))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, options="-c timezone=UTC") as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def load(self, contract: Contract, at: int, after: bool = False, pause: Server | None = None) -> dict[str, Any]:
        """Load a dataset's files, disturbed at a call, and return what was told on the way."""
        s3 = [self.settings.s3_endpoint, self.settings.minio_root_user,
              self.settings.minio_root_password.get_secret_value()]  # fmt: skip
        order = {"contract": contract.path, "dsn": self.dsn, "s3": s3, "at": at, "after": after, "pause": bool(pause)}
        assert self.loaders.stdin is not None
        self.loaders.stdin.write(json.dumps(order).encode() + b"\n")
        told: dict[str, Any] = {}
        while "ended" not in told:
            told |= self.hear()
            if told.get("paused") and pause:
                pause.kill()
                pause.start()
                self.loaders.stdin.write(b"g")
                told["killed"] = told.pop("paused")
        return told

    def hear(self) -> dict[str, Any]:
        assert self.loaders.stdout is not None
        line = self.loaders.stdout.readline()
        assert line, "the loaders are gone"
        return dict(json.loads(line))


@pytest.fixture(scope="module")
def place(new_home: Callable[[], Path], free_port: Callable[[], int]) -> Iterator[Place]:
    home = new_home()
    ports = {f"{name}_port": free_port() for name in ("postgres", "minio", "minio_console")}
    settings = StackSettings(dp_home=home, _env_file=None, **ports)  # type: ignore[call-arg, arg-type]
    cluster, store = postgres_server.locate(settings), s3_server.locate(settings)
    postgres_server.create(settings, cluster)
    identity: dict[str, Any] = {} if cluster.user is None else {"user": cluster.user, "extra_groups": []}
    if cluster.user is not None:
        identity["group"] = "nogroup" if cluster.user == "nobody" else cluster.user
    log = (home / "log").open("ab")

    def answers(check: Callable[[], Any]) -> Callable[[], bool]:
        def ready() -> bool:
            try:
                check()
            except Exception:
                return False
            return True

        return ready

    postgres = Server(
        lambda: subprocess.Popen(cluster.command, stdout=log, stderr=log, cwd="/", **identity),
        answers(lambda: postgres_server.connect(settings).close()),
    )
    s3 = Server(
        lambda: subprocess.Popen(store.command, stdout=log, stderr=log, env={**os.environ, **store.environment}),
        answers(lambda: s3_server.make_buckets(settings)),
    )
    loaders = subprocess.Popen(
        [sys.executable, "-c", LOADERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
    )
    place = Place(settings, postgres, s3, loaders)
    try:
        postgres.start()
        s3.start()
        postgres_server.provision(settings)
        assert place.hear() == {"ready": True}
        yield place
    finally:
        loaders.kill()
        loaders.wait()
        postgres.kill()
        s3.kill()
        log.close()
        shutil.rmtree(postgres_server.outside_home(settings).parent, ignore_errors=True)


HEADER = "id,day,amount,count,changed\n"


def lines(keys: range, day: int = 1, key: str = "k") -> str:
    return HEADER + "".join(f"{key}{n},2026-01-01,1.5,{n},2026-01-{day:02}T00:00:00Z\n" for n in keys)


@dataclass(frozen=True)
class Scenario:
    """A table as it is, and the files that come."""

    name: str
    ingest: dict[str, Any]
    before: dict[str, str]
    files: dict[str, str]


# The small ones are a group, that is one transaction; what is large goes alone and streams.
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "first",
            {},
            {},
            {
                "a.csv": lines(range(300)) + "x,2026-02-30,,,\n",
                "b_copy.csv": lines(range(300)) + "x,2026-02-30,,,\n",
                "c_page.csv": "<!DOCTYPE html><html></html>",
                "d.ndjson": '{"id":"k1","count":7,"changed":"2026-01-09T00:00:00Z"}\n{"id":"z"}\n',
                "e_bad.csv": HEADER + "a,x,,,\n" * 20,
            },
        ),
        Scenario(
            "upsert",
            {"write": "upsert"},
            {"0.csv": lines(range(500))},
            {"1_large.csv": lines(range(400, 9000), 2), "2_late.csv": lines(range(450, 520), 1), "3.csv": "id,x\n"},
        ),
        Scenario(
            "history",
            {"write": "scd2"},
            {"0.csv": lines(range(100))},
            {"1.csv": lines(range(50, 150), 2), "2.csv": lines(range(140, 160), 3)},
        ),
        Scenario("replaced", {"write": "replace"}, {"0.csv": lines(range(100))}, {"1.csv": lines(range(50, 70), 2)}),
    )
}

FIELDS = [
    {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
    {"name": "day", "logicalType": "date"},
    {"name": "amount", "logicalType": "number", "physicalType": "numeric(12,2)"},
    {"name": "count", "logicalType": "integer"},
    {"name": "changed", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
]


@dataclass
class Matrix:
    """Makes datasets in the state of a scenario, and says what became of them."""

    place: Place
    folder: Path
    made: int = 0

    def dataset(self, scenario: Scenario) -> Contract:
        """Return the contract of a new dataset whose files wait."""
        self.made += 1
        name = f"{scenario.name}{self.made}"
        path = self.folder / f"{name}.odcs.yaml"
        ingest = {"order_by": "changed", "write": "upsert", "rejects": {"max_percent": 50}, **scenario.ingest}
        document = {
            "apiVersion": "v3.1.0", "kind": "DataContract", "id": name, "version": "1.0.0", "status": "active",
            "domain": "test", "team": {"name": "tests"},
            "schema": [{"name": name, "logicalType": "object", "properties": FIELDS}],
            "customProperties": [{"property": "ingest", "value": ingest}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        contract = load_contract(path)
        if scenario.before:
            self.put(name, scenario.before)
            self.again(contract)
        self.put(name, scenario.files)
        return contract

    def put(self, dataset: str, files: dict[str, str]) -> None:
        for name, text in files.items():
            key = f"{dataset}/incoming/{name}"
            self.place.store.client.put_object(Bucket="raw", Key=key, Body=text.encode())

    def waiting(self, contract: Contract) -> list[SourceFile]:
        return core.discover(self.place.store, contract)

    def again(self, contract: Contract, files: list[SourceFile] | None = None) -> None:
        """Load the files of the task that was cut short, as its retry does; else what waits, as the next run does."""
        files = self.waiting(contract) if files is None else files
        core.ingest_batch(files, contract, self.place.dsn, self.place.store, run_id="again")

    def state(self, contract: Contract) -> dict[str, Any]:
        """Return all that a dataset has come to, without what differs between any two loads."""
        name = contract.name
        rows = self.place.rows(
            f"SELECT to_jsonb(t) - '_file_id' - '_loaded_at' - '_valid_from' - '_valid_to' FROM staging.{name} AS t"
        )
        ledger = self.place.rows(
            "SELECT path, status, stage, error, rows_read, rows_rejected, rows_deduplicated, rows_inserted,"
            f" rows_updated, rows_unchanged, moved_to FROM audit.file_ingestion_log WHERE dataset = '{name}'"
        )
        rejected = self.place.rows(
            f"SELECT path, record, line, column_name, rule, raw FROM audit.rejected_rows WHERE dataset = '{name}'"
        )
        unexplained = self.place.rows(
            f"SELECT _file_id FROM staging.{name} WHERE _file_id NOT IN"
            f" (SELECT id FROM audit.file_ingestion_log WHERE dataset = '{name}' AND status = 'succeeded')"
        )
        objects = [(entry.uri, entry.size) for entry in self.place.store.list("raw", f"{name}/")]
        state = {
            "rows": sorted(json.dumps(row, sort_keys=True) for [row] in rows),
            "ledger": sorted(ledger, key=str),
            "rejected": sorted(rejected, key=str),
            "objects": [item for item in objects if ".rejected.parquet" not in item[0]],
            "unexplained": unexplained,
        }
        return dict(eval(re.sub(rf"\b{name}\b", "DATASET", repr(state))))  # noqa: S307 - values of our own


@pytest.fixture(scope="module")
def matrix(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(place, tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def undisturbed(matrix: Matrix) -> Callable[[str], tuple[dict[str, Any], list[str]]]:
    """A function that returns what a scenario comes to, and the calls that it takes."""
    known: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def outcome(name: str) -> tuple[dict[str, Any], list[str]]:
        if name not in known:
            contract = matrix.dataset(SCENARIOS[name])
            told = matrix.place.load(contract, -1)
            assert told["done"], told
            assert told["errors"] == []
            known[name] = matrix.state(contract), told["calls"]
        return known[name]

    return outcome


def compare(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return what differs, briefly."""
    return [
        f"{part}: unwanted {[item for item in found[part] if item not in wanted[part]][:3]},"
        f" missing {[item for item in wanted[part] if item not in found[part]][:3]},"
        f" {len(found[part])} for {len(wanted[part])}"
        for part in wanted
        if found[part] != wanted[part]
    ]


def disturb(
    matrix: Matrix, undisturbed: Any, name: str, step: int, after: bool, server: Server | None, retried: bool = True
) -> int:
    """Disturb a scenario at every so many calls, and return at how many points."""
    wanted, calls = undisturbed(name)
    assert wanted["unexplained"] == []
    assert not [uri for uri, _ in wanted["objects"] if "/incoming/" in uri]
    wrong, points = [], 0
    for at in range(step // 3, len(calls), 1 + step // 4 if EVERY else step):
        contract = matrix.dataset(SCENARIOS[name])
        files = matrix.waiting(contract) if retried else None
        told = matrix.place.load(contract, at, after, server)
        if "killed" not in told:
            continue  # threads made fewer calls this time
        points += 1
        if server and not told.get("done"):
            wrong.append(f"{at} {told['killed']}: never got through: {told.get('errors', [])[-2:]}")
        matrix.again(contract, files)
        found = matrix.state(contract)
        if not retried:  # a task that is not tried again leaves the address of what it moved out of the ledger
            found, expected = without_addresses(found), without_addresses(wanted)
        else:
            expected = wanted
        wrong += [f"{at} {told['killed']}: {what}" for what in compare(found, expected)]
    assert not wrong, "\n".join(wrong)
    return points


def without_addresses(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "ledger": sorted((entry[:-1] for entry in state["ledger"]), key=str)}


EVERY = bool(os.environ.get("DP_TEST_EVERY_POINT"))


@pytest.mark.parametrize(
    ("name", "step", "after", "retried"),
    [
        ("first", 4, False, True),
        ("upsert", 7, False, True),
        ("upsert", 12, True, False),
        ("history", 10, False, False),
        ("replaced", 8, False, True),
    ],
)
def test_the_loader_is_killed(matrix, undisturbed, name, step, after, retried):
    assert disturb(matrix, undisturbed, name, step, after, None, retried) >= 4


@pytest.mark.parametrize(("name", "step"), [("first", 18), ("upsert", 18)])
def test_postgres_is_killed(matrix, undisturbed, name, step):
    assert disturb(matrix, undisturbed, name, step, False, matrix.place.postgres) >= 4


@pytest.mark.parametrize(("name", "step", "after"), [("first", 12, False), ("upsert", 16, True)])
def test_the_object_store_is_killed(matrix, undisturbed, name, step, after):
    assert disturb(matrix, undisturbed, name, step, after, matrix.place.s3) >= 4
