"""Grafana's boards and Prometheus' alerts: every query runs on the real engine, over what the hub itself writes.

ClickHouse's queries run on chDB, which is its engine. Prometheus' run on a Prometheus that watches the metadata service
and a consumer's metrics; what other servers would tell it is served beside them, as they serve it.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from confluent_kafka import TopicPartition
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings
from metadata_service.streaming.metrics import ConsumerMetrics, MetricFamilies
from metadata_service.telemetry.clickhouse import ClickHouseStore
from metadata_service.telemetry.model import Batch, Metric, Span

FOLDER = Path(__file__).parents[2] / "infrastructure"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "grafana/dashboards").glob("*.json"))}
# What Postgres' exporter, MinIO and Airflow's collector tell, as they write it.
OTHERS = """
pg_stat_activity_count{datname="warehouse",state="active"} 3
pg_settings_max_connections 100
minio_cluster_capacity_usable_free_bytes 5e+09
minio_cluster_capacity_usable_total_bytes 1e+10
airflow_scheduler_heartbeat_total{job="airflow"} %d
airflow_executor_open_slots 4
airflow_executor_running_tasks 1
airflow_dag_processing_import_errors 0
"""


def queries(kind: str) -> list[Any]:
    """Return the queries of all boards' panels, each with the name of its place."""
    key = "rawSql" if kind == "grafana-clickhouse-datasource" else "expr"
    return [
        pytest.param(target[key], panel["type"], id=f"{name}: {panel['title']}")
        for name, board in BOARDS.items()
        for panel in board["panels"]
        for target in panel["targets"]
        if target["datasource"]["type"] == kind
    ]


def test_boards_are_whole() -> None:
    assert BOARDS.keys() == {"overview", "team", "pipeline", "hub"}
    sources = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/platform.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    for name, board in BOARDS.items():
        assert board["uid"] == name
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells
            assert all(
                (target["datasource"]["type"], target["datasource"]["uid"]) in known for target in panel["targets"]
            )
        for link in board["links"]:
            assert link["url"].removeprefix("/d/") in BOARDS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseStore]:
    """A store with an hour of two teams' calls."""
    made = ClickHouseStore(f"chdb://{tmp_path_factory.mktemp('telemetry')}/data", 30)
    now = time.time_ns()
    for team in ("team-a", "team-b"):
        spans, metrics = [], []
        for number in range(60):
            start, failed = now - number * 60 * 10**9 - 10**9, number % 10 == 0
            attributes = {"lineage.job.name": "load", "lineage.run_id": str(uuid.uuid4())}
            root = Span(f"{number + 1:032x}", f"{number + 1:016x}", "load", start, start + (number + 1) * 10**7,
                        status="error" if failed else "ok", status_message="boom" if failed else "",
                        attributes=attributes, service_name="etl")  # fmt: skip
            spans += [root, Span(root.trace_id, f"{number + 1000:016x}", "parse", start, start + 10**6,
                                 parent_span_id=root.span_id, attributes=attributes)]  # fmt: skip
            metrics.append(Metric("rows", start, float(number), attributes={"lineage.job.name": "load"}))
        made.write([Batch(team, spans=spans, metrics=metrics)])
    yield made
    made.close()


def as_grafana_does(sql: str) -> str:
    """Return a panel's query with its macros and variables filled in for the last two hours of one pipeline."""
    since = "toDateTime64(now() - 7200, 9)"
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {since} AND \1 <= now64(9) + 1", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 300 second)", sql)
    sql = sql.replace("${namespace}", "team-a").replace("${pipeline}", "load")
    assert "$" not in sql, sql
    return sql


@pytest.mark.parametrize(("sql", "kind"), queries("grafana-clickhouse-datasource"))
def test_a_panel_of_clickhouse_shows_what_was_written(store: ClickHouseStore, sql: str, kind: str) -> None:
    answer = store.ask(as_grafana_does(sql))
    assert answer.result_rows
    if kind == "timeseries":
        assert "time" in answer.column_names[0] or answer.column_names[0] == "at"
        assert all(isinstance(row[-1], int | float) for row in answer.result_rows)
    assert any(any(value for value in row) for row in answer.result_rows)


