"""The service, and Postgres, killed under load: what was acknowledged is there, once, and the graph is right."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
KEY = {"Authorization": "Bearer k"}

# The graph by names: ids differ from one store to another.
GRAPH = (
    "SELECT namespace, name, created_at, updated_at FROM job",
    "SELECT namespace, name, fields::text, description, created_at, updated_at, deleted_at FROM dataset",
    "SELECT r.id, j.name, r.state, r.started_at, r.ended_at, r.parent_run_id FROM run r JOIN job j ON j.id = r.job_id",
    "SELECT r.run_id, r.direction, d.name FROM run_dataset r JOIN dataset d ON d.id = r.dataset_id",
    "SELECT j.name, e.direction, e.origin, d.name, e.run_id FROM job_dataset e "
    "JOIN job j ON j.id = e.job_id JOIN dataset d ON d.id = e.dataset_id",
    "SELECT j.name, d.name, c.field, i.name, c.input_field FROM column_edge c JOIN job j ON j.id = c.job_id "
    "JOIN dataset d ON d.id = c.dataset_id JOIN dataset i ON i.id = c.input_dataset_id",
    "SELECT owner_type, name, value::text, event_time FROM facet",
    "SELECT d.name, q.check_name, q.status, q.run_id FROM quality_current c "
    "JOIN dataset d ON d.id = c.dataset_id JOIN quality_result q ON q.id = c.result_id",
    "SELECT state, passed, failed FROM quality_state",
)


@contextmanager
def service(port: int, database: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service until the block ends."""
    wanted = {"API_KEY": "k", "DATABASE_URL": database, "PORT": str(port), "LOG_LEVEL": "ERROR"}
    process = subprocess.Popen([sys.executable, "-m", "metadata_service"], env=os.environ | wanted)
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline, "the service did not come up"
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass
class Load:
    """Clients that send events one by one and in batches until they are told to stop."""

    port: int
    events: Iterator[dict[str, Any]]
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        threads = [threading.Thread(target=self._send, args=(size,)) for size in (1, 1, 1, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, size: int) -> None:
        base = f"http://127.0.0.1:{self.port}/api/v1/lineage"
        with httpx.Client(headers=KEY, timeout=20) as client:
            while not self.stop.is_set():
                with self._lock:
                    mine = [next(self.events) for _ in range(size)]
                try:
                    if size == 1:
                        answer = client.post(base, json=mine[0])
                        taken = mine if answer.status_code == 201 else []
                    else:
                        answer = client.post(f"{base}/batch", json=mine)
                        results = answer.json()["results"] if answer.status_code == 200 else []
                        taken = [mine[item["index"]] for item in results if item["status"] != "rejected"]
                except httpx.TransportError:
                    taken = []
                with self._lock:
                    self.acknowledged += [item["producer"] for item in taken]
                    self.refused += len(mine) - len(taken)
                time.sleep(0.005 * size if taken else 0.1)


def _events(event: Make, seed: int) -> Iterator[dict[str, Any]]:
    """Yield events of which each can be told by its producer."""
    chance, number = random.Random(seed), 0  # noqa: S311 - reproducible, not secret
    while True:
        number += 1
        job = chance.randrange(20)
        source = {"namespace": "db", "name": f"t{chance.randrange(30)}", "field": "a"}
        lineage = {"fields": {"b": {"inputFields": [source]}}}
        checks = {"assertions": [{"assertion": "rows", "success": chance.random() < 0.5}]}
        schema = {"fields": [{"name": "b", "type": chance.choice(["int", "text"])}]}
        facets = {"columnLineage": lineage, "schema": schema, "dataQualityAssertions": checks}
        yield event(
            chance.choice(["START", "COMPLETE", "FAIL"]),
            run=f"run-{number // 2}",
            job=f"j{job}",
            at=chance.randrange(60),
            inputs=[f"t{job}"],
            outputs=[{"namespace": "db", "name": f"t{job + 1}", "facets": facets}],
        ) | {"producer": f"https://example.org/{seed}/{number}"}


def _graph(database: str) -> list[list[str]]:
    with psycopg.connect(database) as connection:
        return [sorted(map(repr, connection.execute(query).fetchall())) for query in GRAPH]  # type: ignore[call-overload]


def _wait_until_projected(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        now = httpx.get(f"http://127.0.0.1:{port}/health/projection").json()
        if not now["backlog"]:
            assert now["failed"] == 0
            return
        assert time.monotonic() < deadline, now
        time.sleep(0.1)


@pytest.mark.parametrize("victim", ["service", "postgres"])
def test_killed_under_load(mortal_postgres: Any, free_port: Callable[[], int], event: Make, victim: str) -> None:
    database, port = mortal_postgres.database(f"killed_{victim}"), free_port()
    load = Load(port, _events(event, len(victim)))
    sender = threading.Thread(target=load.run)
    if victim == "service":
        for _ in range(2):
            with service(port, database) as process:
                if not sender.is_alive():
                    sender.start()
                time.sleep(1.0)
                process.kill()
        with service(port, database):
            load.stop.set()
            sender.join()
            _wait_until_projected(port)
    else:
        with service(port, database):
            sender.start()
            for _ in range(2):
                time.sleep(1.0)
                mortal_postgres.kill()
                time.sleep(0.3)
                mortal_postgres.start()
            time.sleep(1.0)
            load.stop.set()
            sender.join()
            _wait_until_projected(port)
    assert len(load.acknowledged) > 200
    assert load.refused
    with psycopg.connect(database) as connection:
        stored = [row[0] for row in connection.execute("SELECT payload FROM event")]
    producers = [item["producer"] for item in stored]
    assert len(producers) == len(set(producers))
    assert set(load.acknowledged) <= set(producers)

    replayed, port = mortal_postgres.database(f"replayed_{victim}"), free_port()
    random.Random(1).shuffle(stored)  # noqa: S311 - reproducible, not secret
    with service(port, replayed):
        for first in range(0, len(stored), 500):
            batch = stored[first : first + 500]
            answer = httpx.post(f"http://127.0.0.1:{port}/api/v1/lineage/batch", json=batch, headers=KEY, timeout=60)
            assert answer.json()["status"] == "success"
        _wait_until_projected(port)
    for mine, expected in zip(_graph(database), _graph(replayed), strict=True):
        assert mine == expected
