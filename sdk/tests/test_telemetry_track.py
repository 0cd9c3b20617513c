"""Spans and metrics of tracked calls, in whose providers they go, and how they and runs point at each other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from data_lineage_hub_sdk import TelemetryClient, configure, flush, lineage_run, lineage_track, telemetry_track

Recorded = Callable[[], list[dict[str, Any]]]


def sorted_out(
    items: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return events in their order, spans by name, points by name."""
    events = [item for item in items if "eventType" in item]
    spans = {item["name"]: item for item in items if "span_id" in item}
    points = {item["name"]: item for item in items if "value" in item}
    return events, spans, points


@pytest.mark.parametrize("lineage_first", [True, False])
def test_run_and_span_of_a_call_point_at_each_other(recorded: Recorded, lineage_first: bool) -> None:
    def load(day: str) -> str:
        with lineage_run("inner"):
            return helper(day)

    @telemetry_track("helper")
    def helper(day: str) -> str:
        return day

    both = [lineage_track("load"), telemetry_track("load", attributes={"team": "orders"})]
    function = load
    for decorate in both if lineage_first else reversed(both):
        function = decorate(function)
    assert function("today") == "today"
    events, spans, _ = sorted_out(recorded())
    run, inner = events[0]["run"]["runId"], events[1]["run"]["runId"]
    span = spans["load"]
    assert span["attributes"] == {
        "code.function.name": f"{__name__}.test_run_and_span_of_a_call_point_at_each_other.load",
        "team": "orders",
        "lineage.run_id": run,
        "lineage.job.namespace": "team",
        "lineage.job.name": "load",
    }
    assert (span["kind"], span["status"], "parent_span_id" in span) == ("internal", "unset", False)
    assert span["end_time"] > span["start_time"] > 1.7e18
    assert (span["resource"]["service.namespace"], span["service_name"]) == ("team", span["resource"]["service.name"])
    assert len(events) == 4
    for event in events:  # the inner run has no span of its own: it lies within that of the call
        facet = event["run"]["facets"]["telemetry"]
        assert (facet["traceId"], facet["spanId"]) == (span["trace_id"], span["span_id"])
    assert spans["helper"]["attributes"]["lineage.run_id"] == inner
    assert spans["helper"]["parent_span_id"] == span["span_id"]


def test_durations_and_errors_are_measured(recorded: Recorded) -> None:
    @telemetry_track("load")
    async def load(fail: bool) -> None:
        await asyncio.sleep(0.02)
        if fail:
            raise KeyError("gone")

    @telemetry_track("items")
    def items() -> Iterator[int]:
        yield 1
        yield 2

    for fail in (False, True, False):
        try:
            asyncio.run(load(fail))
        except KeyError:
            assert fail
    for _ in items():
        break  # whoever stops is no error
    found = recorded()
    _, spans, _ = sorted_out(found)
    points = [item for item in found if "value" in item]
    durations = {
        point["attributes"]["code.function.name"].rpartition(".")[2]: point for point in points if "sum" in point
    }
    assert {name: point["count"] for name, point in durations.items()} == {"load": 3, "items": 1}
    assert (durations["load"]["type"], durations["load"]["unit"]) == ("histogram", "s")
    assert 0.06 <= durations["load"]["sum"] < 2
    assert sum(durations["load"]["bucket_counts"]) == 3
    (errors,) = (point for point in points if point["name"] == "lineage_hub.call.errors")
    assert (errors["value"], errors["attributes"]["error.type"]) == (1, "KeyError")
    assert {point["temporality"] for point in points} == {"delta"}
    failed = next(item for item in found if item.get("status") == "error")
    assert (failed["name"], failed["status_message"]) == ("load", "'gone'")
    assert failed["events"][0]["attributes"]["exception.type"] == "KeyError"
    assert spans["items"]["status"] == "unset"
    asyncio.run(load(False))
    again = [item for item in recorded()[len(found) :] if "sum" in item]
    assert [item["count"] for item in again] == [1]  # since the last time


def test_an_error_that_can_not_be_told_ends_its_span(recorded: Recorded) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    @telemetry_track("fail")
    def fail() -> None:
        raise MuteError

    with pytest.raises(MuteError):
        fail()
    _, spans, points = sorted_out(recorded())
    assert spans["fail"]["status"] == "error"
    assert spans["fail"]["attributes"]["error.type"].endswith("MuteError")
    assert points["lineage_hub.call.errors"]["value"] == 1


