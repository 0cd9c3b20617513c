"""Taking messages from topics into a store: at least once, and exact in effect, because writing twice does no harm.

    consume ─▶ read ─▶ wait for a batch ─▶ write ─▶ dead letters ─▶ commit

An offset is committed after what it stands for is in the store, or among the dead letters. A store that is away is
tried again and again while the consumer stays in its group; nothing is fetched meanwhile. A message that can never be
written is a dead letter and holds nobody up. Partitions that go to another consumer are written first where the store
allows it, and left to the other where not.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from metadata_service.settings import HubSettings
from metadata_service.streaming.client import client_options, header_texts
from metadata_service.streaming.dead_letters import DeadLetters
from metadata_service.streaming.metrics import ConsumerMetrics
from metadata_service.streaming.producer import BrokerAwayError

log = structlog.get_logger(__name__)

FETCH_BYTES = 16 * 1024 * 1024  # of messages at a time, and one more
LONGEST_PAUSE = 15.0  # seconds between attempts at a store that is away

Item = TypeVar("Item")


class PoisonError(Exception):
    """A message can't be written, however often that is tried."""


class RetryError(Exception):
    """The store is away; what was to be written may be there or not."""


class Handler(Protocol, Generic[Item]):
    """What becomes of messages.

    Attributes:
        name: what its consumer is called; part of the group's name.
        topics: where the messages come from.
        batch_items: a batch is written once it has so many items …
        batch_seconds: … or its oldest message has waited so long.
        fetch: how many messages at most are taken at a time; they have to be written within minutes, or else the group
            takes their consumer for dead.
    """

    name: str
    topics: Sequence[str]
    batch_items: int
    batch_seconds: float
    fetch: int

    def read(self, headers: dict[str, str], value: bytes) -> Item:
        """Return what a message brings.

        Raises:
            PoisonError: it can't be read.
        """
        ...

    def size(self, item: Item) -> int:
        """Return how many items a message brought."""
        ...

    def write(self, items: Sequence[Item]) -> dict[int, str]:
        """Write what messages brought, in their order; return by place why some never can be.

        Raises:
            RetryError: the store is away.
        """
        ...

    def close(self) -> None:
        """Give up connections."""
        ...


@dataclass(frozen=True, slots=True)
class _Read(Generic[Item]):
    """A message, and what it brings, or why it can't be read; one without a value brings nothing."""

    message: Message
    item: Item | None = None
    reason: str = ""


