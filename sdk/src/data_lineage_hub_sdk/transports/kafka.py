"""Kafka: the hub's consumers read from there, so a team may write to the brokers directly.

Topics, keys, values and headers are the hub's: docs/lineage-hub.md. A batch counts as sent once the brokers have
acknowledged every message of it; otherwise all of it is tried again, which changes nothing for those that are stored.
"""

from __future__ import annotations

import ctypes
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data_lineage_hub_sdk.batch import Batch, Outcome, encode
from data_lineage_hub_sdk.settings import Settings

log = logging.getLogger(__name__)

_SCHEMA_VERSION = b"1"


class KafkaTransport:
    """Produces one message an event, a trace or a service's points.

    Raises:
        ImportError: confluent-kafka is not installed.
    """

    otlp = False

    def __init__(self, settings: Settings) -> None:
        try:
            import confluent_kafka
        except ImportError as error:
            raise ImportError("the transport kafka needs `pip install data-lineage-hub-sdk[kafka]`") from error
        self._kafka = confluent_kafka
        self._topics = {
            "lineage": settings.kafka_topic_lineage,
            "spans": settings.kafka_topic_spans,
            "points": settings.kafka_topic_metrics,
        }
        milliseconds = int(settings.timeout * 1000)
        self._wait = settings.timeout + 1
        self._config: dict[str, Any] = {
            "bootstrap.servers": settings.kafka_servers,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "gzip",
            "message.timeout.ms": max(milliseconds, 1000),
            "socket.connection.setup.timeout.ms": max(milliseconds, 1000),
            "linger.ms": 5,
            "client.id": "data-lineage-hub-sdk",
            **settings.kafka_config,
        }
        self._producer: Any = None

    def send(self, batch: Batch) -> Outcome:
        """Produce a batch and wait for the brokers' acknowledgement."""
        undelivered: list[str] = []
        refused: dict[int, str] = {}

        def report(indexes: list[int]) -> Callable[[Any, Any], None]:
            def told(error: Any, _: Any) -> None:
                if error is None:
                    return
                if error.code() == self._kafka.KafkaError.MSG_SIZE_TOO_LARGE:
                    refused.update(dict.fromkeys(indexes, error.str()))
                else:
                    undelivered.append(error.str())

            return told

        try:
            producer = self._producer = self._producer or self._kafka.Producer(self._config, logger=log)
            for namespace, subject, value, indexes in _messages(batch):
                key = f"{namespace}/{subject}".encode()
                headers: dict[str, str | bytes | None] = {
                    "namespace": namespace.encode(),
                    "schema-version": _SCHEMA_VERSION,
                }
                try:
                    producer.produce(self._topics[batch.kind], value, key, headers=headers, on_delivery=report(indexes))
                except self._kafka.KafkaException as error:  # told at once, not by the report
                    report(indexes)(error.args[0], None)
            left = producer.flush(self._wait)
        except (self._kafka.KafkaException, BufferError) as error:
            return Outcome("retry", f"Kafka: {error}")
        if left or undelivered:
            return Outcome("retry", f"Kafka: {undelivered[0] if undelivered else 'no acknowledgement in time'}")
        return Outcome("sent", refused=tuple(sorted(refused.items())))

    def close(self) -> None:
        """Let go of the brokers; nothing waits for them by then."""
        self._producer = None

    def after_fork(self) -> None:
        """Leave the producer to the parent."""
        if self._producer is not None:
            # librdkafka's threads don't survive a fork, and destroying a producer would wait for them for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
            self._producer = None


def _messages(batch: Batch) -> Iterator[tuple[str, str, bytes, list[int]]]:
    """Yield namespace, the rest of the key, value and the indexes of the items of each message."""
    if batch.kind == "lineage":
        for at, item in enumerate(batch.items):
            yield *_place(json.loads(item)), item, [at]
        return
    field, part = ("spans", "trace_id") if batch.kind == "spans" else ("metrics", "service_name")
    together: dict[str, dict[int, Any]] = defaultdict(dict)
    for at, item in enumerate(batch.items):
        content = json.loads(item)
        together[str(content.get(part) or "")][at] = content
    for value, items in together.items():
        yield batch.namespace, value, encode({field: list(items.values())}), list(items)


def _place(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return namespace and run of a run's event, of others namespace and job or dataset: their order matters."""
    thing = event.get("job") or event["dataset"]
    run = event.get("run")
    return str(thing["namespace"]), str(run["runId"] if run else thing["name"])