def test_over_http_it_is_otlp(hub: Any, fresh: None) -> None:
    configure(url=hub.url, api_key="secret", namespace="team", transport="", service_name="svc")

    @telemetry_track("load")
    def load() -> None: ...

    load()
    assert flush(10)
    traces = ExportTraceServiceRequest()
    metrics = ExportMetricsServiceRequest()
    for kind, body in hub.otlp:
        (traces if kind == "traces" else metrics).MergeFromString(body)
    (part,) = traces.resource_spans
    assert {item.key: item.value.string_value for item in part.resource.attributes}["service.namespace"] == "team"
    assert [span.name for scope in part.scope_spans for span in scope.spans] == ["load"]
    names = [metric.name for scope in metrics.resource_metrics[0].scope_metrics for metric in scope.metrics]
    assert names == ["lineage_hub.call.duration"]
    assert hub.keys == {"Bearer secret"}


# OpenTelemetry's globals can be set once in a process, so these run in processes of their own.
OWN = """
import json, sys
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from data_lineage_hub_sdk import flush, lineage_track, telemetry_track

@lineage_track("load")
@telemetry_track("load")
def load(): pass

@lineage_track("alone")
def alone(): pass

if "late" in sys.argv:
    load()
spans, points = InMemorySpanExporter(), InMemoryMetricReader()
ours = TracerProvider()
ours.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(ours)
if "meters" in sys.argv:
    metrics.set_meter_provider(MeterProvider([points]))
with trace.get_tracer("user").start_as_current_span("users"):
    load()
    alone()
assert trace.get_tracer_provider() is ours
assert flush(10)
data = points.get_metrics_data() if "meters" in sys.argv else None
found = [json.loads(span.to_json()) for span in spans.get_finished_spans()]
print(json.dumps([found, data and json.loads(data.to_json())]))
"""


@pytest.mark.parametrize("arguments", [["meters"], ["late", "meters"], []])
def test_the_users_own_opentelemetry_is_respected(tmp_path: Any, arguments: list[str]) -> None:
    file = tmp_path / "recorded"
    environment = {"LINEAGE_HUB_TRANSPORT": "file", "LINEAGE_HUB_FILE": str(file), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OWN, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    spans, data = json.loads(done.stdout)
    assert [span["name"] for span in spans] == ["load", "users"]
    assert spans[0]["parent_id"] == spans[1]["context"]["span_id"]
    events, sent, points = sorted_out([json.loads(line) for line in file.read_text().splitlines()])
    assert list(sent) == (["load"] if "late" in arguments else [])  # before there was the user's own
    names = [metric["name"] for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]] if data else []
    assert ("lineage_hub.call.duration" in names, "lineage_hub.call.duration" in points) == (
        "meters" in arguments,
        "meters" not in arguments or "late" in arguments,
    )
    load, alone = events[-4], events[-2]
    assert spans[0]["attributes"]["lineage.run_id"] == load["run"]["runId"]
    for event, span in ((load, spans[0]), (alone, spans[1])):
        facet = event["run"]["facets"]["telemetry"]
        assert int(facet["traceId"], 16) == int(span["context"]["trace_id"], 16)
        assert int(facet["spanId"], 16) == int(span["context"]["span_id"], 16)


def test_spans_and_metrics_can_be_handed_over(hub: Any, fresh: None, caplog: pytest.LogCaptureFixture) -> None:
    span = {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1", "name": "s", "start_time": 1, "end_time": 2}
    metric = {"name": "rows", "value": 3, "time": "2026-01-01T00:00:00Z"}
    with TelemetryClient(url=hub.url, transport="http", namespace="team") as client:
        client.emit(spans=[span], metrics=[metric])
        asyncio.run(client.aemit(spans=[{**span, "name": "a"}], metrics=[metric]))
        loop: dict[str, Any] = {}
        loop["self"] = loop
        client.emit(spans=[loop])
        assert client.flush(10)
        assert hub.items == {"spans": [span, {**span, "name": "a"}], "metrics": [metric, metric]}
        assert {body["namespace"] for body in hub.bodies} == {"team"}
        assert "can't be turned into JSON" in caplog.text
        hub.refuse = lambda item: "no such thing" if item["name"] == "bad" else None
        client.emit(spans=[{**span, "name": "bad"}, span])
        client.flush(10)
        (kept,) = client._outbox.spool.rejected.glob("*.json")
        assert json.loads(kept.read_text()) == {"reason": "no such thing", "event": {**span, "name": "bad"}}
