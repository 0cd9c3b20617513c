"""Through Kafka into the stores: what is sent, what arrives, and what happens where something is wrong or away.

The brokers are librdkafka's own, in this process; `make test-peers` runs the same against a real Kafka.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.orm import sessionmaker

from metadata_service.database import make_engine
from metadata_service.settings import ConsumerSettings
from metadata_service.streaming import __main__ as program
from metadata_service.streaming import dead_letters
from metadata_service.streaming.client import headers_of
from metadata_service.streaming.consumer import StreamConsumer
from metadata_service.streaming.dead_letters import list_letters, replay_letters
from metadata_service.streaming.handlers import LineageHandler, MarquezHandler, TelemetryHandler
from metadata_service.streaming.metrics import ConsumerMetrics, MetricFamilies
from metadata_service.streaming.producer import BrokerAwayError
from metadata_service.streaming.topics import make_topics, topic_names
from metadata_service.telemetry.store import open_store

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """Addresses of brokers: real ones in DP_TEST_KAFKA, else librdkafka's mock cluster."""
    given = os.environ.get("DP_TEST_KAFKA")
    if given:
        yield given
        return
    cluster = Producer({"bootstrap.servers": "in-this-process", "test.mock.num.brokers": 1})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)


@pytest.fixture
def hub(brokers: str, empty_database: str) -> ConsumerSettings:
    """Settings with topics of the test's own, which are made."""
    own = uuid.uuid4().hex[:8]
    names = {f"kafka_topic_{name}": f"{name}-{own}" for name in ("lineage", "spans", "metrics")}
    settings = ConsumerSettings(
        database_url=empty_database,
        kafka_bootstrap_servers=brokers,
        kafka_partitions=4,
        kafka_group=f"test-{own}",
        kafka_delivery_seconds=3,
        metrics_port=0,
        **names,
    )
    if "DP_TEST_KAFKA" in os.environ:  # the mock cluster makes them when they are asked for
        made = [(topic.name, topic.partitions) for _ in range(2) for topic in make_topics(settings)]
        expected = [(name + end, 1 if end else 4) for name in topic_names(settings) for end in ("", ".dlq")]
        assert made == [(name, 0) for name, _ in expected] + expected
    return settings


@pytest.fixture
def api(hub: ConsumerSettings, serve: Callable[..., TestClient]) -> TestClient:
    """A service that sends through these topics, with its key."""
    told = hub.model_dump(include={name for name in type(hub).model_fields if name.startswith("kafka_")})
    client = serve(**told)
    client.headers["Authorization"] = "Bearer test-key"
    return client


@contextmanager
def consuming(settings: ConsumerSettings, handler: Any, registry: CollectorRegistry | None = None) -> Iterator[None]:
    metrics = ConsumerMetrics(MetricFamilies(registry or CollectorRegistry()), handler.name)
    consumer: StreamConsumer[Any] = StreamConsumer(settings, settings.kafka_group, handler, metrics)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    yield
    consumer.stop()
    thread.join(30)
    assert not thread.is_alive()


def lineage(settings: ConsumerSettings) -> LineageHandler:
    return LineageHandler(settings, sessionmaker(make_engine(settings)))


def telemetry(settings: ConsumerSettings) -> TelemetryHandler:
    return TelemetryHandler(settings, open_store(settings))


def event(run: str, number: int = 0, namespace: str | None = None) -> dict[str, Any]:
    job = {"name": "load"} | ({"namespace": namespace} if namespace else {})
    told = {
        "eventType": "RUNNING",
        "eventTime": f"2026-01-01T00:00:00.{number:06d}Z",
        "producer": "https://example.org",
    }
    return told | {"run": {"runId": run}, "job": job}