def test_variables_offer_what_there_is(store: ClickHouseStore) -> None:
    found = {
        (name, variable["name"]): [row[0] for row in store.ask(as_grafana_does(variable["query"])).result_rows]
        for name, board in BOARDS.items()
        for variable in board["templating"]["list"]
    }
    assert {place: sorted(values) for place, values in found.items()} == {
        ("team", "namespace"): ["team-a", "team-b"],
        ("pipeline", "namespace"): ["team-a", "team-b"],
        ("pipeline", "pipeline"): ["load"],
    }


def test_the_figures_are_right(store: ClickHouseStore) -> None:
    def panel(name: str, title: str) -> list[tuple[Any, ...]]:
        [found] = [p for p in BOARDS[name]["panels"] if p["title"] == title]
        return [tuple(row) for row in store.ask(as_grafana_does(found["targets"][0]["rawSql"])).result_rows]

    assert panel("overview", "Calls") == [(120,)]
    assert panel("overview", "Failed") == [(0.1,)]
    assert panel("pipeline", "Calls") == [(60,)]
    steps = {row[0]: row[1:3] for row in panel("pipeline", "Its steps")}
    assert steps == {"load": (60, 6), "parse": (60, 0)}
    assert panel("pipeline", "Slowest spans")[0][2] == 0.6
    assert panel("pipeline", "Errors")[0][:2] == ("boom", 6)
    assert len(panel("team", "What failed of late")) == 6


def tool(repository: Path, name: str) -> str:
    """Return where Prometheus or promtool is."""
    own = repository / ".tools" / "usr" / "bin" / name
    found = shutil.which(name) or (str(own) if own.exists() else None)
    if found is None:
        pytest.skip(f"no {name} here: scripts/install-prometheus.sh fetches one")
    return found


