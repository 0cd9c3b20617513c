"""The service as a process: how it starts, serves and stops."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.integration

WIDER = """
() => [document.documentElement, ...document.querySelectorAll('main, .card, table, pre')]
  .filter(element => element.scrollWidth > element.clientWidth + 1)
  .map(element => `${element.tagName}.${element.className}: ${element.scrollWidth} > ${element.clientWidth}`)
"""


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


@pytest.mark.parametrize("width", [1400, 1024, 390])
def test_every_page_fits_its_screen(empty_database: str, width: int) -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no chromium on PATH")
    long_name = "expect_column_values_to_be_between_" * 4
    dataset = {"namespace": "postgres://warehouse.example.org:5432", "name": f"warehouse.curated.{long_name}"}
    column = {"name": long_name, "type": "numeric(12,2)", "tags": ["pii"], "description": long_name * 3}
    result = {
        "check": long_name,
        "dataset": dataset,
        "column": long_name,
        "status": "failed",
        "measured": 123456789.123,
        "expected": "x" * 80,
        "message": f'relation "{long_name}" does not exist',
        "sql": f"SELECT {long_name}",
        "failed_rows": 10**12,
        "dimension": "completeness",
        "engine": "great_expectations",
    }
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running(port, empty_database), sync_playwright() as playwright:
        with httpx.Client(base_url=base, headers={"Authorization": "Bearer k"}) as api:
            known = api.post("/datasets", json=dataset | {"owner": "team", "tags": ["gold"], "schema": [column]}).json()
            job = {"namespace": "n", "name": f"job.{long_name}"}
            run = {"run_id": "r", "job": job, "inputs": [dataset], "outputs": [dataset], "state": "COMPLETED"}
            assert api.post("/runs", json=run).status_code == 201
            assert api.post("/runs/r/dq_results", json=[result]).status_code == 201
            job_id = api.get("/jobs").json()["items"][0]["id"]
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=options)
        page = browser.new_page(viewport={"width": width, "height": 900})
        elsewhere: list[str] = []
        page.on("request", lambda request: None if request.url.startswith(base) else elsewhere.append(request.url))
        paths = [
            "/",
            f"/ui/datasets/{known['id']}",
            "/ui/lineage",
            "/ui/search?q=a",
            "/ui/quality",
            "/ui/runs",
            "/ui/runs/r",
            f"/ui/jobs/{job_id}",
            "/docs",
        ]
        for path in paths:
            page.goto(base + path, wait_until="networkidle")
            page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
            assert page.evaluate(WIDER) == [], path
        browser.close()
        assert elsewhere == []