class StreamConsumer(Generic[Item]):
    """A member of a consumer group."""

    def __init__(self, settings: HubSettings, group: str, handler: Handler[Item], metrics: ConsumerMetrics) -> None:
        self._handler = handler
        self._metrics = metrics
        self._group = f"{group}-{handler.name}"
        self._options: dict[str, Any] = client_options(settings) | {
            "group.id": self._group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            # How soon the partitions of a consumer that died go to others.
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 3_000,
            # Bound of what is fetched ahead.
            "queued.max.messages.kbytes": 32 * 1024,
            "statistics.interval.ms": 2_000,
            "stats_cb": self._metrics.note_statistics,
        }
        self._dead = DeadLetters(settings)
        self._pending: list[_Read[Item]] = []
        self._items = 0  # how full the batch is
        self._oldest = 0.0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let `run` write what is pending, and return. May be called from a signal handler or another thread."""
        self._stopping.set()

    def run(self) -> None:
        """Consume until told to stop."""
        consumer = Consumer(self._options)
        consumer.subscribe(
            list(self._handler.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        log.info("consuming", group=self._group, topics=list(self._handler.topics))
        try:
            while not self._stopping.is_set():
                self._fetch(consumer, self._patience())
                if self._is_due():
                    self._write(consumer)
            self._write_once(consumer)
        finally:
            consumer.close()  # leaves the group, so that others take over at once
            self._dead.close()
            self._handler.close()
            log.info("stopped", group=self._group)

    def _patience(self) -> float:
        """Return how long to wait for messages: not beyond the moment at which the batch is due."""
        if not self._pending:
            return 0.5
        return min(0.5, max(0.0, self._oldest + self._handler.batch_seconds - time.monotonic()))

    def _is_due(self) -> bool:
        if not self._pending:
            return False
        waited = time.monotonic() - self._oldest
        return self._items >= self._handler.batch_items or waited >= self._handler.batch_seconds

    def _fetch(self, consumer: Consumer, patience: float) -> None:
        """Take messages as soon as there are any, and no more than are read and written well together."""
        count = size = 0
        message = consumer.poll(patience)
        while message is not None:
            self._take([message])
            count, size = count + 1, size + len(message.value() or b"")
            if count >= self._handler.fetch or size >= FETCH_BYTES:
                return
            message = consumer.poll(0)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                log.warning("kafka_error", reason=error.str())
                continue
            if not self._pending:
                self._oldest = time.monotonic()
            read = self._read(message)
            self._pending.append(read)
            if read.item is not None:
                self._items += self._handler.size(read.item)
            elif read.reason:  # it is due at once: nothing of it is worth waiting for
                self._items += self._handler.batch_items

    def _read(self, message: Message) -> _Read[Item]:
        value = message.value()
        if value is None:  # a tombstone, by which a compacted topic forgets a key
            return _Read(message)
        try:
            return _Read(message, self._handler.read(header_texts(message), value))
        except PoisonError as error:
            return _Read(message, reason=str(error))

    def _write(self, consumer: Consumer) -> None:
        """Write what is pending, however long that takes, unless told to stop."""
        pause = 0.2
        while self._pending and not self._write_once(consumer):
            if self._stopping.is_set():
                return
            # Nothing more is fetched, but the group has to hear that this consumer lives.
            consumer.pause(consumer.assignment())
            end = time.monotonic() + random.uniform(pause / 2, pause)  # noqa: S311
            while time.monotonic() < end and not self._stopping.is_set():
                self._fetch(consumer, 0.1)
            consumer.resume(consumer.assignment())
            pause = min(pause * 2, LONGEST_PAUSE)

    def _write_once(self, consumer: Consumer) -> bool:
        """Try to write what is pending and to commit it; return whether it is done."""
        batch = self._pending
        if not batch:
            return True
        began = time.monotonic()
        good = [(read.message, read.item) for read in batch if read.item is not None]
        try:
            refused = self._handler.write([item for _, item in good]) if good else {}
            dead = [(read.message, read.reason) for read in batch if read.reason]
            dead += [(good[place][0], reason) for place, reason in refused.items()]
            self._dead.add(self._handler.name, dead)
        except (RetryError, BrokerAwayError) as error:
            log.warning("not_written", group=self._group, messages=len(batch), reason=str(error))
            self._metrics.retries.inc()
            return False
        items = sum(self._handler.size(item) for place, (_, item) in enumerate(good) if place not in refused)
        self._metrics.note_batch(len(batch) - len(dead), len(dead), items, time.monotonic() - began)
        self._pending, self._items = [], 0
        self._commit(consumer, batch)
        return True

    def _commit(self, consumer: Consumer, batch: Sequence[_Read[Item]]) -> None:
        ends: dict[tuple[str, int], int] = {}
        for read in batch:
            place = str(read.message.topic()), int(read.message.partition() or 0)
            ends[place] = max(ends.get(place, 0), int(read.message.offset() or 0) + 1)
        offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:  # they are read again, by this consumer or by another
            log.warning("offsets_not_committed", group=self._group, reason=error.args[0].str())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("assigned", group=self._group, partitions=_names(partitions))
        consumer.incremental_assign(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("revoked", group=self._group, partitions=_names(partitions))
        if not self._write_once(consumer):
            self._forget(partitions)
        self._metrics.forget(partitions)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Drop what another consumer may already be at."""
        log.warning("lost", group=self._group, partitions=_names(partitions))
        self._forget(partitions)
        self._metrics.forget(partitions)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        gone = {(partition.topic, partition.partition) for partition in partitions}
        left = [read.message for read in self._pending if (read.message.topic(), read.message.partition()) not in gone]
        self._pending, self._items = [], 0
        self._take(left)


def _names(partitions: Sequence[TopicPartition]) -> list[str]:
    return sorted(f"{partition.topic}/{partition.partition}" for partition in partitions)