def test_configuration_and_alerts_are_valid(repository: Path) -> None:
    command = [tool(repository, "promtool"), "check", "config", str(FOLDER / "prometheus/prometheus.yml")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    for group in yaml.safe_load((FOLDER / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "cure"}, rule["alert"]
            assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]


# Series that make an alert fire after half an hour, and like ones that don't.
FIRING = {
    "ConsumerBehind": ({'hub_consumer_lag{consumer="c",topic="t",partition="0"}': "20000x60"}, "10x60"),
    "ConsumerStuck": (
        {'hub_consumer_lag{consumer="c",instance="a"}': "5x60",
         'hub_consumer_last_write_timestamp_seconds{consumer="c",instance="a"}': "0x60",
         # Another that has no partitions has nothing to write.
         'hub_consumer_last_write_timestamp_seconds{consumer="c",instance="b"}': "0x60"},
        "0x60",
    ),
    "ConsumerRetries": ({'hub_consumer_retries_total{consumer="c"}': "0+5x60"}, "3x60"),
    "DeadLetters": ({'hub_consumer_messages_total{consumer="c",outcome="dead"}': "0+1x60"}, "7x60"),
    "ServiceDown": ({'up{job="metadata",instance="m"}': "0x60"}, "1x60"),
    "GraphBehind": ({"metadata_projection_lag_seconds": "100x60"}, "5x60"),
    "EventsNotProjected": ({"metadata_events_failed": "1x60"}, "0x60"),
    "MetadataErrors": ({'metadata_http_requests_total{status="500"}': "0+10x60",
                        'metadata_http_requests_total{status="200"}': "0+90x60"}, "0x60"),
    "SchedulerSilent": ({"airflow_scheduler_heartbeat_total": "0+12x10 120x3 _x50"}, "0+12x60"),
    "DagsBroken": ({"airflow_dag_processing_import_errors": "1x60"}, "0x60"),
    "PostgresFull": ({"pg_stat_activity_count": "95x60", "pg_settings_max_connections": "100x60"}, "5x60"),
    "ObjectStoreFull": ({"minio_cluster_capacity_usable_free_bytes": "5x60",
                         "minio_cluster_capacity_usable_total_bytes": "100x60"}, "50x60"),
}  # fmt: skip


def test_alerts_fire_when_they_should_and_not_otherwise(repository: Path, tmp_path: Path) -> None:
    rules = yaml.safe_load((FOLDER / "prometheus/alerts.yml").read_text())["groups"]
    assert {rule["alert"] for group in rules for rule in group["rules"]} == FIRING.keys()
    for alert, (series, calm) in FIRING.items():
        first = next(iter(series))
        for fires, values in ((True, series), (False, series | {first: calm})):
            given = [{"series": name, "values": value} for name, value in values.items()]
            firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
            expected = [{"labels": "{}", "value": int(fires)}]
            asked = [{"expr": firing, "eval_time": "30m", "exp_samples": expected}]
            case = {
                "rule_files": [str(FOLDER / "prometheus/alerts.yml")],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": asked}],
            }
            file = tmp_path / f"{alert}-{fires}.yml"
            file.write_text(yaml.safe_dump(case))
            command = [tool(repository, "promtool"), "test", "rules", str(file)]
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            assert told.returncode == 0, f"{alert}, firing {fires}: {told.stdout}{told.stderr}"


@pytest.fixture(scope="module")
def prometheus(
    repository: Path,
    admin_dsn: str,
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A Prometheus that has watched the service, a consumer and what stands for the other servers for some seconds."""
    program, folder = tool(repository, "prometheus"), tmp_path_factory.mktemp("prometheus")
    settings = ServiceSettings(api_key="k", database_url=admin_dsn.rsplit("/", 1)[0] + "/metadata")
    engine = make_engine(settings)
    migrate(engine)
    with TestClient(create_app(settings, engine)) as api, telling(api) as port:
        targets = {name: f"127.0.0.1:{port}" for name in ("metadata", "consumers", "others")}
        jobs = [
            {"job_name": name, "metrics_path": f"/{name}", "static_configs": [{"targets": [target]}]}
            for name, target in targets.items()
        ]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not seen(address):
                assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(20)


def seen(address: str) -> bool:
    """Tell whether Prometheus has scraped all three for some seconds."""
    try:
        answer = httpx.get(f"http://{address}/api/v1/query", params={"query": "count(count_over_time(up[1m]) > 5)"})
    except httpx.TransportError:
        return False
    found = answer.json()["data"]["result"] if answer.status_code == 200 else []
    return bool(found) and found[0]["value"][1] == "3"


class Telling(ThreadingHTTPServer):
    """Serves the metrics of the service, of a consumer at work, and of the servers beside them."""

    def __init__(self, api: TestClient) -> None:
        super().__init__(("127.0.0.1", 0), TellingHandler)
        self.api = api
        self.registry = CollectorRegistry()
        self.consumer = ConsumerMetrics(MetricFamilies(self.registry), "lineage")
        self.asked = 0


class TellingHandler(BaseHTTPRequestHandler):
    server: Telling

    def do_GET(self) -> None:
        self.server.asked += 1
        body = {"/metadata": self._metadata, "/consumers": self._consumers, "/others": self._others}[self.path]()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def _metadata(self) -> bytes:
        event = {"eventType": "COMPLETE", "eventTime": "2026-01-01T00:00:00Z", "producer": "https://example.org",
                 "run": {"runId": uuid.uuid4().hex}, "job": {"name": "watched"}}  # fmt: skip
        body = {"namespace": "watched", "events": [event]}
        answer = self.server.api.post("/api/v1/lineage/ingest", json=body, headers={"Authorization": "Bearer k"})
        assert answer.status_code == 202
        return self.server.api.get("/metrics").content

    def _consumers(self) -> bytes:
        consumer = self.server.consumer
        consumer.note_batch(written=9, dead=1, items=10, seconds=0.02)
        consumer.retries.inc()
        lag = {"fetch_state": "active", "consumer_lag": 5}
        consumer.note_statistics(json.dumps({"topics": {"t": {"partitions": {"0": lag, "1": lag}}}}))
        consumer.forget([TopicPartition("t", 1)])
        return generate_latest(self.server.registry)

    def _others(self) -> bytes:
        return (OTHERS % self.server.asked).encode()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def telling(api: TestClient) -> Iterator[int]:
    """Serve until the block ends; give the port."""
    server = Telling(api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.integration
@pytest.mark.parametrize(("expression", "kind"), queries("prometheus"))
def test_a_panel_of_prometheus_shows_what_is_watched(prometheus: str, expression: str, kind: str) -> None:
    asked = expression.replace("$__rate_interval", "30s")
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": asked}).json()
    assert answer["status"] == "success", answer
    values = [float(item["value"][1]) for item in answer["data"]["result"]]
    assert values
    assert not any(map(math.isnan, values))
    if kind == "stat":
        assert len(values) == 1
