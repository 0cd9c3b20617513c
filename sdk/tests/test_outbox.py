"""What is handed over arrives, whatever the hub does: slow, failing, lying or gone; and the caller never notices."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_lineage_hub_sdk import LineageHubClient
from data_lineage_hub_sdk.spool import Spool


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def event(number: int, namespace: str = "team") -> dict[str, Any]:
    return {"job": {"namespace": namespace, "name": f"job{number}"}, "run": {"runId": str(number)}}


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(item["job"]["name"].removeprefix("job")) for item in events]


@pytest.fixture
def client(hub: Any, fresh: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("data_lineage_hub_sdk.outbox._FIRST_BACK_OFF", 0.02)
    made = LineageHubClient(url=hub.url, api_key="secret", transport="http", namespace="team", timeout=0.5, linger=0.01)
    yield made
    hub.status, hub.delay, hub.manner = 0, 0.0, "well"
    made.close(0)


def kept(client: Any) -> list[dict[str, Any]]:
    files = sorted(client._outbox.spool.folder.glob("*.lineage"))
    return [item for file in files for item in json.loads(file.read_text())["events"]]


def until(ready: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_events_arrive_in_batches_in_their_order(hub: Any, client: Any) -> None:
    client.emit_batch(event(number) for number in range(1200))
    asyncio.run(client.aemit_batch(event(number) for number in range(1200, 1210)))
    client.emit({"job": {"name": "job1210"}})
    assert asyncio.run(client.aflush(10))
    assert numbers(hub.events) == list(range(1211))
    assert {item["job"]["namespace"] for item in hub.events} == {"team"}
    assert all(len(body["events"]) <= 500 and body["namespace"] == "team" for body in hub.bodies)
    assert len(hub.bodies) < 30
    assert hub.keys == {"Bearer secret"}
    assert client.waiting() == 0


WRONG: list[dict[str, Any]] = [
    *({"status": status} for status in (301, 401, 403, 404, 408, 429, 500, 502, 503, 504)),
    *(
        {"manner": manner}
        for manner in (
            *("hangs up", "no HTTP", "half an answer", "half a chunk", "friendly page"),
            *("moved", "garbage", "other counts", "nonsense", "drips"),
        )
    ),
    {"delay": 1.0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_goes_wrong_costs_nothing_but_time(hub: Any, client: Any, wrong: dict[str, Any]) -> None:
    for name, value in wrong.items():
        setattr(hub, name, value)
    began = time.perf_counter()
    client.emit_batch(event(number) for number in range(10))
    assert time.perf_counter() - began < 0.2
    assert not client.flush(3)
    assert numbers(kept(client)) == list(range(10))  # on disk: a kill -9 loses nothing from here on
    assert not client._outbox.spool.rejected.exists()
    hub.status, hub.delay, hub.manner = 0, 0.0, "well"
    client.emit(event(10))
    until(lambda: client.flush(1))
    hub.events = hub.events[-11:]  # a slow hub had taken some of them in time
    assert numbers(hub.events) == list(range(11))
    assert client.waiting() == 0


def test_a_refused_event_goes_aside_and_the_others_arrive(hub: Any, client: Any) -> None:
    hub.refuse = lambda item: "odd" if int(item["run"]["runId"]) % 2 else None
    client.emit_batch(event(number) for number in range(4))
    client.flush(5)
    hub.refuse = lambda item: "all wrong"
    client.emit_batch(event(number) for number in range(4, 6))
    client.flush(5)
    assert numbers(hub.events) == [0, 2]
    records = [json.loads(file.read_text()) for file in sorted(client._outbox.spool.rejected.glob("*.json"))]
    assert [(record["reason"], *numbers([record["event"]])) for record in records] == [
        *[("odd", 1), ("odd", 3)],
        *[("all wrong", 4), ("all wrong", 5)],
    ]


def test_an_event_that_spoils_its_whole_batch_is_found(hub: Any, client: Any) -> None:
    class Spoiled(dict[str, Any]):
        pass

    take = hub.RequestHandlerClass._take

    def picky(handler: Any, body: bytes) -> tuple[int, bytes, str]:
        if b'"job7"' in body:
            return 400, b"I can't read this", "text/plain"
        answer: tuple[int, bytes, str] = take(handler, body)
        return answer

    hub.RequestHandlerClass = type("Picky", (hub.RequestHandlerClass,), {"_take": picky})
    client.emit_batch(event(number) for number in range(20))
    client.flush(5)
    assert numbers(hub.events) == [number for number in range(20) if number != 7]
    (record,) = client._outbox.spool.rejected.glob("*.json")
    assert "I can't read this" in record.read_text()


def test_retries_back_off_with_jitter_as_long_as_the_hub_asks(hub: Any, client: Any) -> None:
    hub.status, hub.headers = 503, {"Retry-After": "1"}
    client.emit(event(1))
    client.flush(2)
    until(lambda: len(hub.times) >= 2)
    hub.status, hub.headers = 0, {}
    until(lambda: client.flush(1))
    gaps = [later - earlier for earlier, later in zip(hub.times, hub.times[1:], strict=False)]
    assert gaps[0] >= 1.0
    assert numbers(hub.events) == [1]


def test_a_hub_that_stands_still_slows_nobody(
    hub: Any, client: Any, fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A small queue, a hub that takes its time for each request, and ten times as many records as fit."""
    small = LineageHubClient(client.settings, queue_size=300, batch_size=50, timeout=30)
    small.emit(event(0))
    assert small.flush(10)
    hub.delay = 0.3
    took = []
    for number in range(1, 3_000):
        began = time.perf_counter()
        small.emit(event(number))
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.001
    hub.delay = 0
    until(lambda: small.flush(5))
    small.close()
    assert numbers(hub.events) == list(range(3_000))
    assert "lost" not in caplog.text


