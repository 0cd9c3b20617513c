"""Sending messages and waiting until the brokers have them.

The producer is idempotent and waits for all replicas, so a message that is acknowledged is there once and in order. A
request that has waited for some seconds is told to come again, and nothing was acknowledged to it. What it brought
stays in the producer's queue all the same, and is delivered before what comes again: were it thrown away, a part of it
might be, and what follows stand before it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from metadata_service.settings import HubSettings
from metadata_service.streaming.client import client_options, log_error
from metadata_service.streaming.messages import Outgoing

log = structlog.get_logger(__name__)


class BrokerAwayError(Exception):
    """The brokers did not take messages; it isn't known whether they have some of them."""


class MessageTooLargeError(Exception):
    """A message is larger than the brokers take."""


class Publisher:
    """Sends messages. Use it on one event loop; it polls the producer in a thread of its own."""

    def __init__(self, settings: HubSettings) -> None:
        self.max_bytes = settings.kafka_max_message_bytes
        self._patience = settings.kafka_delivery_seconds
        self._options: dict[str, Any] = client_options(settings) | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 5,
            "message.max.bytes": settings.kafka_max_message_bytes + 64 * 1024,  # keys, headers and framing
            "delivery.timeout.ms": 0,
            # Bounds of memory: what doesn't fit is refused at once, so that whoever sends holds back.
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 128 * 1024,
        }
        self._options["error_cb"] = self._note_error
        self._log_error = log_error()
        self._broken = False
        self._producer = Producer(self._options)
        self._stopping = False
        self._poller = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._poller.start()

    def stop(self) -> None:
        """Send what is under way, no longer than a request would wait for it, then end."""
        self._producer.flush(self._patience)
        self._stopping = True
        self._poller.join(10)

    async def publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Return once the brokers have acknowledged all of the messages.

        Raises:
            MessageTooLargeError: one is larger than the brokers take.
            BrokerAwayError: they did not take all of them in time, or too many are waiting.
        """
        if not messages:
            return
        delivery = _Delivery(len(messages))
        for number, message in enumerate(messages):
            try:
                self._producer.produce(
                    topic,
                    value=message.value,
                    key=message.key.encode(),
                    headers=[(name, value.encode()) for name, value in message.headers.items()],
                    on_delivery=delivery.note,
                )
            except BufferError:
                delivery.give_up(len(messages) - number, "too many messages are waiting for the brokers")
                break
            except KafkaException as error:
                delivery.give_up(len(messages) - number, error.args[0])
                break
        try:
            fault = await asyncio.wait_for(delivery.done, self._patience)
        except TimeoutError:
            raise BrokerAwayError(f"they did not answer within {self._patience:.0f} s") from None
        if fault is None:
            return
        if isinstance(fault, KafkaError) and fault.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise MessageTooLargeError(fault.str())
        raise BrokerAwayError(fault.str() if isinstance(fault, KafkaError) else fault)

    def reach(self, seconds: float = 2.0) -> None:
        """Return if a broker answers; it blocks meanwhile.

        Raises:
            BrokerAwayError: none does.
        """
        try:
            self._producer.list_topics(timeout=seconds)
        except KafkaException as error:
            raise BrokerAwayError(str(error.args[0].str())) from None

    def _poll(self) -> None:
        while not self._stopping:
            self._producer.poll(0.1)
            if self._broken:
                # It takes nothing any more. What it holds is reported as not delivered, to whoever sent it.
                log.error("kafka_producer_replaced")
                self._broken = False
                spent, self._producer = self._producer, Producer(self._options)
                spent.flush(0.1)

    def _note_error(self, error: KafkaError) -> None:
        self._broken = self._broken or error.fatal()
        self._log_error(error)


class _Delivery:
    """Counts the acknowledgements of a request's messages; `done` is the first fault, or None."""

    def __init__(self, expected: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = expected
        self._lock = threading.Lock()
        self._fault: KafkaError | str | None = None
        self.done: asyncio.Future[KafkaError | str | None] = self._loop.create_future()

    def note(self, error: KafkaError | None, _: Message) -> None:
        self._count(1, error)

    def give_up(self, number: int, fault: KafkaError | str) -> None:
        self._count(number, fault)

    def _count(self, number: int, fault: KafkaError | str | None) -> None:
        with self._lock:
            self._fault = self._fault or fault
            self._left -= number
            if self._left:
                return
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self._fault)
