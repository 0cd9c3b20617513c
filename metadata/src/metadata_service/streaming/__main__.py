"""`python -m metadata_service.streaming lineage | telemetry | topics`: a consumer, or making the topics."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Any

import structlog
from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from metadata_service.database import make_engine, migrate, wait_until_ready
from metadata_service.logs import configure_logging
from metadata_service.settings import ConsumerSettings, load_consumer_settings, say_faults
from metadata_service.streaming.consumer import StreamConsumer
from metadata_service.streaming.handlers import LineageHandler, MarquezHandler, TelemetryHandler
from metadata_service.streaming.metrics import ConsumerMetrics, MetricFamilies
from metadata_service.streaming.topics import make_topics
from metadata_service.telemetry.store import open_store

log = structlog.get_logger("metadata_service.streaming")


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; return 2 for settings that can't be used, 1 without brokers or database."""
    parser = argparse.ArgumentParser("metadata_service.streaming", description=__doc__)
    parser.add_argument("what", choices=["lineage", "telemetry", "topics"])
    what = parser.parse_args(arguments).what
    try:
        settings = load_consumer_settings()
    except ValidationError as error:
        sys.stderr.write(say_faults("metadata_service.streaming", error))
        return 2
    if not settings.kafka_bootstrap_servers:
        sys.stderr.write("metadata_service.streaming: KAFKA_BOOTSTRAP_SERVERS is not set: give host:port\n")
        return 2
    configure_logging(settings.log_level)
    try:
        make_topics(settings)
        if what == "topics":
            return 0
        run(make_consumers(settings, what))
    except KafkaException as error:
        log.error("kafka_unavailable", reason=error.args[0].str())
        return 1
    except OperationalError as error:
        log.error("database_unavailable", reason=str(error.orig).strip())
        return 1
    return 0


def make_consumers(settings: ConsumerSettings, what: str) -> list[StreamConsumer[Any]]:
    """Return the consumers of lineage (the store's, and Marquez' if there is one) or of telemetry."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    handlers: list[Any] = []
    if what == "telemetry":
        handlers.append(TelemetryHandler(settings, open_store(settings)))
    if what == "lineage" or settings.telemetry_url is None:
        engine = make_engine(settings)
        wait_until_ready(engine, settings.database_wait_seconds)
        migrate(engine)
        if what == "lineage":
            handlers.append(LineageHandler(settings, sessionmaker(engine)))
    if what == "lineage" and settings.marquez_url:
        handlers.append(MarquezHandler(settings))
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.host, registry)
    families = MetricFamilies(registry)
    return [
        StreamConsumer(settings, settings.kafka_group, handler, ConsumerMetrics(families, handler.name))
        for handler in handlers
    ]


def run(consumers: list[StreamConsumer[Any]]) -> None:
    """Run consumers until SIGTERM or SIGINT, or until one of them fails, which ends all.

    Raises:
        Exception: what the first of them failed with.
    """
    faults: list[BaseException] = []

    def stop(*_: object) -> None:
        for consumer in consumers:
            consumer.stop()

    def consume(consumer: StreamConsumer[Any]) -> None:
        try:
            consumer.run()
        except BaseException as fault:
            faults.append(fault)
        finally:
            stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    others = [threading.Thread(target=consume, args=[consumer], name="consumer") for consumer in consumers[1:]]
    for thread in others:
        thread.start()
    consume(consumers[0])
    for thread in others:
        thread.join()
    if faults:
        raise faults[0]


if __name__ == "__main__":
    sys.exit(main())
