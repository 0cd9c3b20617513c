"""Consumers among each other, as a process, and telling a Marquez."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from metadata_service.settings import ConsumerSettings
from metadata_service.streaming import __main__ as program
from metadata_service.streaming.dead_letters import list_letters
from metadata_service.streaming.handlers import MarquezHandler

pytestmark = pytest.mark.integration
Make = Callable[..., Any]


def test_consumers_share_the_work_and_take_over_from_each_other(
    api: TestClient, hub: ConsumerSettings, consuming: Make, until: Make, count: Make, event: Make
) -> None:
    def send(first: int) -> None:
        for start in range(first, first + 300, 50):
            events = [event(f"r{n % 20}", n) for n in range(start, start + 50)]
            assert api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events}).status_code == 202

    one, two = CollectorRegistry(), CollectorRegistry()
    numbers = iter(range(1000))

    def both_work() -> bool:
        number = next(numbers)
        events = [event(f"r{n}", number) for n in range(20)]
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events})
        time.sleep(0.2)
        return all(r.get_sample_value("hub_consumer_items_total", {"consumer": "lineage"}) for r in (one, two))

    with consuming(hub, "lineage", one):
        with consuming(hub, "lineage", two):
            until(both_work)  # both have partitions before anything that counts is sent
            send(1000)
        send(2000)
        until(lambda: count("event WHERE event_time >= '2026-01-01T00:00:00.001Z'") == 600)
    assert list(list_letters(hub)) == []
    with psycopg.connect(hub.libpq_url) as connection:
        rows = connection.execute("SELECT run_id, event_time FROM event ORDER BY id").fetchall()
    for run in {run for run, _ in rows}:
        times = [at for name, at in rows if name == run]
        assert times == sorted(times)


def test_a_consumer_that_fails_ends_all() -> None:
    class Failing:
        def run(self) -> None:
            raise RuntimeError("broken")

        def stop(self) -> None:
            pass

    class Waiting:
        def __init__(self) -> None:
            self._stopping = threading.Event()
            self.stop = self._stopping.set

        def run(self) -> None:
            assert self._stopping.wait(10)

    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        for consumers in ([Waiting(), Failing()], [Failing(), Waiting()]):
            with pytest.raises(RuntimeError, match="broken"):
                program.run(consumers)  # type: ignore[arg-type]
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def test_a_marquez_is_told_too(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, hub: ConsumerSettings, consuming: Make, until: Make, event: Make
) -> None:
    monkeypatch.setattr("metadata_service.streaming.consumer.LONGEST_PAUSE", 0.2)
    with listening(hub) as marquez, consuming(hub, marquez.handler):
        events = [event("r1", 1), event("refused", 2), event("failing", 2), event("r2", 3)]
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events})
        until(lambda: {told["run"]["runId"] for told in marquez.got} == {"r1", "r2"})
        assert {told["run"]["runId"] for told in marquez.got} == {"r1", "r2"}
        assert marquez.asked > 3  # it was away at first
        until(lambda: len(list(list_letters(hub))) == 2)
        assert {(letter.consumer, letter.reason[:31]) for letter in list_letters(hub)} == {
            ("marquez", "Marquez refused it: HTTP 422 "), ("marquez", "Marquez refused it: HTTP 500 "),
        }  # fmt: skip


class FakeMarquez(ThreadingHTTPServer):
    """Takes lineage as Marquez does: away for the first request, refusing one run, and failing at another."""

    handler: MarquezHandler

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeMarquezHandler)
        self.asked = 0
        self.got: list[dict[str, Any]] = []


class FakeMarquezHandler(BaseHTTPRequestHandler):
    server: FakeMarquez

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        status = 503 if self.server.asked == 1 else {"refused": 422, "failing": 500}.get(told["run"]["runId"], 201)
        if status == 201:
            self.server.got.append(told)
        self.send_response(status)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(settings: ConsumerSettings) -> Iterator[FakeMarquez]:
    server = FakeMarquez()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.handler = MarquezHandler(
        settings.model_copy(update={"marquez_url": f"http://127.0.0.1:{server.server_port}"})
    )
    yield server
    server.shutdown()
    server.server_close()