def span(trace: int, number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    ids = {"trace_id": f"{trace + 1:032x}", "span_id": f"{number + 1:016x}"}
    return ids | {"name": "work", "start_time": now, "end_time": now, "attributes": {"lineage.run_id": f"r{trace}"}}


def until(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count(settings: ConsumerSettings, table: str) -> int:
    with psycopg.connect(settings.libpq_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
        return int(row[0])


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
    until(lambda: bool(found.extend(m for m in consumer.consume(100, 0.2) if not m.error())) or len(found) >= expected)
    consumer.close()
    return found


def send_raw(settings: ConsumerSettings, topic: str, *values: bytes | None, **headers: str) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for value in values:
        producer.produce(topic, value=value, key=b"k", headers={name: text.encode() for name, text in headers.items()})
    assert producer.flush(10) == 0


def test_lineage_is_acknowledged_by_the_brokers_and_then_stored(api: TestClient, hub: ConsumerSettings) -> None:
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

    with consuming(hub, lineage(hub)):
        until(lambda: count(hub, "event") == 41)
    assert api.get("/runs", params={"job_namespace": "team-a"}).json()["total"] == 5
    with psycopg.connect(hub.libpq_url) as connection:
        rows = connection.execute("SELECT run_id, event_time FROM event ORDER BY id").fetchall()
        [(sender,)] = connection.execute("SELECT DISTINCT key_name FROM event").fetchall()
    assert sender == "a"
    for run in {run for run, _ in rows}:
        times = [at for name, at in rows if name == run]
        assert times == sorted(times)


def test_telemetry_goes_in_batches_and_twice_does_no_harm(
    api: TestClient, hub: ConsumerSettings, tmp_path: Path
) -> None:
    settings = hub.model_copy(update={"telemetry_batch_seconds": 1.5})
    spans = [span(n % 7, n) for n in range(130)]
    metrics = [{"name": "rows", "value": n, "time": time.time_ns(), "attributes": {"n": str(n)}} for n in range(30)]
    answer = api.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": spans, "metrics": metrics})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 160), answer.text
    sent = read_all(hub, hub.kafka_topic_spans)
    assert {m.key() for m in sent} == {f"t/{n + 1:032x}".encode() for n in range(7)}
    registry = CollectorRegistry()
    with consuming(settings, telemetry(settings), registry):
        until(lambda: (count(hub, "telemetry_span"), count(hub, "telemetry_metric")) == (130, 30))
        # Fewer than a batch has: they are written once the oldest has waited long enough.
        api.post("/api/v1/telemetry/ingest", json={"namespace": "t", "spans": [span(9, 999)]})
        time.sleep(0.5)
        assert count(hub, "telemetry_span") == 130
        until(lambda: count(hub, "telemetry_span") == 131)
        until(lambda: 'hub_consumer_lag{consumer="telemetry"' in generate_latest(registry).decode())
    assert 'hub_consumer_items_total{consumer="telemetry"} 161.0' in generate_latest(registry).decode()
    # Another group reads everything again, into the same store.
    again = settings.model_copy(update={"kafka_group": f"{hub.kafka_group}-again"})
    registry = CollectorRegistry()
    with consuming(again, telemetry(again), registry):
        until(lambda: 'hub_consumer_items_total{consumer="telemetry"} 161.0' in generate_latest(registry).decode())
    assert (count(hub, "telemetry_span"), count(hub, "telemetry_metric")) == (131, 30)


def test_what_can_never_be_written_is_a_dead_letter_and_can_be_sent_again(
    api: TestClient, hub: ConsumerSettings
) -> None:
    topic = hub.kafka_topic_lineage
    send_raw(hub, topic, b"{", None, b'{"job": 1}', namespace="t", sender="x")  # None is a tombstone
    send_raw(hub, topic, json.dumps(event("r-own", namespace="b")).encode(), namespace="b", bound="1")
    send_raw(hub, topic, json.dumps(event("r-own", namespace="a")).encode(), namespace="a", bound="1")
    send_raw(hub, topic, json.dumps(event("r-x", namespace="a")).encode(), namespace="b")
    send_raw(hub, topic, json.dumps(event("r-nul", namespace="a")).encode(), namespace="a", sender="\x00")
    send_raw(hub, topic, json.dumps(event("r-good", namespace="a")).encode(), namespace="a")
    send_raw(hub, hub.kafka_topic_spans, b'{"spans": [{"name": "x"}]}', b"[]", b"\xff", namespace="t")
    send_raw(hub, hub.kafka_topic_spans, json.dumps({"spans": [span(1, 1)]}).encode())
    send_raw(hub, hub.kafka_topic_spans, json.dumps({"spans": [span(1, 1)]}).encode(), namespace="t")
    # It is well-formed, as the hub writes it, but Postgres has no such text.
    now, ids = time.time_ns(), {"trace_id": "a" * 32, "span_id": "b" * 16, "attributes": {"lineage.run_id": "\x00"}}
    nul = {"spans": [ids | {"name": "x", "start_time": now, "end_time": now}]}
    send_raw(hub, hub.kafka_topic_spans, json.dumps(nul).encode(), namespace="t")
    registry = CollectorRegistry()
    with consuming(hub, lineage(hub)), consuming(hub, telemetry(hub), registry):
        until(lambda: len(list(list_letters(hub))) == 9)
        until(lambda: (count(hub, "event"), count(hub, "telemetry_span")) == (3, 1))
        letters = list(list_letters(hub))
        assert Counter(letter.topic for letter in letters) == {topic: 4, hub.kafka_topic_spans: 5}
        reasons = "\n".join(letter.reason for letter in letters)
        for said in (
            "not JSON",
            "job: ",
            "another namespace",
            "header says namespace 'b'",
            "trace_id",
            "namespace is missing",
            "The store refused it: DataError",
        ):
            assert said in reasons
        assert next(letter.value for letter in letters if letter.topic == topic) == b"{"
        assert {letter.namespace for letter in letters if "not JSON" in letter.reason} == {"t"}
        # Once its fault is mended, it goes through; what still can't be written comes back.
        with psycopg.connect(hub.libpq_url) as connection:
            connection.execute("TRUNCATE event CASCADE; TRUNCATE run CASCADE")
        assert replay_letters(hub) == 9
        until(lambda: count(hub, "event") == 1)
        until(lambda: len(list(list_letters(hub))) == 8)
    assert replay_letters(hub) == 8
    assert list(list_letters(hub)) == []
    assert len(list(list_letters(hub, include_replayed=True))) == 17
    # One message was written, the other five are dead letters, and were again when they came back.
    told = generate_latest(registry).decode()
    assert 'hub_consumer_items_total{consumer="telemetry"} 1.0' in told
    assert 'hub_consumer_messages_total{consumer="telemetry",outcome="dead"} 10.0' in told


def test_a_store_that_is_away_is_waited_for(api: TestClient, hub: ConsumerSettings, admin_dsn: str) -> None:
    database = hub.libpq_url.rpartition("/")[2]
    with consuming(hub, lineage(hub)), psycopg.connect(admin_dsn, autocommit=True) as admin:
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": [event("r0")]})
        until(lambda: count(hub, "event") == 1)
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')  # type: ignore[call-overload]
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        for number in range(1, 6):
            # What the service itself stores is not to be had now, but the brokers take events.
            sent = api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": [event("r0", number)]})
            assert sent.status_code == 202
        time.sleep(1)
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')  # type: ignore[call-overload]
        until(lambda: count(hub, "event") == 6)
    assert list(list_letters(hub)) == []


def test_consumers_share_the_work_and_take_over_from_each_other(api: TestClient, hub: ConsumerSettings) -> None:
    def send(first: int) -> None:
        for start in range(first, first + 300, 50):
            events = [event(f"r{n % 20}", n) for n in range(start, start + 50)]
            assert api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events}).status_code == 202

    one, two = CollectorRegistry(), CollectorRegistry()
    with consuming(hub, lineage(hub), one):
        with consuming(hub, lineage(hub), two):
            # Both have partitions before anything is sent.
            send_until_both_work(api, hub, (one, two))
            send(1000)
        send(2000)
        until(lambda: count(hub, "event WHERE event_time >= '2026-01-01T00:00:00.001Z'") == 600)
    assert list(list_letters(hub)) == []
    with psycopg.connect(hub.libpq_url) as connection:
        rows = connection.execute("SELECT run_id, event_time FROM event ORDER BY id").fetchall()
    for run in {run for run, _ in rows}:
        times = [at for name, at in rows if name == run]
        assert times == sorted(times)


def send_until_both_work(api: TestClient, hub: ConsumerSettings, registries: tuple[CollectorRegistry, ...]) -> None:
    def written(registry: CollectorRegistry) -> float:
        return registry.get_sample_value("hub_consumer_items_total", {"consumer": "lineage"}) or 0.0

    numbers = iter(range(1000))

    def both_work() -> bool:
        number = next(numbers)
        events = [event(f"r{n}", number) for n in range(20)]
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events})
        time.sleep(0.2)
        return all(written(registry) for registry in registries)

    until(both_work)


