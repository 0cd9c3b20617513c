"""`dp bench hub`: what the lineage hub takes a second.

Lineage through API, Kafka and store, beside a bare producer and consumer on the same broker; and spans into
ClickHouse's engine, beside a bare insert of the same rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from confluent_kafka import Consumer, Producer
from rich.table import Table

from dataplatform_cli.bench.kafka import Broker
from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.metadata import CONSUMER_SETTINGS, HUB_SETTINGS, hub_environment
from dataplatform_cli.stack.supervisor import clean_environment

AIM = 0.5
BATCH = 100
_TOPIC = "bare"


def bench_hub(settings: StackSettings, events: int, clients: int, spans: int) -> dict[str, Any]:
    """Send events and write spans both ways, and return the figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        events: Events of each way, 100 a request.
        clients: How many send at the same time.
        spans: Spans of each way.

    Raises:
        NoPeerError: Java, Maven or Kafka can't be had.
    """
    figures: dict[str, Any] = {"events": events, "clients": clients, "spans": spans, "telemetry": _telemetry(spans)}
    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            bare = _bare(broker.address, events, clients)
            with _hub(settings, broker.address) as (url, key, dsn):
                ours = _through(url, key, dsn, events, clients)
        finally:
            broker.stop()
    figures["lineage"] = {"ours": ours, "bare": bare, "ratio": ours["stored"] / bare}
    return figures


@contextmanager
def _hub(settings: StackSettings, brokers: str) -> Iterator[tuple[str, str, str]]:
    """Run service and consumer on a scratch Postgres; give address, key and the store's address."""
    told = settings.model_copy(update={"kafka_bootstrap_servers": brokers, "metrics_port": 0})
    with scratch_stack(told, ("postgres", "metadata")) as (scratch, folder):
        environment = {
            "DATABASE_URL": scratch.dsn("metadata"),
            **hub_environment(scratch, HUB_SETTINGS | CONSUMER_SETTINGS),
        }
        command = [sys.executable, "-m", "metadata_service.streaming", "lineage"]
        with (folder / "consumer.log").open("wb") as log:
            consumer = subprocess.Popen(command, env=clean_environment(environment), stdout=log, stderr=log)
        try:
            key = scratch.metadata_api_key.get_secret_value()
            yield scratch.metadata_url, key, scratch.dsn("metadata")
        finally:
            consumer.terminate()
            consumer.wait(40)


