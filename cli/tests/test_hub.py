"""`dp topics` and `dp dlq` on brokers, and where there are none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Producer
from typer.testing import CliRunner, Result

from dataplatform_cli.main import app


def dp(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """librdkafka's own brokers, in this process."""
    cluster = Producer({"bootstrap.servers": "in-this-process", "test.mock.num.brokers": 1, "log_level": 0})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    cluster.flush(1)


def test_dead_letters_are_listed_and_sent_again(brokers: str) -> None:
    nothing = dp("dlq", "list", "--brokers", brokers)
    assert (nothing.exit_code, "there are none" in nothing.stdout) == (0, True)
    producer = Producer({"bootstrap.servers": brokers})
    told = {"namespace": "team-a", "dlq-reason": "The body is not JSON.", "dlq-consumer": "lineage"}
    headers = {name: value.encode() for name, value in told.items()}
    producer.produce("openlineage-events.dlq", b"{", b"team-a/r1", headers=headers)
    assert producer.flush(10) == 0

    [letter] = json.loads(dp("dlq", "list", "--brokers", brokers, "--json").stdout)
    at = letter.pop("at")
    assert at.startswith("20")
    assert letter == {
        "topic": "openlineage-events", "number": 0, "namespace": "team-a", "key": "team-a/r1", "consumer": "lineage",
        "reason": "The body is not JSON.", "value": "{",
    }  # fmt: skip
    assert json.loads(dp("dlq", "replay", "--brokers", brokers, "--json").stdout) == {"sent": 1}
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "t", "auto.offset.reset": "earliest"})
    consumer.subscribe(["openlineage-events"])
    [message] = consumer.consume(1, 20)
    consumer.close()
    assert (message.key(), message.value()) == (b"team-a/r1", b"{")
    assert message.headers() == [("namespace", b"team-a")]
    assert json.loads(dp("dlq", "list", "--brokers", brokers, "--json").stdout) == []
    assert len(json.loads(dp("dlq", "list", "--brokers", brokers, "--json", "--replayed").stdout)) == 1


def test_without_brokers_it_says_what_to_do(free_port: Callable[[], int]) -> None:
    for command in ("topics", "dlq list", "dlq replay"):
        unknown = dp(*command.split())
        assert unknown.exit_code == 1
        assert "KAFKA_BOOTSTRAP_SERVERS=host:port" in unknown.stderr
    away = f"127.0.0.1:{free_port()}"
    silent = dp("dlq", "list", "--brokers", away, "--json")
    assert (silent.exit_code, silent.stdout) == (1, "")
    assert "Connection refused" in silent.stderr
    assert f"Kafka at {away} does not answer" in silent.stderr
