"""A hub that answers as told, and the real one on a database of its own."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from data_lineage_hub_sdk import configure, flush, settings

KEY = "test-key"


LIES = {
    "drips": b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n",
    "hangs up": b"",
    "no HTTP": b"220 mail.example.org ESMTP\r\n\r\n",
    "half an answer": b'HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{"accepted"',
    "half a chunk": b'HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"acc',
    "friendly page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n<html/>",
    "moved": b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "garbage": b'HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n{"accepted":',
    "other counts": b'HTTP/1.1 202 Accepted\r\nContent-Length: 31\r\n\r\n{"accepted": 0, "rejected": []}',
    "nonsense": b'HTTP/1.1 202 Accepted\r\nContent-Length: 38\r\n\r\n{"accepted": "many", "rejected": [[1]]}',
}


class Hub(ThreadingHTTPServer):
    """A hub that answers what it is told to and remembers what it got.

    `manner` is how it answers: `well`, or one of `LIES`.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.manner = "well"
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda _: None
        self.events: list[dict[str, Any]] = []
        self.otlp: list[tuple[str, bytes]] = []
        self.items: dict[str, list[dict[str, Any]]] = {"spans": [], "metrics": []}
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: set[str | None] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_POST(self) -> None:
        hub = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        hub.times.append(time.monotonic())
        hub.keys.add(self.headers["Authorization"])
        time.sleep(hub.delay)
        if hub.status:
            self._answer(hub.status, b'{"detail": "as told"}')
        elif hub.manner == "well":
            self._answer(*self._take(body))
        else:
            self.wfile.write(LIES[hub.manner])
            with contextlib.suppress(OSError):
                while hub.manner == "drips":
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            self.close_connection = True

    def _take(self, body: bytes) -> tuple[int, bytes, str]:
        hub = self.server
        if self.path.endswith(("/v1/traces", "/v1/metrics")):
            hub.otlp.append((self.path.rpartition("/")[2], body))
            return 200, b"", "application/x-protobuf"
        content = json.loads(body)
        if self.path == "/api/v1/lineage":
            hub.events.append(content)
            return 201, b'{"status": "stored"}', "application/json"
        hub.bodies.append(content)
        items = [("events", item) for item in content.get("events", [])]
        items += [(kind, item) for kind in ("spans", "metrics") for item in content.get(kind, [])]
        rejected = []
        for index, (kind, item) in enumerate(items):
            if reason := hub.refuse(item):
                rejected.append({"list": kind, "index": index, "reason": reason})
            else:
                (hub.events if kind == "events" else hub.items[kind]).append(item)
        if rejected and len(rejected) == len(items):
            errors = [{"field": f"{item['list']}.{item['index']}", "message": item["reason"]} for item in rejected]
            return 422, json.dumps({"status": 422, "errors": errors}).encode(), "application/problem+json"
        answer = {"accepted": len(items) - len(rejected), "rejected": rejected, "transport": "direct"}
        return 202, json.dumps(answer).encode(), "application/json"

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that answers as told."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings as in a process that has just begun, with nothing in the environment; clients end with the test."""
    for name in list(os.environ):
        if name.startswith(("LINEAGE_HUB_", "OPENLINEAGE_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "_current", None)
    configure(transport="noop", spool_dir=str(tmp_path / "spool"))
    yield
    configure(transport="noop")
    monkeypatch.setattr(settings, "_current", None)


@pytest.fixture
def recorded(fresh: None, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns what the decorators have recorded so far: events, spans and points, in their order."""
    path = tmp_path / "recorded.ndjson"
    configure(transport="file", file=str(path), namespace="team", linger=0.0)

    def read() -> list[dict[str, Any]]:
        assert flush(10)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


def start_service(port: int, database: str, log: Path) -> subprocess.Popen[bytes]:
    """Start the metadata service and return once it answers."""
    environment = {**os.environ, "PORT": str(port), "API_KEY": KEY, "DATABASE_URL": database}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "metadata_service"], env=environment, stdout=file, stderr=file
        )
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return process
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.fixture
def run_service() -> Callable[[int, str, Path], subprocess.Popen[bytes]]:
    """The function that starts the metadata service."""
    return start_service


@pytest.fixture(scope="session")
def service_database(admin_dsn: str) -> Iterator[str]:
    """The address of the database of the service that the tests of a session share."""
    name = f"sdk_{os.getpid()}"
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        yield admin_dsn.rsplit("/", 1)[0] + f"/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def service(
    service_database: str, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[httpx.Client]:
    """A client, with the administrator's key, of a real metadata service that the tests of a session share."""
    port = free_port()
    process = start_service(port, service_database, tmp_path_factory.mktemp("service") / "log")
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def team_key(service: httpx.Client) -> Callable[[str], str]:
    """A function that makes a writer's key for a namespace."""

    def make(namespace: str) -> str:
        body = {"name": f"key-{namespace}", "role": "writer", "namespaces": [namespace]}
        answer = service.post("/keys", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["key"])

    return make
