"""Kafka in this process, topics of the test's own, and consumers in threads."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from confluent_kafka import cimpl
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import sessionmaker

from metadata_service.database import make_engine
from metadata_service.settings import ConsumerSettings
from metadata_service.streaming.consumer import StreamConsumer
from metadata_service.streaming.handlers import LineageHandler, TelemetryHandler
from metadata_service.streaming.metrics import ConsumerMetrics, MetricFamilies
from metadata_service.streaming.topics import make_topics, topic_names
from metadata_service.telemetry.store import open_store


@pytest.fixture(scope="session")
def brokers() -> str:
    """Addresses of brokers: real ones in DP_TEST_KAFKA, else librdkafka's mock cluster."""
    return os.environ.get("DP_TEST_KAFKA") or mock_brokers()


def mock_brokers() -> str:
    """Start a cluster that lives as long as the process, and whose groups don't wait 3 s for members to come.

    https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h, which the Python client gives no way to.
    """
    library = ctypes.CDLL(cimpl.__file__)
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    producer = library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), None, ctypes.c_size_t(0))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(producer), 1))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 300)
    return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())


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


@pytest.fixture
def consuming() -> Callable[..., Any]:
    """A context manager within which a consumer runs: `consuming(settings, "lineage" | "telemetry" | handler)`."""

    @contextmanager
    def run(settings: ConsumerSettings, handler: Any, registry: CollectorRegistry | None = None) -> Iterator[None]:
        if handler == "lineage":
            handler = LineageHandler(settings, sessionmaker(make_engine(settings)))
        elif handler == "telemetry":
            handler = TelemetryHandler(settings, open_store(settings))
        metrics = ConsumerMetrics(MetricFamilies(registry or CollectorRegistry()), handler.name)
        consumer: StreamConsumer[Any] = StreamConsumer(settings, settings.kafka_group, handler, metrics)
        thread = threading.Thread(target=consumer.run)
        thread.start()
        yield
        consumer.stop()
        thread.join(30)
        assert not thread.is_alive()

    return run


@pytest.fixture
def until() -> Callable[..., None]:
    """A function that returns once its argument returns true, and fails the test if that takes too long."""

    def wait(ready: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait


@pytest.fixture
def count(hub: ConsumerSettings) -> Callable[[str], int]:
    """A function that returns how many rows a table of the store has."""

    def rows(table: str) -> int:
        with psycopg.connect(hub.libpq_url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
            return int(row[0])

    return rows


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """A maker of events of runs, each at a time of its own."""

    def make(run: str, number: int = 0, namespace: str | None = None) -> dict[str, Any]:
        job = {"name": "load"} | ({"namespace": namespace} if namespace else {})
        at = f"2026-01-01T00:00:00.{number:06d}Z"
        told = {"eventType": "RUNNING", "eventTime": at, "producer": "https://example.org"}
        return told | {"run": {"runId": run}, "job": job}

    return make


@pytest.fixture
def span() -> Callable[[int, int], dict[str, Any]]:
    """A maker of spans, by the numbers of their traces and their own."""

    def make(trace: int, number: int) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        ids = {"trace_id": f"{trace + 1:032x}", "span_id": f"{number + 1:016x}"}
        return ids | {"name": "work", "start_time": now, "end_time": now, "attributes": {"lineage.run_id": f"r{trace}"}}

    return make
