"""What teams' own pipelines send, in every form, and what is read back of it; into both kinds of stores."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from metadata_service.telemetry.model import Batch, Span
from metadata_service.telemetry.store import ValueRefusedError
from metadata_service.telemetry.writer import TelemetryWriter

pytestmark = pytest.mark.integration
TRACE, SPAN, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
RUN = "01941f29-7c00-7000-8000-000000000000"


@pytest.fixture(params=["postgres", "chdb"])
def stored(request: pytest.FixtureRequest, serve: Callable[..., TestClient], tmp_path: Path) -> Iterator[TestClient]:
    """A service with a key, on each of the stores."""
    more = {} if request.param == "postgres" else {"telemetry_url": f"chdb://{tmp_path}/telemetry"}
    api = serve(**more)
    api.headers["Authorization"] = "Bearer test-key"
    yield api
    api.app.state.telemetry.close()  # type: ignore[attr-defined]


@pytest.fixture
def team(stored: TestClient) -> Callable[..., dict[str, str]]:
    """A function that makes a key bound to namespaces and returns the header to send."""

    def make(*namespaces: str, role: str = "writer") -> dict[str, str]:
        body = {"name": "-".join(namespaces).replace("*", "all"), "role": role, "namespaces": list(namespaces)}
        return {"Authorization": f"Bearer {stored.post('/keys', json=body).json()['key']}"}

    return make


def lineage(namespace: str | None, run: str = RUN, kind: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    job = {"name": "load"} | ({"namespace": namespace} if namespace else {})
    event = {"eventType": kind, "eventTime": "2026-01-01T00:00:00Z", "producer": "https://example.org/t", "job": job}
    return event | {"run": {"runId": run}} | more


def span(**more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    times = {"start_time": (now - timedelta(seconds=2)).isoformat(), "end_time": now.isoformat()}
    return {"trace_id": TRACE, "span_id": SPAN, "name": "load"} | times | more


def spans_of(api: TestClient, namespace: str, run: str = RUN) -> list[Span]:
    found: list[Span] = api.app.state.telemetry.spans_of_run(namespace, run, 100)  # type: ignore[attr-defined]
    return found


def test_lineage_goes_into_the_keys_namespace(stored: TestClient, team: Callable[..., dict[str, str]]) -> None:
    key = team("team-a")
    other = lineage("team-b", "r-b")
    told = {"events": [lineage(None), lineage("team-a", "r-2"), other, {"job": 1}, "x"]}
    answer = stored.post("/api/v1/lineage/ingest", json=told, headers=key)
    assert answer.status_code == 202, answer.text
    taken = answer.json()
    assert (taken["accepted"], taken["transport"]) == (2, "direct")
    assert [item["index"] for item in taken["rejected"]] == [2, 3, 4]
    assert "job.namespace: is 'team-b', but the request is for 'team-a'" in taken["rejected"][0]["reason"]
    assert {run["id"] for run in stored.get("/runs", params={"job_namespace": "team-a"}).json()["items"]} == {
        RUN,
        "r-2",
    }
    assert stored.get("/runs/r-b").status_code == 404
    # Twice, zipped: nothing changes.
    packed = gzip.compress(json.dumps(told).encode())
    again = stored.post("/api/v1/lineage/ingest", content=packed, headers=key | {"Content-Encoding": "gzip"})
    assert again.json()["accepted"] == 2
    assert stored.get("/runs", params={"job_namespace": "team-a"}).json()["total"] == 2


def test_what_can_not_be_taken_is_told(stored: TestClient, team: Callable[..., dict[str, str]]) -> None:
    key, wide = team("team-a"), team("team-a.*")
    path = "/api/v1/lineage/ingest"
    assert stored.post(path, json={"events": []}, headers={"Authorization": ""}).status_code == 401
    assert stored.post(path, json={"events": []}, headers=team("team-r", role="reader")).status_code == 403
    refused = stored.post(path, json={"namespace": "team-b", "events": [lineage(None)]}, headers=key)
    assert (refused.status_code, "team-b" in refused.json()["detail"]) == (403, True)
    # Neither a key of all namespaces nor one of many says which.
    for headers in ({}, wide):
        refused = stored.post(path, json={"events": [lineage(None)]}, headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "namespace")
    assert stored.post(path, json={"namespace": "team-a.x", "events": [lineage(None)]}, headers=wide).status_code == 202
    for body in (b"", b"[]", b"{", b'{"events": 1}', b"\xff\xfe"):
        assert stored.post(path, content=body, headers=key).status_code in (400, 422)
    many = {"events": [lineage(None)] * 1001}
    assert stored.post(path, json=many, headers=key).status_code == 413
    nothing = stored.post(path, json={"events": [{"job": {}}]}, headers=key)
    assert (nothing.status_code, nothing.json()["errors"][0]["field"]) == (422, "events.0")
    # A run of another team's is not taken over.
    stored.post(path, json={"namespace": "team-b", "events": [lineage(None, "r-b")]})
    assert stored.post(path, json={"events": [lineage(None, "r-b")]}, headers=key).status_code == 422


def test_spans_and_metrics_are_read_back(stored: TestClient, team: Callable[..., dict[str, str]]) -> None:
    key = team("team-a")
    attributes = {"lineage.run_id": RUN, "lineage.job.name": "load", "rows": 12, "ok": True, "list": [1, "a"]}
    event = {"name": "read", "time": datetime.now(UTC).isoformat(), "attributes": {"file": "a.csv"}}
    spans = [
        span(attributes=attributes, status="error", status_message="boom", service_name="etl", events=[event]),
        span(
            span_id=CHILD, parent_span_id=SPAN, name="parse", start_time=time.time_ns() - 10**9, resource={"host": "h"}
        ),
        span(span_id="0" * 16),
        span(span_id=CHILD, name=" "),
        span(span_id=CHILD, end_time="2026-01-01T00:00:00Z"),
        span(span_id=CHILD, start_time="2001-01-01T00:00:00Z"),
        span(span_id=CHILD, end_time=(datetime.now(UTC) + timedelta(days=2)).isoformat()),
        span(span_id=CHILD, attributes={"big": ["x" * 1000] * 1000, **{f"k{n}": "y" * 16_000 for n in range(40)}}),
        "nonsense",
    ]
    metrics = [
        {"name": "rows", "value": 3, "time": time.time_ns(), "unit": "1", "attributes": {"table": "t"}},
        {"name": "rows", "value": float("1e400"), "time": time.time_ns()},
        {"name": "size", "type": "histogram", "sum": 6, "count": 3, "bounds": [1], "bucket_counts": [1, 2],
         "time": time.time_ns()},
        {"name": "size", "type": "histogram", "sum": 6, "count": 3, "bounds": [1], "bucket_counts": [1],
         "time": time.time_ns()},
    ]  # fmt: skip
    body = json.dumps({"spans": spans, "metrics": metrics}).replace("Infinity", "1e400")
    for _ in range(2):
        answer = stored.post("/api/v1/telemetry/ingest", content=body, headers=key)
        assert answer.status_code == 202, answer.text
        refused = [(item["list"], item["index"]) for item in answer.json()["rejected"]]
        assert refused == [*(("spans", n) for n in range(2, 9)), ("metrics", 1), ("metrics", 3)]
        assert answer.json()["accepted"] == 4
    found = spans_of(stored, "team-a")
    assert [(s.span_id, s.parent_span_id, s.name, s.status) for s in found] == [
        (SPAN, "", "load", "error"),
        (CHILD, SPAN, "parse", "unset"),
    ]
    assert found[0].attributes == {
        "lineage.run_id": RUN, "lineage.job.name": "load", "rows": "12", "ok": "true", "list": '[1,"a"]'
    }  # fmt: skip
    assert found[0].start_time == read_ns(spans[0]["start_time"])
    assert found[0].end_time == read_ns(spans[0]["end_time"])
    assert (found[0].status_message, found[0].service_name, found[1].resource) == ("boom", "etl", {"host": "h"})
    assert [(e.name, e.attributes) for e in found[0].events] == [("read", {"file": "a.csv"})]
    assert spans_of(stored, "team-b") == []


def read_ns(iso: str) -> int:
    at = datetime.fromisoformat(iso)
    return (int(at.timestamp()) * 1_000_000 + at.microsecond) * 1000


def test_another_teams_telemetry_is_refused(stored: TestClient, team: Callable[..., dict[str, str]]) -> None:
    key = team("team-a")
    path = "/api/v1/telemetry/ingest"
    assert stored.post(path, json={"namespace": "team-b", "spans": [span()]}, headers=key).status_code == 403
    assert stored.post(path, json={"spans": [span()]}).status_code == 422
    assert stored.post(path, json={"spans": [span()] * 10_001}, headers=key).status_code == 413
    assert stored.post(path, json={"spans": ["x"]}, headers=key).status_code == 422
    assert stored.post(path, json={"spans": 1}, headers=key).status_code == 422
    otlp = "/api/v1/telemetry/v1/traces"
    assert stored.post(otlp, content=b"x", headers=key).status_code == 422
    assert (
        stored.post(otlp, content=b"\xff", headers=key | {"Content-Type": "application/x-protobuf"}).status_code == 422
    )
    resource = {"attributes": [{"key": "service.namespace", "value": {"stringValue": "team-b"}}]}
    foreign = {"resourceSpans": [{"resource": resource, "scopeSpans": []}]}
    assert stored.post(otlp, json=foreign, headers=key).status_code == 403


def test_a_run_shows_its_trace(stored: TestClient, team: Callable[..., dict[str, str]]) -> None:
    key = team("team-a")
    stored.post("/api/v1/lineage/ingest", json={"events": [lineage(None)]}, headers=key)
    assert stored.get(f"/runs/{RUN}/spans").json() == []
    assert "<h2>Trace" not in stored.get(f"/ui/runs/{RUN}").text
    now = datetime.now(UTC)
    told = [
        span(attributes={"lineage.run_id": RUN}, status="error", status_message="<b>boom"),
        span(span_id=CHILD, parent_span_id=SPAN, name="parse", start_time=(now - timedelta(seconds=1)).isoformat()),
        span(span_id="1" * 16, parent_span_id="2" * 16, name="of a parent elsewhere", start_time=now.isoformat(),
             end_time=(now + timedelta(milliseconds=1)).isoformat()),
    ]  # fmt: skip
    stored.post("/api/v1/telemetry/ingest", json={"spans": told}, headers=key)
    # Another team that claims to be of this run.
    forged = span(trace_id="f" * 32, name="forged", attributes={"lineage.run_id": RUN})
    stored.post("/api/v1/telemetry/ingest", json={"namespace": "team-b", "spans": [forged]})
    found = stored.get(f"/runs/{RUN}/spans").json()
    shown = [(item["name"], item["depth"], item["status"], item["parent_span_id"]) for item in found]
    assert shown == [
        ("load", 0, "error", None),
        ("parse", 1, "unset", SPAN),
        ("of a parent elsewhere", 0, "unset", "2" * 16),
    ]
    assert 1.9 < found[0]["duration_seconds"] < 2.1
    page = stored.get(f"/ui/runs/{RUN}").text
    assert all(said in page for said in ("<h2>Trace", "parse", "&lt;b&gt;boom"))
    assert "forged" not in page
    assert stored.get("/runs/none/spans").status_code == 404


def test_any_opentelemetry_exporter_can_be_pointed_at_it(
    stored: TestClient, team: Callable[..., dict[str, str]], listen: Callable[[TestClient], str]
) -> None:
    key = team("team-a")
    endpoint = f"{listen(stored)}/api/v1/telemetry"
    resource = Resource.create({"service.name": "etl", "deployment": "test"})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", headers=key)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer", attributes={"lineage.run_id": RUN}) as outer:
        with tracer.start_as_current_span("inner", kind=trace.SpanKind.CLIENT) as inner:
            inner.add_event("half", {"n": 1})
        outer.set_status(trace.StatusCode.ERROR, "broke")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics", headers=key), 60_000)
    meters = MeterProvider([reader], resource=resource)
    meter = meters.get_meter("t")
    meter.create_counter("rows").add(5, {"table": "t"})
    meter.create_histogram("seconds").record(2.5)
    assert meters.force_flush()
    provider.shutdown()
    meters.shutdown()
    found = spans_of(stored, "team-a")
    assert [(s.name, s.kind, s.status, s.status_message, s.service_name) for s in found] == [
        ("outer", "internal", "error", "broke", "etl"),
        ("inner", "client", "unset", "", "etl"),
    ]
    assert found[1].parent_span_id == found[0].span_id
    assert found[0].resource["deployment"] == "test"
    assert [(e.name, e.attributes) for e in found[1].events] == [("half", {"n": "1"})]
    text = stored.get("/metrics").text
    assert 'metadata_hub_items_total{kind="spans",outcome="accepted",sender="team-a"} 2.0' in text


def test_otlp_in_json_is_read_too(stored: TestClient) -> None:
    now = time.time_ns()
    attributes = [
        {"key": "lineage.run_id", "value": {"stringValue": RUN}},
        {"key": "sizes", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 0.5}]}}},
    ]
    good = {"traceId": TRACE.upper(), "spanId": SPAN, "name": "x", "kind": 3, "attributes": attributes,
            "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5)}  # fmt: skip
    resource = {"attributes": [{"key": "service.namespace", "value": {"stringValue": "team-j"}}]}
    spans = [good, good | {"spanId": ""}]
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    answer = stored.post("/api/v1/telemetry/v1/traces", json=body)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == 1
    [found] = spans_of(stored, "team-j")
    assert (found.trace_id, found.kind, found.end_time - found.start_time) == (TRACE, "client", 5)
    assert found.attributes["sizes"] == "[1,0.5]"


def test_health_tells_each_dependency(stored: TestClient) -> None:
    told = stored.get("/api/v1/health", headers={"Authorization": ""}).json()
    assert told["status"] == "ok"
    states = {name: dependency["state"] for name, dependency in told["dependencies"].items()}
    assert states == {"database": "up", "projection": "up", "kafka": "off", "telemetry": "up"}


def test_a_store_that_is_away_is_told(serve: Callable[..., TestClient], free_port: Callable[[], int]) -> None:
    api = serve(telemetry_url=f"http://127.0.0.1:{free_port()}/telemetry")
    api.headers["Authorization"] = "Bearer test-key"
    refused = api.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": [span()]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    told = api.get("/api/v1/health").json()
    assert (told["status"], told["dependencies"]["telemetry"]["state"]) == ("degraded", "down")
    assert api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": [lineage(None)]}).status_code == 202


def test_values_that_no_store_keeps_are_refused(stored: TestClient) -> None:
    path, now = "/api/v1/telemetry/ingest", time.time_ns()
    random = "".join(uuid.uuid4().hex for _ in range(200))  # does not fit an index, however it is packed
    odd = [
        {"spans": [span(attributes={"lineage.run_id": random, "\x00": ""}, events=[{"name": "\x00", "time": now}])]},
        {"spans": [span(events=[{"name": "e", "time": 2**63}])]},
        {"spans": [span(attributes={"a": ["\ud800"]})]},
        {"spans": [span(kind="\ud800")]},
        {"metrics": [{"name": "m", "value": 1, "time": now, "count": 2**64}]},
        {"metrics": [{"name": "m", "value": 1, "time": now, "bounds": [1], "bucket_counts": [2**70, 1]}]},
        {"metrics": [{"name": "m", "value": 10**400, "time": now}]},
        {"namespace": "n" * 1001, "spans": [span()]},
        {"namespace": " ", "spans": [span()]},
    ]  # fmt: skip
    answers = [stored.post(path, content=json.dumps({"namespace": "t"} | body)).status_code for body in odd]
    assert answers == [202] + [422] * 8
    assert stored.post(path, content=b'{"spans": [' + b"9" * 5000 + b"]}").status_code == 400
    cut = gzip.compress(json.dumps({"namespace": "t", "spans": [span()]}).encode())[:-9]
    assert stored.post(path, content=cut, headers={"Content-Encoding": "gzip"}).status_code == 400

    otlp, protobuf = "/api/v1/telemetry/v1/metrics", {"Content-Type": "application/x-protobuf"}
    export = ExportMetricsServiceRequest()
    metric = export.resource_metrics.add().scope_metrics.add().metrics.add(name="h")
    point = metric.histogram.data_points.add(time_unix_nano=now, sum=1, count=2**64 - 1)
    point.explicit_bounds.append(float("nan"))
    point.bucket_counts.extend([1, 2])
    metric.histogram.data_points.add(time_unix_nano=now, flags=1)  # the series has ended
    export.resource_metrics[0].resource.attributes.add(key="service.namespace").value.string_value = "t"
    answer = stored.post(otlp, content=export.SerializeToString(), headers=protobuf)
    assert (answer.status_code, ExportMetricsServiceResponse.FromString(answer.content).partial_success) == (
        200, ExportMetricsPartialSuccess(rejected_data_points=1, error_message="'h': bounds: are not finite numbers"),
    )  # fmt: skip
    for body in ("1", "null", "[]", '{"resourceMetrics": 1}'):
        refused = stored.post(otlp, content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code == 422, body
    assert stored.post(otlp, content=b"\x0a\x00" * 60_000, headers=protobuf).status_code == 413


def test_a_value_that_a_store_refuses_holds_nobody_up(stored: TestClient) -> None:
    store = stored.app.state.telemetry  # type: ignore[attr-defined]
    now = time.time_ns()

    def batch(run: str) -> Batch:
        return Batch("t", [Span(uuid.uuid4().hex, SPAN, "x", now, now, attributes={"lineage.run_id": run})])

    bad = batch("bad\x00")  # no text of Postgres'
    bad.spans[0].end_time = 2**70  # no integer of ClickHouse's

    async def write() -> list[BaseException | None]:
        writer = TelemetryWriter(store)
        items = (batch("one"), bad, batch("two"))
        return await asyncio.gather(*(writer.write([item]) for item in items), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(write())] == [type(None), ValueRefusedError, type(None)]
    assert [len(store.spans_of_run("t", run, 9)) for run in ("one", "two")] == [1, 1]


def test_what_is_too_old_is_forgotten_part_by_part(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metadata_service.telemetry.postgres._FORGET_AT_ONCE", 10)
    api = serve()
    api.headers["Authorization"] = "Bearer test-key"
    with psycopg.connect(api.app.state.settings.libpq_url, autocommit=True) as admin:  # type: ignore[attr-defined]
        admin.execute(
            "INSERT INTO telemetry_span SELECT 't', 'old', n::text, '', n, '{}' FROM generate_series(1, 15) AS n"
        )
        for number, left in ((1, 5), (2, 1)):
            with psycopg.connect(admin.info.dsn, password=admin.info.password) as other:
                # A row that somebody else is at holds nobody up.
                other.execute("SELECT FROM telemetry_span WHERE start_time = 15 FOR UPDATE")
                told = {"namespace": "t", "spans": [span(span_id=f"{number:016x}")]}
                assert api.post("/api/v1/telemetry/ingest", json=told).status_code == 202
            assert admin.execute("SELECT count(*) FROM telemetry_span WHERE start_time < 99").fetchone() == (left,)


def test_health_does_not_wait_for_a_store_that_hangs(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metadata_service.services.probes.PATIENCE", 0.2)
    api, answers, asked = serve(), threading.Event(), []

    def hang() -> None:
        asked.append(1)
        answers.wait(10)

    monkeypatch.setattr(api.app.state.telemetry, "reach", hang)  # type: ignore[attr-defined]
    for _ in range(3):
        told = api.get("/api/v1/health").json()
        assert (told["status"], told["dependencies"]["telemetry"]["state"]) == ("degraded", "down")
    assert len(asked) == 1  # however many ask, it takes one thread
    answers.set()
    time.sleep(0.2)
    assert api.get("/api/v1/health").json()["status"] == "ok"
