"""The metadata service in the local stack."""

from __future__ import annotations

import sys

import httpx
from pydantic import SecretStr

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Program, Service

HUB_SETTINGS = {
    "kafka_bootstrap_servers",
    "kafka_security_protocol",
    "kafka_sasl_mechanism",
    "kafka_sasl_username",
    "kafka_sasl_password",
    "kafka_partitions",
    "kafka_replication",
    "kafka_retention_hours",
    "kafka_cleanup_policy",
    "telemetry_url",
    "telemetry_retention_days",
}
CONSUMER_SETTINGS = {
    "telemetry_batch_items",
    "telemetry_batch_seconds",
    "marquez_url",
    "marquez_api_key",
    "metrics_port",
}


def service(settings: StackSettings) -> Service:
    """Return the metadata service as a service of the stack."""
    program = Program(
        name="metadata",
        command=[sys.executable, "-m", "metadata_service"],
        environment={
            "HOST": settings.bind_address,
            "PORT": str(settings.metadata_port),
            "LOG_LEVEL": settings.log_level,
            "API_KEY": settings.metadata_api_key.get_secret_value(),
            "DATABASE_URL": settings.dsn("metadata"),
            "WAREHOUSE_URL": settings.dsn("reporter"),
            "PUBLIC_READS": str(settings.metadata_public_reads).lower(),
            "RETENTION_DAYS": str(settings.metadata_retention_days),
            **hub_environment(settings),
        },
        folder=settings.root,
    )
    return Service(
        name="metadata",
        title="Metadata service",
        programs=[program],
        url=settings.metadata_url,
        ports={"METADATA_PORT": settings.metadata_port},
        is_ready=lambda: httpx.get(f"{settings.metadata_url}/health", timeout=5).status_code == 200,
        needs=("postgres",),
        after=("postgres",),
    )


def hub_environment(settings: StackSettings, names: set[str] = HUB_SETTINGS) -> dict[str, str]:
    """Return what the metadata service, and the consumers beside it, are told of Kafka and of telemetry."""
    given = settings.model_dump(include=names)
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in given.items()
    }