def test_without_brokers_nothing_is_acknowledged(
    serve: Callable[..., TestClient], free_port: Callable[[], int]
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
    api: TestClient, hub: ConsumerSettings, serve: Callable[..., TestClient]
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


def test_a_replay_does_not_pass_over_what_does_not_come() -> None:
    class Silent:
        def poll(self, _: float) -> None:
            return None

    with pytest.raises(BrokerAwayError, match="nothing more of a came"):
        list(dead_letters._up_to(Silent(), TopicPartition("a", 0, 0), 5, patience=0.01))  # type: ignore[arg-type]


def test_a_consumer_that_fails_ends_all() -> None:
    class Failing:
        def run(self) -> None:
            raise RuntimeError("broken")

        def stop(self) -> None:
            pass

    class Waiting:
        def __init__(self) -> None:
            self._stopping = threading.Event()
            self.stop = self._stopping.set

        def run(self) -> None:
            assert self._stopping.wait(10)

    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        for consumers in ([Waiting(), Failing()], [Failing(), Waiting()]):
            with pytest.raises(RuntimeError, match="broken"):
                program.run(consumers)  # type: ignore[arg-type]
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def test_a_marquez_is_told_too(api: TestClient, hub: ConsumerSettings) -> None:
    with listening(hub) as marquez, consuming(hub, marquez.handler):
        events = [event("r1", 1), event("refused", 2), event("failing", 2), event("r2", 3)]
        api.post("/api/v1/lineage/ingest", json={"namespace": "t", "events": events})
        until(lambda: {told["run"]["runId"] for told in marquez.got} == {"r1", "r2"})
        assert {told["run"]["runId"] for told in marquez.got} == {"r1", "r2"}
        assert marquez.asked > 3  # it was away at first
        until(lambda: len(list(list_letters(hub))) == 2)
        assert {(letter.consumer, letter.reason[:31]) for letter in list_letters(hub)} == {
            ("marquez", "Marquez refused it: HTTP 422 "), ("marquez", "Marquez refused it: HTTP 500 "),
        }  # fmt: skip


class FakeMarquez(ThreadingHTTPServer):
    """Takes lineage as Marquez does: away for the first request, refusing one run, and failing at another."""

    handler: MarquezHandler

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeMarquezHandler)
        self.asked = 0
        self.got: list[dict[str, Any]] = []


class FakeMarquezHandler(BaseHTTPRequestHandler):
    server: FakeMarquez

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        status = 503 if self.server.asked == 1 else {"refused": 422, "failing": 500}.get(told["run"]["runId"], 201)
        if status == 201:
            self.server.got.append(told)
        self.send_response(status)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(settings: ConsumerSettings) -> Iterator[FakeMarquez]:
    server = FakeMarquez()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.handler = MarquezHandler(
        settings.model_copy(update={"marquez_url": f"http://127.0.0.1:{server.server_port}"})
    )
    yield server
    server.shutdown()
    server.server_close()
