"""A service on a database of the test's own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

PRODUCER = "https://example.org/tests"


@pytest.fixture
def serve(empty_database: str) -> Iterator[Callable[..., TestClient]]:
    """A function that serves the test's database with some settings; returns a client without the key."""
    with ExitStack() as stack:

        def start(**more: Any) -> TestClient:
            settings = ServiceSettings(api_key="test-key", database_url=empty_database, **more)
            engine = make_engine(settings)
            migrate(engine)
            return stack.enter_context(TestClient(create_app(settings, engine), raise_server_exceptions=False))

        yield start


@pytest.fixture
def reader(serve: Callable[..., TestClient]) -> TestClient:
    """A client without the key."""
    return serve()


@pytest.fixture
def api(reader: TestClient) -> TestClient:
    """A client with the key."""
    reader.headers["Authorization"] = "Bearer test-key"
    return reader


@pytest.fixture
def listen(free_port: Callable[[], int]) -> Iterator[Callable[[TestClient], str]]:
    """A function that puts a client's service behind a real server and returns its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(client: TestClient) -> str:
        port = free_port()
        config = uvicorn.Config(client.app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        running.append((server, threading.Thread(target=server.run, daemon=True)))
        running[-1][1].start()
        while not server.started:
            time.sleep(0.02)
        return f"http://127.0.0.1:{port}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def address(api: TestClient, listen: Callable[[TestClient], str]) -> str:
    """The address of the same service behind a real server."""
    return listen(api)


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """A maker of OpenLineage events; datasets are names in the namespace `db`, or whole objects."""

    def make(
        kind: str | None = "COMPLETE", *, run: str = "r1", job: str = "j", at: int = 0, **more: Any
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "eventTime": f"2026-01-01T00:{at:02d}:00Z",
            "producer": PRODUCER,
            "run": {"runId": run, "facets": more.pop("run_facets", {})},
            "job": {"namespace": "tests", "name": job, "facets": more.pop("job_facets", {})},
        }
        if kind:
            made["eventType"] = kind
        for side in ("inputs", "outputs"):
            given = more.pop(side, ())
            made[side] = [{"namespace": "db", "name": d} if isinstance(d, str) else d for d in given]
        return made | more

    return make


@pytest.fixture(scope="session")
def openlineage_data(repository: Path) -> Path:
    """The folder of OpenLineage's own examples, which are not part of the repository."""
    folder = Path(os.environ.get("DP_TEST_DATA", repository.parent / "shared")) / "openlineage"
    if not folder.is_dir():
        pytest.skip(f"no OpenLineage test data in {folder}: set DP_TEST_DATA to the folder that holds `openlineage/`")
    return folder


@pytest.fixture(scope="session")
def real_events(openlineage_data: Path) -> list[dict[str, Any]]:
    """Events of Spark, Airflow and Marquez' food delivery example, in the order they were sent."""
    events = [json.loads(file.read_text()) for file in sorted((openlineage_data / "compat").rglob("*.json"))]
    events += json.loads((openlineage_data / "marquez" / "metadata.rendered.json").read_text())
    return events
