"""Prometheus metrics of a consumer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import TopicPartition
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class MetricFamilies:
    """The metrics of all consumers of a process, registered once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "hub_consumer_messages_total",
            "Messages by what became of them: written, or dead letters.",
            ["consumer", "outcome"],
            registry=registry,
        )
        self.items = Counter(
            "hub_consumer_items_total", "Events, spans and metrics written.", ["consumer"], registry=registry
        )
        self.seconds = Histogram(
            "hub_consumer_write_seconds", "Time to write a batch.", ["consumer"], registry=registry
        )
        self.retries = Counter(
            "hub_consumer_retries_total",
            "Attempts to write that failed because the store was away.",
            ["consumer"],
            registry=registry,
        )
        self.lag = Gauge(
            "hub_consumer_lag",
            "Messages of a partition that are not yet written.",
            ["consumer", "topic", "partition"],
            registry=registry,
        )
        self.last = Gauge(
            "hub_consumer_last_write_timestamp_seconds",
            "When a batch was last written; at first, when the consumer began.",
            ["consumer"],
            registry=registry,
        )


class ConsumerMetrics:
    """What a consumer did, and how far it is behind; its name is a label of all."""

    def __init__(self, families: MetricFamilies, consumer: str) -> None:
        self._consumer = consumer
        self._families = families
        # They are there from the start: an alert sees a counter rise, but not begin.
        self._written = families.messages.labels(consumer, "written")
        self._dead = families.messages.labels(consumer, "dead")
        self._items = families.items.labels(consumer)
        self._seconds = families.seconds.labels(consumer)
        self._last = families.last.labels(consumer)
        self._last.set_to_current_time()
        self.retries = families.retries.labels(consumer)

    def note_batch(self, written: int, dead: int, items: int, seconds: float) -> None:
        """Count a batch of messages that was written, and how long that took."""
        self._written.inc(written)
        self._dead.inc(dead)
        self._items.inc(items)
        self._seconds.observe(seconds)
        self._last.set_to_current_time()

    def note_statistics(self, statistics: str) -> None:
        """Take the lag of each partition out of librdkafka's statistics."""
        for topic, told in json.loads(statistics).get("topics", {}).items():
            for partition, now in told.get("partitions", {}).items():
                if now.get("fetch_state") == "active" and (lag := now.get("consumer_lag", -1)) >= 0:
                    self._families.lag.labels(self._consumer, topic, partition).set(lag)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop the lag of partitions that another consumer has now."""
        for partition in partitions:
            with suppress(KeyError):
                self._families.lag.remove(self._consumer, partition.topic, str(partition.partition))
