"""The transport against real servers: one that answers as told, and the metadata service, killed and restarted."""

from __future__ import annotations

import json
import logging
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from data_lineage_hub_sdk.spool import Spool, drain, pending
from data_lineage_hub_sdk.transport import SpoolingHttpTransport, client_from


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_event(number: int = 0) -> RunEvent:
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(str(uuid.uuid4())),
        job=Job("tests", f"job{number}"),
        inputs=[InputDataset("db", f"in{number}")],
        outputs=[OutputDataset("db", f"out{number}")],
        producer="https://example.org/tests",
    )


def client(url: str, spool: Path, **more: Any) -> OpenLineageClient:
    settings = {"url": url, "api_key": "secret-key", "spool_dir": str(spool), "timeout": 0.5, "retry_after": 0, **more}
    kind = "data_lineage_hub_sdk.transport.SpoolingHttpTransport"
    return OpenLineageClient(config={"transport": {"type": kind, **settings}})


def test_openlineage_loads_it_by_name(hub: Any, tmp_path: Path) -> None:
    made = client(hub.url, tmp_path / "spool")
    assert isinstance(made.transport, SpoolingHttpTransport)
    made.emit(make_event())
    assert [event["job"]["name"] for event in hub.events] == ["job0"]
    assert hub.keys == {"Bearer secret-key"}
    assert not (tmp_path / "spool").exists()
    assert "secret-key" not in repr(made.transport.config)


def test_missing_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="url"):
        client("", tmp_path)
    with pytest.raises(ValueError, match="spool_dir"):
        client("http://127.0.0.1:1", tmp_path, spool_dir="")
    with pytest.raises(ValueError, match="no address"):
        client("localhost:8000", tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_may_pass_is_spooled_and_sent_later(hub: Any, tmp_path: Path, status: int) -> None:
    hub.status = status
    made = client(hub.url, tmp_path)
    made.emit(make_event(1))
    made.emit(make_event(2))
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 2 == pending(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    hub.status = 0
    made.emit(make_event(3))
    assert [event["job"]["name"] for event in hub.events] == ["job3", "job1", "job2"]
    assert pending(tmp_path) == 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_event_is_put_aside_with_the_reason(hub: Any, tmp_path: Path, status: int) -> None:
    hub.status = status
    client(hub.url, tmp_path).emit(make_event(1))
    (kept,) = (tmp_path / "rejected").glob("*.json")
    record = json.loads(kept.read_text())
    assert str(status) in record["reason"]
    assert record["event"]["job"]["name"] == "job1"
    assert pending(tmp_path) == 0


def test_a_dead_hub_costs_one_timeout_for_all_processes(hub: Any, tmp_path: Path) -> None:
    hub.delay = 5
    started = time.monotonic()
    for number in range(20):
        client(hub.url, tmp_path, retry_after=60).emit(make_event(number))
    assert time.monotonic() - started < 2.5
    assert pending(tmp_path) == 20


def test_nothing_it_meets_is_raised(hub: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.write_text("")
    client(hub.url, file / "spool").emit(make_event())
    warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert (len(hub.events), warned) == (1, [])
    client(f"http://127.0.0.1:{free_port()}", file / "spool").emit(make_event())
    assert "neither delivered nor spooled" in caplog.text
    client_from(f"http://127.0.0.1:{free_port()}", "k", tmp_path).transport.emit(object())  # type: ignore[arg-type]
    assert "can't be turned into JSON" in caplog.text


def test_the_spool_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, max_bytes=100)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            spool.add(b"%030d" % number)
    left = [int(file.read_bytes()) for file in sorted(tmp_path.glob("*.json"))]
    assert left == [7, 8, 9]
    assert "dropped" in caplog.text


def test_the_claim_of_a_dead_process_is_returned(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.add(b'{"n": 1}')
    next(spool.claims())  # and never came back
    (tmp_path / ".half.tmp").write_text("{")
    assert drain(tmp_path, hub.url, "k").sent == 0
    assert spool.pending() == 1
    monkeypatch.setattr("data_lineage_hub_sdk.spool.CLAIM_SECONDS", -1.0)
    result = drain(tmp_path, hub.url, "k")
    assert (result.sent, result.left, result.rejected) == (1, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_many_processes_drain_without_sending_twice(hub: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(200):
        spool.add(b'{"n": %d}' % number)
    code = f"from data_lineage_hub_sdk.spool import drain; drain({str(tmp_path)!r}, {hub.url!r}, 'k')"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert sorted(event["n"] for event in hub.events) == list(range(200))
    assert pending(tmp_path) == 0


def test_importing_the_spool_is_light() -> None:
    code = (
        "import sys, data_lineage_hub_sdk.spool; "
        "sys.exit(any(name in sys.modules for name in ('requests', 'httpx', 'openlineage', 'attr', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.integration
def test_a_killed_service_loses_nothing_and_gets_nothing_twice(
    empty_database: str, tmp_path: Path, run_service: Callable[..., subprocess.Popen[bytes]]
) -> None:
    port, spool = free_port(), tmp_path / "spool"
    url = f"http://127.0.0.1:{port}"
    made = client_from(url, "test-key", spool)
    service = run_service(port, empty_database, tmp_path / "log")
    try:
        made.emit(make_event(0))
        halfway = threading.Event()

        def emit() -> None:
            for number in range(1, 40):
                made.emit(make_event(number))
                if number == 15:
                    halfway.set()

        emitter = threading.Thread(target=emit)
        emitter.start()
        assert halfway.wait(60)
        service.send_signal(signal.SIGKILL)
        service.wait()
        emitter.join(60)
        assert pending(spool) > 0
        service = run_service(port, empty_database, tmp_path / "log")
        result = drain(spool, url, "test-key")
        assert (result.left, result.rejected) == (0, 0)
        assert result.sent > 0
        assert httpx.get(f"{url}/runs?limit=500").json()["total"] == 40
        graph = httpx.get(f"{url}/graph").json()
        names = {node["id"]: node["name"] for node in graph["nodes"]}
        edges = sorted((names[edge["source"]], names[edge["target"]]) for edge in graph["edges"])
        expected = [(f"in{n}", f"job{n}") for n in range(40)] + [(f"job{n}", f"out{n}") for n in range(40)]
        assert edges == sorted(expected)
        made.emit(make_event(40))  # the hub is known to be back
        assert pending(spool) == 0
    finally:
        service.terminate()
        service.wait(20)
