"""Through Kafka into the stores: what is sent, what arrives, and what happens where something is away.

The brokers are librdkafka's own, in this process; `make test-peers` runs the same against a real Kafka.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from metadata_service.settings import ConsumerSettings
from metadata_service.streaming.client import headers_of
from metadata_service.streaming.dead_letters import list_letters

pytestmark = pytest.mark.integration
Make = Callable[..., Any]


def read_all(settings: ConsumerSettings, topic: str) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "reading", "fetch.wait.max.ms": 20}
    )
    partitions = [
        TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, 5).topics[topic].partitions
    ]
    expected = sum(consumer.get_watermark_offsets(place, 5)[1] for place in partitions)
    consumer.assign(partitions)
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < expected:
        assert time.monotonic() < deadline
        found.extend(message for message in consumer.consume(100, 0.2) if not message.error())
    consumer.close()
    return found


def test_lineage_is_acknowledged_by_the_brokers_and_then_stored(
    api: TestClient, hub: ConsumerSettings, consuming: Make, until: Make, count: Make, event: Make
) -> None:
    key = api.post("/keys", json={"name": "a", "role": "writer", "namespaces": ["team-a"]}).json()["key"]
    facets = {"telemetry": {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331"}}
    traced = event("r1") | {"run": {"runId": "r1", "facets": facets}}
    told = {"events": [traced, *(event(f"r{n % 5}", n) for n in range(40)), {"job": {}}]}
    answer = api.post("/api/v1/lineage/ingest", json=told, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["accepted"], answer.json()["transport"]) == (41, "kafka")
    assert [item["index"] for item in answer.json()["rejected"]] == [41]
    assert api.get("/api/v1/health").json()["dependencies"]["kafka"]["state"] == "up"

    sent = read_all(hub, hub.kafka_topic_lineage)
    first = next(
        m for m in sent if json.loads(m.value() or b"") == traced | {"job": {"name": "load", "namespace": "team-a"}}
    )
    assert first.key() == b"team-a/r1"
    assert dict(headers_of(first)) == {
        "namespace": b"team-a", "schema-version": b"1", "sender": b"a", "bound": b"1",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }  # fmt: skip
    assert all(len({m.partition() for m in sent if m.key() == key}) == 1 for key in {m.key() for m in sent})

    with consuming(hub, "lineage"):
        until(lambda: count("event") == 41)
    assert api.get("/runs", params={"job_namespace": "team-a"}).json()["total"] == 5
    with psycopg.connect(hub.libpq_url) as connection:
        rows = connection.execute("SELECT run_id, event_time FROM event ORDER BY id").fetchall()
        [(sender,)] = connection.execute("SELECT DISTINCT key_name FROM event").fetchall()
    assert sender == "a"
    for run in {run for run, _ in rows}:
        times = [at for name, at in rows if name == run]
        assert times == sorted(times)


def test_telemetry_goes_in_batches_and_twice_does_no_harm(
    api: TestClient, hub: ConsumerSettings, consuming: Make, until: Make, count: Make, span: Make
) -> None:
    settings = hub.model_copy(update={"telemetry_batch_seconds": 1.5})
    spans = [span(n % 7, n) for n in range(130)]
    metrics = [{"name": "rows", "value": n, "time": time.time_ns(), "attributes": {"n": str(n)}} for n in range(30)]
    answer = api.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": spans, "metrics": metrics})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 160), answer.text
    sent = read_all(hub, hub.kafka_topic_spans)
    assert {m.key() for m in sent} == {f"t/{n + 1:032x}".encode() for n in range(7)}
    registry = CollectorRegistry()
    with consuming(settings, "telemetry", registry):
        until(lambda: (count("telemetry_span"), count("telemetry_metric")) == (130, 30))
        # Fewer than a batch has: they are written once the oldest has waited long enough.
        api.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": [span(9, 999)]})
        time.sleep(0.5)
        assert count("telemetry_span") == 130
        until(lambda: count("telemetry_span") == 131)
        until(lambda: 'hub_consumer_lag{consumer="telemetry"' in generate_latest(registry).decode())
    assert 'hub_consumer_items_total{consumer="telemetry"} 161.0' in generate_latest(registry).decode()
    # Another group reads everything again, into the same store.
    again = settings.model_copy(update={"kafka_group": f"{hub.kafka_group}-again"})
    registry = CollectorRegistry()
    with consuming(again, "telemetry", registry):
        until(lambda: 'hub_consumer_items_total{consumer="telemetry"} 161.0' in generate_latest(registry).decode())
    assert (count("telemetry_span"), count("telemetry_metric")) == (131, 30)


def test_a_store_that_is_away_is_waited_for(
    api: TestClient, hub: ConsumerSettings, admin_dsn: str, consuming: Make, until: Make, count: Make, event: Make
) -> None:
    database = hub.libpq_url.rpartition("/")[2]
    with consuming(hub, "lineage"), psycopg.connect(admin_dsn, autocommit=True) as admin:
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": [event("r0")]})
        until(lambda: count("event") == 1)
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')  # type: ignore[call-overload]
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        for number in range(1, 6):
            # What the service itself stores is not to be had now, but the brokers take events.
            sent = api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": [event("r0", number)]})
            assert sent.status_code == 202
        time.sleep(1)
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')  # type: ignore[call-overload]
        until(lambda: count("event") == 6)
    assert list(list_letters(hub)) == []


def test_without_brokers_nothing_is_acknowledged(
    serve: Callable[..., TestClient], free_port: Callable[[], int], event: Make, span: Make
) -> None:
    away = f"127.0.0.1:{free_port()}"
    api = serve(kafka_bootstrap_servers=away, kafka_delivery_seconds=1)
    api.headers["Authorization"] = "Bearer test-key"
    for path, items in (("lineage", {"events": [event("r")]}), ("telemetry", {"spans": [span(1, 1)]})):
        refused = api.post(f"/api/v1/{path}/ingest", json={"namespace": "t"} | items)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    told = api.get("/api/v1/health").json()
    assert (told["status"], told["dependencies"]["kafka"]["state"]) == ("down", "down")


def test_what_is_too_large_for_kafka_is_not_asked_for_again(
    api: TestClient, hub: ConsumerSettings, serve: Callable[..., TestClient], event: Make, span: Make
) -> None:
    told = hub.model_dump(include={name for name in type(hub).model_fields if name.startswith("kafka_")})
    small = serve(**told | {"kafka_max_message_bytes": 1024})
    small.headers["Authorization"] = "Bearer test-key"
    large = span(1, 1) | {"attributes": {f"k{n}": "x" * 16_000 for n in range(8)}}
    answer = small.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": [large]})
    assert answer.status_code == 413, answer.text
    events = {"namespace": "t", "events": [event("r"), event("x" * 100) | {"run": {"runId": "r", "facets": large}}]}
    assert small.post("/api/v1/lineage/ingest", json=events).status_code == 202
    assert len(read_all(hub, hub.kafka_topic_lineage)) == 1