def _through(url: str, key: str, dsn: str, events: int, clients: int) -> dict[str, float]:
    """Return events a second until they are acknowledged, and until they are stored."""
    _send(url, key, BATCH)
    _until(dsn, BATCH)
    err.print(f"[dim]{events:,} events through API and Kafka into the store[/]")
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: _send(url, key, events // clients), range(clients)))
    acknowledged = time.monotonic() - began
    sent = events // clients // BATCH * BATCH * clients
    _until(dsn, BATCH + sent)
    return {"acknowledged": sent / acknowledged, "stored": sent / (time.monotonic() - began)}


def _send(url: str, key: str, events: int) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for _ in range(events // BATCH):
            body = {"namespace": "bench", "events": [_event() for _ in range(BATCH)]}
            answer = client.post("/api/v1/lineage/ingest", content=json.dumps(body).encode())
            if answer.status_code != 202:
                raise PlatformError(f"the hub answered {answer.status_code}: {answer.text[:300]}")


def _event() -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-01-01T00:00:00Z",
        "producer": "https://example.org/bench",
        "run": {"runId": str(uuid.uuid4())},
        "job": {"namespace": "bench", "name": "load"},
        "inputs": [{"namespace": "s3://raw", "name": "orders"}],
        "outputs": [{"namespace": "bench", "name": "orders"}],
    }


def _until(dsn: str, events: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        deadline = time.monotonic() + 600
        while True:
            row = connection.execute("SELECT count(*) FROM event").fetchone()
            if row is not None and row[0] >= events:
                return
            if time.monotonic() > deadline:
                raise PlatformError(f"only {row and row[0]} of {events} events were stored in ten minutes")
            time.sleep(0.05)


def _bare(brokers: str, events: int, clients: int) -> float:
    """Return messages a second from a producer that waits for each hundred, as the hub does, to a consumer."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(_TOPIC, 6, 1)])[_TOPIC].result(30)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bare", "auto.offset.reset": "earliest"})
    consumer.subscribe([_TOPIC])
    expected = events // clients // BATCH * BATCH * clients + BATCH
    arrived = threading.Event()

    def consume() -> None:
        got = 0
        while got < expected:
            got += len(consumer.consume(500, 0.5))
        arrived.set()

    threading.Thread(target=consume, daemon=True).start()
    _produce(brokers, BATCH)
    err.print(f"[dim]{events:,} messages from a bare producer to a bare consumer[/]")
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: _produce(brokers, events // clients), range(clients)))
    if not arrived.wait(600):
        raise PlatformError("the messages did not arrive in ten minutes")
    rate = (expected - BATCH) / (time.monotonic() - began)
    consumer.close()
    return rate


def _produce(brokers: str, events: int) -> None:
    options = {"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4"}
    producer = Producer(options)
    for _ in range(events // BATCH):
        for event in [_event() for _ in range(BATCH)]:
            producer.produce(_TOPIC, json.dumps(event).encode(), event["run"]["runId"].encode())
        producer.flush()


def _telemetry(spans: int) -> dict[str, float]:
    """Return spans a second into the store, and rows a second of the same into a like table, both 10,000 at a time."""
    from clickhouse_connect import get_client

    from metadata_service.telemetry.clickhouse import ClickHouseStore
    from metadata_service.telemetry.model import Batch, Span

    now = time.time_ns()

    def make(number: int) -> Span:
        attributes = {"lineage.run_id": f"r{number // 10}", "lineage.job.name": f"job{number % 7}", "rows": "12"}
        start = now - number * 100_000
        return Span(os.urandom(16).hex(), os.urandom(8).hex(), f"step{number % 20}", start, now, attributes=attributes)

    err.print(f"[dim]{spans:,} spans into ClickHouse's engine[/]")
    batches = [Batch("bench", spans=[make(n) for n in range(at, at + 10_000)]) for at in range(0, spans, 10_000)]
    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        store = ClickHouseStore(f"chdb://{folder}/data", 30)
        store.ask("SELECT 1")
        client = get_client(interface="chdb", path=f"{folder}/data")
        client.command(f"CREATE TABLE {store.database}.bare AS {store.database}.spans")
        # The rows as the driver takes them, made beforehand.
        made = [[list(column) for column in zip(*map(_row, batch.spans), strict=True)] for batch in batches]
        options: dict[str, Any] = {"database": store.database, "column_names": _COLUMNS, "column_oriented": True}
        bare = _timed(lambda: [client.insert("bare", columns, **options) for columns in made])
        ours = _timed(lambda: [store.write([batch]) for batch in batches])  # type: ignore[func-returns-value]
        client.close()
        store.close()
    return {"ours": spans / ours, "bare": spans / bare, "ratio": bare / ours}


_COLUMNS = ["namespace", "pipeline", "name", "start_time", "duration_ns", "trace_id", "span_id", "run_id", "attributes"]


def _row(span: Any) -> tuple[Any, ...]:
    times = span.start_time, span.end_time - span.start_time
    return "bench", span.pipeline, span.name, *times, span.trace_id, span.span_id, span.run_id, span.attributes


def _timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def print_report(figures: dict[str, Any]) -> None:
    """Print what was measured."""
    lineage, telemetry = figures["lineage"], figures["telemetry"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("a second", "the hub", "bare", "ratio", "aim"):
        table.add_column(column, justify="right" if column != "a second" else "left")
    aim = f"at least {AIM}"
    rows = (
        ("events, API → Kafka → store", lineage["ours"]["stored"], lineage["bare"], lineage["ratio"], aim),
        ("spans into ClickHouse's engine, with rollup", telemetry["ours"], telemetry["bare"], telemetry["ratio"], ""),
    )
    for name, ours, bare, ratio, wanted in rows:
        table.add_row(name, f"{ours:,.0f}", f"{bare:,.0f}", f"{ratio:.2f}", wanted)
    out.print(table)
    out.print(f"acknowledged: {lineage['ours']['acknowledged']:,.0f} events a second from {figures['clients']} clients")
