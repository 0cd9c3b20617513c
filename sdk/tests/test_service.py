"""Against the real metadata service: what is recorded is in the graph, exactly."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from data_lineage_hub_sdk import LineageHubClient, TelemetryClient, configure, flush, lineage_track, telemetry_track

pytestmark = pytest.mark.integration
EXAMPLES = Path(__file__).parent.parent / "examples"


def graph_of(service: httpx.Client, namespace: str, name: str, **more: Any) -> set[tuple[str, str]]:
    """Return the edges of a dataset's lineage, by name."""
    (dataset,) = service.get("/datasets", params={"namespace": namespace, "name": name}).json()["items"]
    found = service.get(f"/datasets/{dataset['id']}/lineage", params=more).json()
    names = {node["id"]: node["name"] for node in found["nodes"]}
    return {(names[edge["source"]], names[edge["target"]]) for edge in found["edges"]}


def runs_of(service: httpx.Client, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get("/runs", params={"job_namespace": namespace, "limit": 500}).json()[
        "items"
    ]
    return found


def test_two_lines_and_the_run_is_in_the_graph(
    service: httpx.Client, team_key: Callable[[str], str], fresh: None
) -> None:
    configure(url=str(service.base_url), api_key=team_key("team-a"), namespace="team-a", transport="http")

    @telemetry_track("step")
    @lineage_track("step", inputs=["s3://lake/in"], outputs=["out/{part}"])
    async def step(part: str) -> None:
        if part == "bad":
            raise KeyError(part)

    @lineage_track("whole")
    async def whole() -> None:
        await asyncio.gather(step("a"), step("bad"), return_exceptions=True)

    asyncio.run(whole())
    assert flush(20)
    runs = {(run["job"]["name"], run["state"]): run for run in runs_of(service, "team-a")}
    assert set(runs) == {("whole", "COMPLETED"), ("step", "COMPLETED"), ("step", "FAILED")}
    parent = runs["whole", "COMPLETED"]["id"]
    for state in ("COMPLETED", "FAILED"):
        run = runs["step", state]
        assert (run["parent_run_id"], run["root_run_id"]) == (parent, parent)
        facets = service.get(f"/runs/{run['id']}").json()["facets"]
        assert len(facets["telemetry"]["traceId"]) == 32
    assert runs["step", "FAILED"]["error_message"] == "KeyError: 'bad'"
    assert graph_of(service, "s3://lake", "in") == {("in", "step"), ("step", "out/a")}  # what failed wrote nothing


def test_a_team_writes_into_its_own_namespace_only(
    service: httpx.Client, team_key: Callable[[str], str], fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"url": str(service.base_url), "api_key": team_key("team-b"), "transport": "http", "linger": 0.01}
    run = {"runId": "01941f29-7c00-7000-8000-00000000000b"}
    event = {"eventType": "START", "eventTime": "2026-01-01T00:00:00Z", "producer": "https://example.org/t", "run": run}
    with LineageHubClient(**settings, namespace="team-b") as client:
        client.emit_batch([{**event, "job": {"name": "fine"}}, {**event, "job": {"namespace": "team-a", "name": "no"}}])
        client.emit({**event, "eventTime": "yesterday", "job": {"name": "no"}})
        assert client.flush(10)
        reasons = sorted(file.read_text() for file in client._outbox.spool.rejected.glob("*.json"))
    assert [item["job"]["name"] for item in runs_of(service, "team-b")] == ["fine"]
    assert len(reasons) == 2
    assert "eventTime" in reasons[1] + reasons[0]
    with LineageHubClient(**settings, namespace="team-c") as client:  # the key isn't for that
        client.emit({**event, "job": {"name": "waits"}})
        assert not client.flush(5)
        assert client.waiting() == 1
        client.close(0)
    assert "403" in caplog.text
    assert runs_of(service, "team-c") == []


def test_spans_and_metrics_are_stored_and_point_at_the_run(
    service: httpx.Client, service_database: str, team_key: Callable[[str], str], fresh: None
) -> None:
    configure(url=str(service.base_url), api_key=team_key("team-t"), namespace="team-t", transport="http")

    @lineage_track("load")
    @telemetry_track("load")
    def load(fail: bool) -> None:
        if fail:
            raise KeyError("gone")

    load(False)
    with pytest.raises(KeyError):
        load(True)
    assert flush(20)
    now = time.time_ns()
    with TelemetryClient() as client:
        rows = {"name": "rows", "type": "sum", "value": 3, "time": now, "attributes": {"table": "orders"}}
        client.emit(metrics=[rows, {**rows, "value": "three"}])
        assert client.flush(10)
        (refused,) = client._outbox.spool.rejected.glob("*.json")
        assert json.loads(refused.read_text())["event"] == {**rows, "value": "three"}
    with psycopg.connect(service_database) as connection:
        spans = [row[0] for row in connection.execute("SELECT content FROM telemetry_span WHERE namespace = 'team-t'")]
        sql = "SELECT name, content FROM telemetry_metric WHERE namespace = 'team-t'"
        points = dict(connection.execute(sql).fetchall())
    runs = {run["id"]: run for run in runs_of(service, "team-t")}
    facets = {run: service.get(f"/runs/{run}").json()["facets"]["telemetry"] for run in runs}
    assert {span["attributes"]["lineage.run_id"] for span in spans} == set(runs)
    for span in spans:
        run = span["attributes"]["lineage.run_id"]
        assert (facets[run]["traceId"], facets[run]["spanId"]) == (span["trace_id"], span["span_id"])
        assert span["status"] == ("error" if runs[run]["state"] == "FAILED" else "unset")
        assert (span["attributes"]["lineage.job.namespace"], span["attributes"]["lineage.job.name"]) == (
            "team-t",
            "load",
        )
    duration, errors = points["lineage_hub.call.duration"], points["lineage_hub.call.errors"]
    assert (duration["count"], duration["temporality"], duration["unit"]) == (2, "delta", "s")
    assert (errors["value"], errors["attributes"]["error.type"]) == (1, "KeyError")
    assert (points["rows"]["value"], points["rows"]["time"]) == (3, now)


def test_a_killed_service_gets_every_run_exactly(
    empty_database: str,
    run_service: Callable[..., subprocess.Popen[bytes]],
    fresh: None,
    tmp_path: Path,
    free_port: Any,
) -> None:
    port = free_port()
    configure(url=f"http://127.0.0.1:{port}", api_key="test-key", namespace="team-k", transport="http", linger=0.01)

    @lineage_track("job{number}", outputs=["out{number}"])
    def load(number: int) -> None:
        time.sleep(0.005)

    service = run_service(port, empty_database, tmp_path / "log")
    try:
        for number in range(300):
            load(number)
            if number == 100:
                service.kill()
                service.wait()
        assert not flush(1)
        service = run_service(port, empty_database, tmp_path / "log")
        deadline = time.monotonic() + 30
        while not flush(1):
            assert time.monotonic() < deadline
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            runs = runs_of(client, "team-k")
            assert sorted(run["job"]["name"] for run in runs) == sorted(f"job{number}" for number in range(300))
            assert {run["state"] for run in runs} == {"COMPLETED"}
            assert len(client.get("/graph").json()["edges"]) == 300
    finally:
        service.terminate()
        service.wait(20)


def test_three_teams_examples_join_in_one_graph(
    service: httpx.Client, team_key: Callable[[str], str], tmp_path: Path
) -> None:
    for team in ("orders", "risk", "media"):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "LINEAGE_HUB_URL": str(service.base_url),
            "LINEAGE_HUB_API_KEY": team_key(f"team-{team}"),
            "LINEAGE_HUB_SPOOL_DIR": str(tmp_path),
        }
        script = EXAMPLES / f"team_{team}.py"
        done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    runs = [run for team in ("orders", "risk", "media") for run in runs_of(service, f"team-{team}")]
    states = {(run["job"]["namespace"], run["job"]["name"], run["state"]) for run in runs}
    assert states == {
        ("team-orders", "orders_day", "COMPLETED"),
        ("team-orders", "load_orders", "COMPLETED"),
        ("team-orders", "daily_revenue", "COMPLETED"),
        ("team-risk", "score_all", "COMPLETED"),
        ("team-risk", "score_eu", "COMPLETED"),
        ("team-risk", "score_us", "COMPLETED"),
        ("team-media", "pick_audience", "COMPLETED"),
        ("team-media", "deliver_audience", "FAILED"),
    }
    assert graph_of(service, "s3://shop-landing", "orders/2026-01-01.csv", direction="downstream") == {
        ("orders/2026-01-01.csv", "load_orders"),
        ("load_orders", "orders"),
        ("orders", "daily_revenue"),
        ("daily_revenue", "daily_revenue"),
        ("orders", "score_eu"),
        ("orders", "score_us"),
        ("score_eu", "risk_eu"),
        ("score_us", "risk_us"),
        ("risk_eu", "pick_audience"),
        ("daily_revenue", "pick_audience"),
        ("pick_audience", "audience"),
        ("audience", "deliver_audience"),
        ("deliver_audience", "partner"),
    }
