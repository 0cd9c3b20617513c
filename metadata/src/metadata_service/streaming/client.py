"""How the brokers are reached: the part of a Kafka client's configuration that all clients share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, Message

from metadata_service.settings import HubSettings

log = structlog.get_logger(__name__)

LOG_EVERY = 60.0  # seconds


def client_options(settings: HubSettings) -> dict[str, Any]:
    """Return librdkafka's options for the brokers of the settings.

    Raises:
        ValueError: the settings name no brokers.
    """
    if not settings.kafka_bootstrap_servers:
        raise ValueError("no brokers are configured: set KAFKA_BOOTSTRAP_SERVERS to host:port")
    options: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "lineage-hub",
        "security.protocol": settings.kafka_security_protocol,
        "error_cb": log_error(),
        "log_level": 0,  # `error_cb` says what librdkafka would print
        "reconnect.backoff.max.ms": 2000,
    }
    if settings.kafka_sasl_username:
        password = settings.kafka_sasl_password
        options |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": password.get_secret_value() if password else "",
        }
    if settings.kafka_ssl_ca_location:
        options["ssl.ca.location"] = settings.kafka_ssl_ca_location
    return options


def log_error() -> Callable[[KafkaError], None]:
    """Return a callback that logs what a client could not do, each kind of error once a minute."""
    logged: dict[str, float] = {}

    def on_error(error: KafkaError) -> None:
        now = time.monotonic()
        if now - logged.get(error.name(), -LOG_EVERY) >= LOG_EVERY:
            logged[error.name()] = now
            log.warning("kafka_error", reason=error.str())

    return on_error


Headers = list[tuple[str, str | bytes | None]]
"""Headers as a message to send has them."""


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """Return a message's headers, without those that have no value."""
    given = message.headers() or []
    pairs = given.items() if isinstance(given, dict) else given
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs if value is not None]


def header_texts(message: Message) -> dict[str, str]:
    """Return a message's headers as text, without NUL, which Postgres can't store."""
    return {name: value.decode("utf-8", "replace").replace("\x00", "\ufffd") for name, value in headers_of(message)}
