"""Airflow in this process, on the scratch Postgres and S3, with a real metadata service to report lineage to.

Airflow reads its environment when it is first imported, so no test module imports it (or what imports it:
`pipelines.operators`, `pipelines.factory`…) at its top: the fixture `airflow` comes first.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import airflow as airflow_server
from dataplatform_cli.stack import metadata as metadata_server
from dataplatform_cli.stack import s3 as s3_server
from dataplatform_cli.stack.supervisor import clean_environment
from pipelines.ingestion import arrivals
from pipelines.ingestion.objects import ObjectStore

if TYPE_CHECKING:
    from pipelines.testing import Run

DROP_MARTS = """
DO $$
DECLARE relation record;
BEGIN
    FOR relation IN SELECT * FROM information_schema.tables
        WHERE table_schema IN ('curated', 'candidate', 'intermediate')
    LOOP
        EXECUTE format(
            'DROP %s IF EXISTS %I.%I CASCADE',
            CASE relation.table_type WHEN 'VIEW' THEN 'VIEW' ELSE 'TABLE' END,
            relation.table_schema, relation.table_name
        );
    END LOOP;
    DROP TABLE IF EXISTS audit.check_results;
    TRUNCATE audit.model_runs, audit.publications;
END $$
"""

DROP_STAGING = """
DO $$
DECLARE relation record;
BEGIN
    FOR relation IN SELECT tablename FROM pg_tables WHERE schemaname = 'staging' LOOP
        EXECUTE format('DROP TABLE staging.%I CASCADE', relation.tablename);
    END LOOP;
END $$
"""


class MetadataService:
    """The metadata service as a process that can be stopped and started again."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers."""
        program = metadata_server.service(self.settings).programs[0]
        with (self.settings.home / "metadata.log").open("ab") as log:
            self._process = subprocess.Popen(
                program.command, env=clean_environment(program.environment), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "the metadata service did not come up"
            time.sleep(0.1)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def stop(self) -> None:
        """Stop it."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer to a GET, parsed."""
        answer = httpx.get(self.settings.metadata_url + path, params=query, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def dataset(self, namespace: str, name: str) -> dict[str, Any]:
        """Return the one dataset of a name."""
        found = self.get("/datasets", namespace=namespace, name=name)["items"]
        assert len(found) == 1, (namespace, name, [item["name"] for item in self.get("/datasets")["items"]])
        return found[0]  # type: ignore[no-any-return]

    def _answers(self) -> bool:
        try:
            return bool(self.get("/health") == {"status": "ok"})
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session", autouse=True)
def no_settling() -> Iterator[None]:
    """Files are taken at once: the tests write each with one put."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "SETTLE_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def metadata(postgres: StackSettings) -> Iterator[MetadataService]:
    """The metadata service, running. A test that stops it starts it again."""
    service = MetadataService(postgres)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def contracts(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with copies of the shipped contracts, for a test to put others beside."""
    folder = tmp_path_factory.mktemp("contracts")
    for path in (repository / "data-quality" / "contracts").rglob("*.odcs.yaml"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def airflow_environment(postgres: StackSettings, s3: StackSettings, contracts: Path) -> dict[str, str]:
    """The environment of an Airflow whose database, connections and pools are made as the stack makes them."""
    (postgres.home / "logs").mkdir(exist_ok=True)
    airflow_server.initialise(postgres)
    return {**airflow_server.component_environment(postgres), "CONTRACTS_DIR": str(contracts)}


@pytest.fixture(scope="module")
def airflow(airflow_environment: dict[str, str], metadata: MetadataService) -> Iterator[StackSettings]:
    """Airflow in this process, for the length of a module: other packages' tests have their own environment."""
    from pipelines.config.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        for name, value in airflow_environment.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        yield metadata.settings
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run]) -> Callable[..., Run]:
    """A function that runs a DAG in this process and returns what became of it."""
    return run_dag


@pytest.fixture(scope="module")
def dag_bag(airflow: StackSettings, repository: Path) -> Any:
    """The DAG folder as Airflow reads it."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(repository / "pipelines" / "dags")


@pytest.fixture(scope="session")
def store(s3: StackSettings) -> ObjectStore:
    """The real object store."""
    return ObjectStore(s3_server.client(s3))


@pytest.fixture(scope="session")
def query(postgres: StackSettings) -> Callable[..., list[tuple[Any, ...]]]:
    """A function that runs a statement in the warehouse as a role (loader unless told) and returns its rows."""

    def execute(statement: str, role: str = "loader") -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres.dsn(role), autocommit=True) as connection:
            done = connection.execute(statement)  # type: ignore[call-overload]
            return done.fetchall() if done.description else []

    return execute


@pytest.fixture(scope="module")
def clean_warehouse(query: Callable[..., list[tuple[Any, ...]]], store: ObjectStore) -> Iterator[None]:
    """No file of the dataset sales in the buckets and no table in the warehouse, before and after."""

    def clean() -> None:
        for bucket, prefix in (("raw", "sales/"), ("staging", "sales/"), ("curated", "")):
            for entry in list(store.list(bucket, prefix)):
                store.client.delete_object(Bucket=bucket, Key=entry.uri.split("/", 3)[3])
        query(DROP_MARTS, "transformer")
        query(DROP_STAGING)
        query("DROP TABLE IF EXISTS audit.rejected_rows, audit.file_ingestion_log, audit.contracts CASCADE")

    clean()
    yield
    clean()
