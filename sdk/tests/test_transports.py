"""Kafka, files and the console: what each gets."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_lineage_hub_sdk import LineageHubClient, TelemetryClient, configure, flush, lineage_track, telemetry_track
from data_lineage_hub_sdk.batch import Batch
from data_lineage_hub_sdk.transports.file import FileTransport

kafka = pytest.importorskip("confluent_kafka")
from confluent_kafka.admin import AdminClient  # noqa: E402
from confluent_kafka.cimpl import NewTopic  # noqa: E402


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Addresses of brokers: real ones in DP_TEST_KAFKA, else librdkafka's mock cluster, which speaks the protocol."""
    given = os.environ.get("DP_TEST_KAFKA")
    if given:
        yield given
        return
    cluster = kafka.Producer({"bootstrap.servers": "in-this-process", "test.mock.num.brokers": 1})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)


@pytest.fixture
def topics(brokers: str) -> dict[str, str]:
    """Topics of the test's own, as the settings name them; on real brokers they are made."""
    own = uuid.uuid4().hex[:8]
    names = {f"kafka_topic_{name}": f"{name}-{own}" for name in ("lineage", "spans", "metrics")}
    if "DP_TEST_KAFKA" in os.environ:  # the mock cluster makes them when they are asked for
        admin = AdminClient({"bootstrap.servers": brokers})
        for made in admin.create_topics([NewTopic(name, 4, 1) for name in names.values()]).values():
            made.result(30)
    return names


def read(brokers: str, topic: str, count: int) -> list[tuple[str, Any, dict[str, str]]]:
    """Return key, value and headers of the messages of a topic."""
    consumer = kafka.Consumer({"bootstrap.servers": brokers, "group.id": "none", "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([kafka.TopicPartition(topic, number, 0) for number in partitions])
    found = []
    while len(found) < count:
        message = consumer.poll(20)
        assert message is not None, f"{len(found)} messages instead of {count}"
        if message.error() is None:
            headers = {name: value.decode() for name, value in message.headers()}
            found.append((message.key().decode(), json.loads(message.value()), headers))
    consumer.close()
    return found


def test_kafka_gets_events_spans_and_points_as_the_hub_writes_them(
    brokers: str, topics: dict[str, str], fresh: None
) -> None:
    configure(transport="kafka", kafka_servers=brokers, namespace="team", service_name="svc", **topics)

    @lineage_track("load")
    @telemetry_track("load")
    def load() -> None: ...

    load()
    assert flush(20)
    events = read(brokers, topics["kafka_topic_lineage"], 2)
    run = events[0][1]["run"]["runId"]
    assert [(key, value["eventType"]) for key, value, _ in events] == [
        (f"team/{run}", "START"),
        (f"team/{run}", "COMPLETE"),
    ]
    ((span_key, span_value, span_headers),) = read(brokers, topics["kafka_topic_spans"], 1)
    (span,) = span_value["spans"]
    assert (span_key, span["attributes"]["lineage.run_id"]) == (f"team/{span['trace_id']}", run)
    ((metric_key, metric_value, metric_headers),) = read(brokers, topics["kafka_topic_metrics"], 1)
    assert (metric_key, metric_value["metrics"][0]["name"]) == ("team/svc", "lineage_hub.call.duration")
    for headers in (events[0][2], span_headers, metric_headers):
        assert headers == {"namespace": "team", "schema-version": "1"}


def test_kafka_keeps_together_what_belongs_together(brokers: str, topics: dict[str, str], fresh: None) -> None:
    settings: dict[str, Any] = {"transport": "kafka", "kafka_servers": brokers, "namespace": "team", **topics}
    with LineageHubClient(**settings, kafka_config={"message.max.bytes": "2000"}) as lineage:
        lineage.emit({"job": {"name": "j"}})
        lineage.emit({"dataset": {"namespace": "team", "name": "d"}, "big": "x" * 3000})
        lineage.emit({"dataset": {"namespace": "team", "name": "d"}})
        assert lineage.flush(20)
        (refused,) = lineage._outbox.spool.rejected.glob("*.json")
        assert "big" in json.loads(refused.read_text())["event"]
    assert sorted(key for key, _, _ in read(brokers, topics["kafka_topic_lineage"], 2)) == ["team/d", "team/j"]
    with TelemetryClient(**settings) as telemetry:
        telemetry.emit(
            spans=[{"trace_id": trace, "name": name} for trace, name in (("a", "1"), ("b", "2"), ("a", "3"))]
        )
        assert telemetry.flush(20)
    found = {
        key: [span["name"] for span in value["spans"]]
        for key, value, _ in read(brokers, topics["kafka_topic_spans"], 2)
    }
    assert found == {"team/a": ["1", "3"], "team/b": ["2"]}


def test_a_child_of_a_process_that_uses_kafka_ends(brokers: str, topics: dict[str, str], tmp_path: Path) -> None:
    code = """
import os, sys
from data_lineage_hub_sdk import configure, flush, lineage_track
configure(transport="kafka", kafka_servers=sys.argv[1], kafka_topic_lineage=sys.argv[2], spool_dir=sys.argv[3])
@lineage_track("load")
def load(): ...
load()
assert flush(20)
if os.fork() == 0:
    load()
    sys.exit(0 if flush(20) else 1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    topic = topics["kafka_topic_lineage"]
    done = subprocess.run(
        [sys.executable, "-c", code, brokers, topic, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(read(brokers, topic, 4)) == 4


def test_files_are_lines_that_their_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.ndjson"
    for number in range(2):
        items = [b'{"n": %d}' % number, b"{}"]
        assert FileTransport(str(path)).send(Batch("lineage", "team", items)).kind == "sent"
    assert path.read_text() == '{"n": 0}\n{}\n{"n": 1}\n{}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FileTransport(str(path / "below")).send(Batch("lineage", "team", [b"{}"])).kind == "retry"


def test_the_console_shows_what_would_be_sent(fresh: None, caplog: pytest.LogCaptureFixture) -> None:
    configure(transport="console", namespace="team")
    with caplog.at_level(logging.INFO, "data_lineage_hub_sdk.console"):

        @lineage_track("load")
        def load() -> None: ...

        load()
        assert flush(10)
    lines = [json.loads(record.message) for record in caplog.records if record.name.endswith("console")]
    assert [line["eventType"] for line in lines] == ["START", "COMPLETE"]
