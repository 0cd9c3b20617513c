"""The hub under load with a real Kafka, while everything it is made of is killed: 30 times, one after the other.

What was acknowledged is in the stores once in effect, and each run's events stand in the order they were sent.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from dataplatform_cli.bench.kafka import Broker

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("DP_TEST_KILLS", "30"))
KEY = {"Authorization": "Bearer k"}
EVENTS_A_REQUEST = 10


class Process:
    """A part of the hub that is started again whenever it was killed."""

    def __init__(self, module: list[str], environment: dict[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", *module]
        self._environment = os.environ | environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it had ended by itself, see {self._log}"
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(40) == 0

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass
class Sender:
    """A team that sends run after run, each event until it is acknowledged, and spans beside them."""

    url: str
    name: str
    stop: threading.Event
    acknowledged: list[tuple[str, int]] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    refused: int = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.url, headers=KEY, timeout=30) as client:
            for number in count():
                if self.stop.is_set():
                    return
                run, start = f"{self.name}-run-{number // 4}", (number % 4) * EVENTS_A_REQUEST
                events = [_event(run, n) for n in range(start, start + EVENTS_A_REQUEST)]
                ids = [f"{random.getrandbits(64) or 1:016x}" for _ in range(5)]
                self._send(client, "lineage", {"namespace": self.name, "events": events})
                self.acknowledged += [(run, n) for n in range(start, start + EVENTS_A_REQUEST)]
                self._send(client, "telemetry", {"namespace": self.name, "spans": [_span(run, id_) for id_ in ids]})
                self.spans += ids

    def _send(self, client: httpx.Client, what: str, body: dict[str, Any]) -> None:
        """Send until it is acknowledged; also when told to stop, as what is not acknowledged would be unknown."""
        while True:
            with suppress(httpx.TransportError):
                answer = client.post(f"/api/v1/{what}/ingest", json=body)
                if answer.status_code == 202:
                    return
                assert answer.status_code == 503, answer.text
            self.refused += 1
            time.sleep(0.2)


def _event(run: str, number: int) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
    told = {"eventType": "RUNNING", "eventTime": at.isoformat(), "producer": f"https://example.org/{number}"}
    return told | {"run": {"runId": run}, "job": {"name": "load"}}


def _span(run: str, id_: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"trace_id": f"{id_}{id_}", "span_id": id_, "name": "work", "start_time": now, "end_time": now,
            "attributes": {"lineage.run_id": run}}  # fmt: skip


@contextmanager
def running(processes: dict[str, Any]) -> Iterator[None]:
    try:
        for process in processes.values():
            process.start()
        yield
        for process in processes.values():
            process.stop()
    finally:
        for process in processes.values():
            process.end()


def test_nothing_acknowledged_is_lost_or_doubled(
    kafka: Broker, mortal_postgres: Any, free_port: Callable[[], int], tmp_path: Path
) -> None:
    database, port = mortal_postgres.database("hub"), free_port()
    common = {"DATABASE_URL": database, "KAFKA_BOOTSTRAP_SERVERS": kafka.address, "LOG_LEVEL": "WARNING",
              "METRICS_PORT": "0", "KAFKA_DELIVERY_SECONDS": "5", "TELEMETRY_BATCH_SECONDS": "1"}  # fmt: skip
    consumer = ["metadata_service.streaming"]
    hub = {
        "api": Process(["metadata_service"], common | {"API_KEY": "k", "PORT": str(port)}, tmp_path / "api.log"),
        "lineage": Process([*consumer, "lineage"], common, tmp_path / "lineage.log"),
        "lineage-2": Process([*consumer, "lineage"], common, tmp_path / "lineage-2.log"),
        "telemetry": Process([*consumer, "telemetry"], common, tmp_path / "telemetry.log"),
    }
    mortals: dict[str, Any] = {"kafka": kafka, "postgres": mortal_postgres} | hub
    chance = random.Random(7)  # noqa: S311 - reproducible, not secret
    with running(hub):
        _wait(lambda: httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200)
        stop = threading.Event()
        senders = [Sender(f"http://127.0.0.1:{port}", f"team-{n}", stop) for n in range(4)]
        threads = [threading.Thread(target=sender.run) for sender in senders]
        for thread in threads:
            thread.start()
        names = list(mortals)
        for number in range(KILLS):
            time.sleep(chance.uniform(0.5, 3))
            victim = mortals[names[number % len(names)]]
            victim.kill()
            time.sleep(chance.uniform(0, 0.5))
            victim.start()
        time.sleep(2)
        stop.set()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        acknowledged = [item for sender in senders for item in sender.acknowledged]
        spans = [id_ for sender in senders for id_ in sender.spans]
        assert len(acknowledged) > KILLS * EVENTS_A_REQUEST
        assert sum(sender.refused for sender in senders) > 0  # or nothing was killed while somebody sent
        _wait(lambda: _count(database, "event") >= len(acknowledged), 180)
        _wait(lambda: _count(database, "telemetry_span") >= len(spans), 120)
        _wait(lambda: httpx.get(f"http://127.0.0.1:{port}/health/projection").json()["backlog"] == 0, 120)
    with psycopg.connect(database) as connection:
        stored = connection.execute("SELECT run_id, event_time FROM event ORDER BY id").fetchall()
        kept = [id_ for (id_,) in connection.execute("SELECT span_id FROM telemetry_span").fetchall()]
        runs = connection.execute("SELECT count(*) FROM run").fetchone()
    assert Counter((run, at.microsecond) for run, at in stored) == Counter(acknowledged)
    assert Counter(kept) == Counter(spans)
    assert runs == (len({run for run, _ in acknowledged}),)
    for run in {run for run, _ in stored}:
        order = [at.microsecond for name, at in stored if name == run]
        assert order == sorted(order), run


def _count(database: str, table: str) -> int:
    with suppress(psycopg.OperationalError), psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
        return int(row[0])
    return -1


def _wait(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if ready():
                return
        assert time.monotonic() < deadline
        time.sleep(0.2)
