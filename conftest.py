"""Fixtures that every package's tests share: real Postgres and S3 on free ports, in a scratch folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataplatform_cli.airflow_api import AirflowClient
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import postgres as postgres_server
from dataplatform_cli.stack import s3 as s3_server


def unused_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that returns a free TCP port."""
    return unused_port


@pytest.fixture(scope="session")
def new_home() -> Iterator[Callable[[], Path]]:
    """A function that returns a new folder for a stack, which any user can enter, and which ends with the tests.

    Not one of pytest's: another pytest that starts meanwhile takes the right to enter its folders from Postgres' user.
    """
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="dataplatform-test-")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack_settings(new_home: Callable[[], Path]) -> StackSettings:
    """Settings of a scratch stack: every port free, data in a folder of the test run."""
    services = ("postgres", "minio", "minio_console", "metadata", "airflow", "superset")
    ports = {f"{name}_port": unused_port() for name in services}
    return StackSettings(dp_home=new_home(), metadata_api_key="test-key", **ports)


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def postgres(stack_settings: StackSettings) -> Iterator[StackSettings]:
    """A provisioned Postgres: use `postgres.dsn("loader")` and the like, or `admin_dsn`."""
    cluster = postgres_server.locate(stack_settings)
    postgres_server.create(stack_settings, cluster)
    log = (stack_settings.home / "postgres.log").open("wb")
    identity = {} if cluster.user is None else {"user": cluster.user, "group": cluster.user, "extra_groups": []}
    if cluster.user == "nobody":
        identity["group"] = "nogroup"
    process = subprocess.Popen(cluster.command, stdout=log, stderr=log, cwd="/", **identity)  # type: ignore[call-overload]
    try:
        postgres_server.wait_until_ready(stack_settings)
        postgres_server.provision(stack_settings)
        yield stack_settings
    finally:
        _stop(process, signal.SIGINT)
        log.close()
        shutil.rmtree(postgres_server.outside_home(stack_settings).parent, ignore_errors=True)


@pytest.fixture(scope="session")
def admin_dsn(postgres: StackSettings) -> str:
    """URL of the scratch server's superuser, database postgres."""
    password = postgres.postgres_admin_password.get_secret_value()
    return f"postgresql://{postgres.postgres_admin_user}:{password}@127.0.0.1:{postgres.postgres_port}/postgres"


@pytest.fixture
def empty_database(admin_dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of the test's own, owned by the superuser and dropped afterwards."""
    name = f"test_{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**10}"
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        yield admin_dsn.rsplit("/", 1)[0] + f"/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]


class MortalPostgres:
    """A server of the test's own, to be killed."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self._cluster = postgres_server.locate(settings)
        postgres_server.create(settings, self._cluster)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        user = self._cluster.user
        identity: dict[str, Any] = {}
        if user is not None:
            identity = {"user": user, "group": "nogroup" if user == "nobody" else user, "extra_groups": []}
        with (self.settings.home / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._cluster.command, stdout=log, stderr=log, cwd="/", start_new_session=True, **identity
            )
        postgres_server.wait_until_ready(self.settings)

    def kill(self) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def database(self, name: str) -> str:
        """Make a database and return its address."""
        with postgres_server.connect(self.settings) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        password = self.settings.postgres_admin_password.get_secret_value()
        user, port = self.settings.postgres_admin_user, self.settings.postgres_port
        return f"postgresql://{user}:{password}@127.0.0.1:{port}/{name}"


@pytest.fixture(scope="module")
def mortal_postgres(new_home: Callable[[], Path], free_port: Callable[[], int]) -> Iterator[MortalPostgres]:
    """A server of the tests' own that they may kill."""
    started = MortalPostgres(StackSettings(dp_home=new_home(), metadata_api_key="k", postgres_port=free_port()))
    started.start()
    yield started
    started.kill()


@pytest.fixture(scope="session")
def s3(stack_settings: StackSettings) -> Iterator[StackSettings]:
    """A real S3 server with the buckets raw, staging and curated; `s3.s3_endpoint` is its address.

    It is the one that the stack would run here: MinIO where one is on PATH (`make test-peers` puts one there).
    """
    server = s3_server.locate(stack_settings)
    assert server.kind == os.environ.get("DP_TEST_S3", server.kind)
    with (stack_settings.home / "s3.log").open("wb") as log:
        process = subprocess.Popen(server.command, stdout=log, stderr=log, env={**os.environ, **server.environment})
    try:
        wait_for(lambda: _answers(stack_settings.minio_port), "the S3 server")
        s3_server.make_buckets(stack_settings)
        yield stack_settings
    finally:
        _stop(process, signal.SIGTERM)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return once `ready()` is true, or fail the test."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} did not come up within {seconds:.0f} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's folder."""
    return Path(__file__).parent


@pytest.fixture(scope="session")
def run_examples(repository: Path) -> Callable[[StackSettings], dict[str, str]]:
    """A function that runs every example DAG once in a stack's Airflow and returns why each did not end well, if so."""

    def run(settings: StackSettings, seconds: float = 300) -> dict[str, str]:
        airflow = AirflowClient(settings)
        names = [path.stem for path in (repository / "pipelines" / "dags" / "examples").glob("*.py")]
        wait_for(lambda: all(airflow.knows(name) for name in names), "Airflow knows the example DAGs", seconds)
        runs = {name: airflow.trigger(name) for name in names}
        ended: dict[str, str] = {}

        def all_have_ended() -> bool:
            for name, run_id in runs.items():
                state = next(item["state"] for item in airflow.runs(name) if item["dag_run_id"] == run_id)
                if state in ("success", "failed"):
                    ended[name] = "" if state == "success" else airflow.failure(name, run_id)
            return len(ended) == len(runs)

        wait_for(all_have_ended, "the example DAGs end", seconds)
        return ended

    return run
