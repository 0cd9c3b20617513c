"""The service as a process: how it starts, serves and stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(**environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "API_KEY": "k", **environment}
    command = [sys.executable, "-m", "metadata_service"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextmanager
def running(port: int, database: str) -> Iterator[subprocess.Popen[str]]:
    process = start(PORT=str(port), DATABASE_URL=database)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the service did not come up"
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_two_start_at_once_and_stop_clean(empty_database: str) -> None:
    ports = free_port(), free_port()
    with running(ports[0], empty_database) as one, running(ports[1], empty_database) as two:
        base = f"http://127.0.0.1:{ports[0]}"
        assert httpx.get(f"{base}/health").json() == {"status": "ok"}
        for path in ("/docs", "/redoc", "/openapi.json", "/", "/metrics"):
            assert httpx.get(base + path).status_code == 200, path
        assert 'route="/health",status="200"' in httpx.get(f"{base}/metrics").text
        answer = httpx.get(f"{base}/health", headers={"X-Request-ID": "mine"})
        assert answer.headers["x-request-id"] == "mine"
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
        output = one.communicate(timeout=20)[0]
        two.communicate(timeout=20)
        assert (one.returncode, two.returncode) == (0, 0), output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"API_KEY": ""}, "API_KEY"),
        ({"API_KEY": "  "}, "API_KEY"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"PORT": "x"}, "PORT"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ],
)
def test_bad_settings_are_told_by_name(setting: dict[str, str], told: str) -> None:
    process = start(**{"PORT": "1", "DATABASE_URL": "postgresql://127.0.0.1:1/x", **setting})
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert told in output
    assert "Traceback" not in output


def test_a_database_that_stays_away_ends_the_start() -> None:
    secret = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/x"
    process = start(PORT=str(free_port()), DATABASE_URL=secret, DATABASE_WAIT_SECONDS="1")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "database_unavailable" in output
    assert "hunter2" not in output


def test_health_tells_that_the_database_is_away(admin_dsn: str, empty_database: str) -> None:
    import psycopg

    name = empty_database.rsplit("/", 1)[1]
    port = free_port()
    with running(port, empty_database), psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[call-overload]
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=20)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        event = {"eventTime": "2026-01-01T00:00:00Z", "producer": "p", "job": {"namespace": "n", "name": "j"}}
        key = {"Authorization": "Bearer k"}
        posted = httpx.post(f"http://127.0.0.1:{port}/api/v1/lineage", json=event, headers=key, timeout=20)
        assert posted.status_code == 503
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[call-overload]
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).status_code == 200
