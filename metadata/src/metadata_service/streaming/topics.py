"""The topics: what they are called, and making those that are missing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from metadata_service.settings import HubSettings
from metadata_service.streaming.client import client_options

log = structlog.get_logger(__name__)

DEAD_LETTERS = ".dlq"
# What could not be written waits for somebody to look at it.
_DEAD_RETENTION_HOURS = 30 * 24


@dataclass(frozen=True)
class Topic:
    """A topic, and how many partitions it has; 0, it was missing and is made now."""

    name: str
    partitions: int


def topic_names(settings: HubSettings) -> list[str]:
    """Return the topics' names, without those for dead letters."""
    return [settings.kafka_topic_lineage, settings.kafka_topic_spans, settings.kafka_topic_metrics]


def make_topics(settings: HubSettings, wait_seconds: float = 60.0) -> list[Topic]:
    """Make the topics that are missing, and return all as they were found; those that exist stay as they are.

    Raises:
        KafkaException: no broker answered in `wait_seconds`, or a topic could not be made.
    """
    admin = AdminClient(client_options(settings))
    found = _existing(admin, wait_seconds)
    names = [name + suffix for name in topic_names(settings) for suffix in ("", DEAD_LETTERS)]
    missing = {name: _new(name, settings) for name in names if name not in found}
    for name, made in admin.create_topics([*missing.values()], operation_timeout=30).items() if missing else ():
        try:
            made.result()
            log.info("topic_made", topic=name, partitions=missing[name].num_partitions)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process may have been faster
                raise
    return [Topic(name, found.get(name, 0)) for name in names]


def _existing(admin: AdminClient, wait_seconds: float) -> dict[str, int]:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=5).topics.items()}
        except KafkaException as error:
            admin.poll(0)  # lets it tell what it met, such as a wrong password
            if time.monotonic() > deadline:
                raise
            log.warning("kafka_not_ready", reason=error.args[0].str())
            time.sleep(1)


def _new(name: str, settings: HubSettings) -> NewTopic:
    dead = name.endswith(DEAD_LETTERS)
    hours = max(settings.kafka_retention_hours, _DEAD_RETENTION_HOURS) if dead else settings.kafka_retention_hours
    config = {
        "cleanup.policy": "delete" if dead else settings.kafka_cleanup_policy,
        "retention.ms": str(hours * 3_600_000),
        # Whatever the topic took has to fit among its dead letters, with the reason.
        "max.message.bytes": str(settings.kafka_max_message_bytes + (256 if dead else 128) * 1024),
        # An acknowledged message is on most replicas, where there are several.
        "min.insync.replicas": str(settings.kafka_replication // 2 + 1),
    }
    partitions = 1 if dead else settings.kafka_partitions
    return NewTopic(name, partitions, settings.kafka_replication, config=config)
