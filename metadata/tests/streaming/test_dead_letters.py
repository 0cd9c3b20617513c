"""What can never be written: put aside with the reason, listed, and sent again."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from metadata_service.settings import ConsumerSettings
from metadata_service.streaming import dead_letters
from metadata_service.streaming.dead_letters import list_letters, replay_letters
from metadata_service.streaming.producer import BrokerAwayError

pytestmark = pytest.mark.integration
Make = Callable[..., Any]


def send_raw(settings: ConsumerSettings, topic: str, *values: bytes | None, **headers: str) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for value in values:
        producer.produce(topic, value=value, key=b"k", headers={name: text.encode() for name, text in headers.items()})
    assert producer.flush(10) == 0


def test_what_can_never_be_written_is_a_dead_letter_and_can_be_sent_again(
    api: TestClient, hub: ConsumerSettings, consuming: Make, until: Make, count: Make, event: Make, span: Make
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
    with consuming(hub, "lineage"), consuming(hub, "telemetry", registry):
        until(lambda: len(list(list_letters(hub))) == 9)
        until(lambda: (count("event"), count("telemetry_span")) == (3, 1))
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
        until(lambda: count("event") == 1)
        until(lambda: len(list(list_letters(hub))) == 8)
    assert replay_letters(hub) == 8
    assert list(list_letters(hub)) == []
    assert len(list(list_letters(hub, include_replayed=True))) == 17
    # One message was written, the other five are dead letters, and were again when they came back.
    told = generate_latest(registry).decode()
    assert 'hub_consumer_items_total{consumer="telemetry"} 1.0' in told
    assert 'hub_consumer_messages_total{consumer="telemetry",outcome="dead"} 10.0' in told


def test_a_replay_does_not_pass_over_what_does_not_come() -> None:
    class Silent:
        def poll(self, _: float) -> None:
            return None

    with pytest.raises(BrokerAwayError, match="nothing more of a came"):
        list(dead_letters._up_to(Silent(), TopicPartition("a", 0, 0), 5, patience=0.01))  # type: ignore[arg-type]