def test_threads_hand_over_at_the_same_time(hub: Any, client: Any) -> None:
    def work(first: int) -> None:
        client.emit_batch(event(number) for number in range(first, first + 500))

    threads = [threading.Thread(target=work, args=(at * 500,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(10)
    assert sorted(numbers(hub.events)) == list(range(4000))
    by_thread = [[number for number in numbers(hub.events) if number // 500 == at] for at in range(8)]
    assert by_thread == [list(range(at * 500, at * 500 + 500)) for at in range(8)]


def test_a_disk_that_takes_nothing_is_told_and_survived(
    client: Any, hub: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    broken = LineageHubClient(client.settings, spool_dir=str(file / "spool"))
    hub.status = 503
    broken.emit(event(1))
    broken.flush(1)
    hub.status = 0
    until(lambda: broken.flush(1))
    broken.emit(event(2))
    assert broken.flush(5)
    broken.close()
    assert numbers(hub.events) == [2]
    assert "1 records of lineage or telemetry are lost" in caplog.text


def test_the_spool_may_hold_nonsense(hub: Any, client: Any) -> None:
    spool: Spool = client._outbox.spool
    spool.add(b'{"namespace": "team", "eve', "lineage")
    spool.add(b"\xff\xfe", "points")
    spool.add(b"[1]", "lineage")
    spool.add(json.dumps(event(1)).encode())  # as transport.py leaves them
    spool.add(json.dumps({"namespace": "team", "events": [event(2)]}).encode(), "lineage")
    client.emit(event(3))
    until(lambda: client.flush(1))
    assert numbers(hub.events) == [1, 2, 3]
    assert len(list(spool.rejected.glob("*.json"))) == 3


def test_a_wrong_kafka_or_file_is_told(fresh: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("confluent_kafka")
    with caplog.at_level(logging.WARNING):
        client = LineageHubClient(
            transport="kafka", kafka_servers=f"127.0.0.1:{free_port()}", namespace="team", timeout=0.3, linger=0.01
        )
        client.emit({"job": {"namespace": "team", "name": "job1"}, "run": {"runId": "1"}})
        assert not client.flush(5)
        assert numbers(kept(client)) == [1]
        client.close(0)
    assert "Kafka" in caplog.text


def test_forked_children_have_outboxes_of_their_own(hub: Any, client: Any) -> None:
    client.emit(event(0))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=client.emit_batch, args=([event(at)],)) for at in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0] * 4
    client.emit(event(5))
    assert client.flush(5)
    assert sorted(numbers(hub.events)) == list(range(6))
