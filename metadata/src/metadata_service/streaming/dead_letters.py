"""Messages that could not be written, each with the reason; listing them and sending them again.

They keep key, value and headers, and get headers of their own: `dlq-reason`, `dlq-consumer`, `dlq-topic`,
`dlq-partition`, `dlq-offset` and `dlq-at`. Which of them were sent again is kept by Kafka, as the offset of a consumer
group.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from metadata_service.settings import HubSettings
from metadata_service.streaming.client import Headers, client_options, header_texts, headers_of
from metadata_service.streaming.producer import BrokerAwayError
from metadata_service.streaming.topics import DEAD_LETTERS, topic_names

log = structlog.get_logger(__name__)

REPLAYED_GROUP = "lineage-hub-dlq-replayed"
_PREFIX = "dlq-"
_MAX_REASON = 2000


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be written; `number` is its offset among the dead letters of its topic."""

    topic: str
    number: int
    at: datetime
    reason: str
    consumer: str
    namespace: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class DeadLetters:
    """Where a consumer puts what it can't write."""

    def __init__(self, settings: HubSettings) -> None:
        self._options = client_options(settings) | {
            "enable.idempotence": True,
            "message.max.bytes": settings.kafka_max_message_bytes + 256 * 1024,
            "delivery.timeout.ms": 10_000,
        }
        self._producer: Producer | None = None

    def open_producer(self) -> Producer:
        """Return a new producer, fit for messages as large as the hub's."""
        return Producer(self._options)

    def add(self, consumer: str, letters: Sequence[tuple[Message, str]]) -> None:
        """Put messages aside, each with its reason; they are safe when this returns.

        Raises:
            BrokerAwayError: the brokers did not take all of them.
        """
        if not letters:
            return
        self._producer = self._producer or self.open_producer()
        faults: list[str] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                faults.append(error.str())

        for message, reason in letters:
            log.error("dead_letter", topic=message.topic(), offset=message.offset(), reason=reason)
            told = {
                "reason": reason[:_MAX_REASON],
                "consumer": consumer,
                "topic": str(message.topic()),
                "partition": str(message.partition()),
                "offset": str(message.offset()),
                "at": datetime.now(UTC).isoformat(),
            }
            kept = [(name, value) for name, value in headers_of(message) if not name.startswith(_PREFIX)]
            headers: Headers = [*kept, *((_PREFIX + name, value.encode()) for name, value in told.items())]
            try:
                _produce(self._producer, f"{message.topic()}{DEAD_LETTERS}", message, headers, note)
            except KafkaException as error:
                faults.append(error.args[0].str())
        if self._producer.flush(15) or faults:
            self._producer = None  # one that has failed for good takes nothing any more
            raise BrokerAwayError(faults[0] if faults else "the dead letters were not acknowledged in time")

    def close(self) -> None:
        """Send what is under way."""
        if self._producer is not None:
            self._producer.flush(5)


def list_letters(settings: HubSettings, include_replayed: bool = False) -> Iterator[DeadLetter]:
    """Yield the dead letters of all topics, oldest first in each; without those that were sent again.

    Raises:
        BrokerAwayError: no broker answers.
    """
    consumer = Consumer(_reading(settings))
    try:
        for place, end in _places(consumer, settings, include_replayed):
            consumer.assign([place])
            for message in _up_to(consumer, place, end):
                yield _letter(message)
    except KafkaException as error:
        raise BrokerAwayError(str(error.args[0].str())) from None
    finally:
        consumer.close()


def replay_letters(settings: HubSettings) -> int:
    """Send all dead letters again to the topics they came from, in their order; return how many.

    They are noted as sent again after the brokers have acknowledged them; what is sent twice does no harm.

    Raises:
        BrokerAwayError: the brokers did not take all of them.
    """
    producer = DeadLetters(settings).open_producer()
    consumer = Consumer(_reading(settings))
    faults: list[str] = []
    sent = 0

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            faults.append(error.str())

    try:
        for place, end in _places(consumer, settings, include_replayed=False):
            consumer.assign([place])
            for message in _up_to(consumer, place, end):
                headers: Headers = [given for given in headers_of(message) if not given[0].startswith(_PREFIX)]
                topic = place.topic.removesuffix(DEAD_LETTERS)
                _produce(producer, topic, message, headers, note)
                sent += 1
            if producer.flush(30) or faults:
                raise BrokerAwayError(faults[0] if faults else "not all were acknowledged in time")
            consumer.commit(offsets=[TopicPartition(place.topic, place.partition, end)], asynchronous=False)
    except KafkaException as error:
        raise BrokerAwayError(str(error.args[0].str())) from None
    finally:
        consumer.close()
    return sent


def _produce(producer: Producer, topic: str, message: Message, headers: Headers, note: Any) -> None:
    """Send key and value of a message to a topic; wait while more are under way than fit in memory."""
    while True:
        try:
            producer.produce(topic, value=message.value(), key=message.key(), headers=headers, on_delivery=note)
            return
        except BufferError:
            producer.poll(0.5)


def _reading(settings: HubSettings) -> dict[str, Any]:
    return client_options(settings) | {
        "group.id": REPLAYED_GROUP,
        "client.id": f"dlq-{uuid.uuid4().hex[:8]}",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 20,  # what there is is wanted; nothing new is waited for
    }


def _places(consumer: Consumer, settings: HubSettings, include_replayed: bool) -> Iterator[tuple[TopicPartition, int]]:
    """Yield where to begin in each partition that has dead letters, and where to end."""
    known = consumer.list_topics(timeout=5).topics
    for name in topic_names(settings):
        topic = known.get(name + DEAD_LETTERS)
        for number in topic.partitions if topic is not None else ():
            place = TopicPartition(name + DEAD_LETTERS, number)
            first, end = consumer.get_watermark_offsets(place, timeout=5)
            [replayed] = consumer.committed([place], timeout=5)
            begin = first if include_replayed or replayed.offset == OFFSET_INVALID else max(first, replayed.offset)
            if begin < end:
                yield TopicPartition(name + DEAD_LETTERS, number, begin), end


def _up_to(consumer: Consumer, place: TopicPartition, end: int, patience: float = 10.0) -> Iterator[Message]:
    """Yield the messages of the assigned partition up to an offset.

    Raises:
        BrokerAwayError: no more came, though there are some.
        KafkaException: what the broker says about it.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # the last offsets were marks of transactions
                return
            raise KafkaException(error)
        deadline = time.monotonic() + patience
        yield message
        if int(message.offset() or 0) + 1 >= end:
            return
    raise BrokerAwayError(f"nothing more of {place.topic} came within {patience:.0f} s")


def _letter(message: Message) -> DeadLetter:
    headers = header_texts(message)
    return DeadLetter(
        topic=str(message.topic()).removesuffix(DEAD_LETTERS),
        number=int(message.offset() or 0),
        at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        reason=headers.get("dlq-reason", ""),
        consumer=headers.get("dlq-consumer", ""),
        namespace=headers.get("namespace", ""),
        key=(message.key() or b"").decode("utf-8", "replace"),
        value=message.value() or b"",
        headers=tuple(headers_of(message)),
    )
