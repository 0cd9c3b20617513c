"""Settings of the metadata service: the only module of this package that reads the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class HubSettings(BaseSettings):
    """What the service and the consumers share. Field names are the environment variables' names in lower case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    host: str = "127.0.0.1"
    log_level: str = "INFO"
    database_url: SecretStr
    # Seconds to wait at start for a database that is still coming up.
    database_wait_seconds: Annotated[float, Field(gt=0)] = 60.0
    database_pool_size: Annotated[int, Field(ge=1)] = 8

    # Where spans and metrics are kept: http(s)://user:password@host:8123/database (ClickHouse), chdb:///folder (its
    # engine, embedded; for development), or nothing: this service's own database.
    telemetry_url: SecretStr | None = None
    # After how many days spans and metrics are forgotten; older ones are not taken.
    telemetry_retention_days: Annotated[int, Field(ge=1)] = 30

    # Addresses of brokers, host:port with commas between them; without any, what comes in is stored directly.
    kafka_bootstrap_servers: str | None = None
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_location: str | None = None
    kafka_topic_lineage: str = "openlineage-events"
    kafka_topic_spans: str = "otel-spans"
    kafka_topic_metrics: str = "otel-metrics"
    # How topics are made; one that exists is left as it is.
    kafka_partitions: Annotated[int, Field(ge=1)] = 6
    kafka_replication: Annotated[int, Field(ge=1)] = 1
    kafka_retention_hours: Annotated[int, Field(ge=1)] = 168
    kafka_cleanup_policy: Literal["delete", "compact", "compact,delete"] = "delete"
    kafka_max_message_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    # How long a request waits for the brokers' acknowledgement before it is refused.
    kafka_delivery_seconds: Annotated[float, Field(ge=1, le=300)] = 10.0

    @property
    def libpq_url(self) -> str:
        """The database's address as libpq has it."""
        return self.database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = value.upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            raise ValueError(f"{value!r} is no log level: use DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return level

    @field_validator("database_url", "warehouse_url", check_fields=False)
    @classmethod
    def _psycopg_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError("use postgresql://user:password@host:port/database")
        return SecretStr(f"postgresql+psycopg://{rest}")

    @field_validator("telemetry_url")
    @classmethod
    def _telemetry_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().partition("://")[0] not in ("http", "https", "chdb"):
            raise ValueError("use http://user:password@host:8123/database for ClickHouse, or chdb:///folder")
        return value


class ConsumerSettings(HubSettings):
    """What the consumers take besides."""

    # Consumers of the same group share the work.
    kafka_group: str = "lineage-hub"
    # Spans and metrics are written once so many have come or so many seconds have passed, whichever is first.
    telemetry_batch_items: Annotated[int, Field(ge=1)] = 100
    telemetry_batch_seconds: Annotated[float, Field(gt=0)] = 30.0
    # A Marquez that is told every event too, and its key.
    marquez_url: str | None = None
    marquez_api_key: SecretStr | None = None
    # Where Prometheus finds the consumer's metrics; 0 switches them off.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464


class ServiceSettings(HubSettings):
    """Settings of the service itself."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_key: SecretStr
    # The warehouse, with a role that only reads curated tables; without it there is no domain data.
    warehouse_url: SecretStr | None = None
    # Comma-separated origins of browsers that may call the API; none by default.
    cors_origins: Annotated[list[str], NoDecode] = []
    # Connections that store events: one, and further ones for what makes large commits of their own meanwhile.
    intake_connections: Annotated[int, Field(ge=1, le=16)] = 2
    # Largest body of a request after decompression.
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024

    # Whether pages and GET requests are open to everybody who can reach the service, or need a key too.
    public_reads: bool = True

    # After how many days events and runs are forgotten; 0 keeps everything.
    retention_days: Annotated[int, Field(ge=0)] = 0

    # How many data products, and edges registered between them, there may be.
    max_products: Annotated[int, Field(ge=0)] = 10_000
    max_lineage_entries: Annotated[int, Field(ge=0)] = 100_000

    @field_validator("api_key")
    @classmethod
    def _key_not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("the key for writes is empty: set API_KEY to a long random string")
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip() for origin in value.split(",") if origin.strip()]
        return value


def load_settings() -> ServiceSettings:
    """Read the service's settings from the environment.

    Raises:
        pydantic.ValidationError: a value is missing or can't be used.
    """
    return ServiceSettings()  # type: ignore[call-arg]


def load_consumer_settings() -> ConsumerSettings:
    """Read the consumers' settings from the environment.

    Raises:
        pydantic.ValidationError: a value is missing or can't be used.
    """
    return ConsumerSettings()  # type: ignore[call-arg]


def say_faults(program: str, error: ValidationError) -> str:
    """Return what is wrong with the environment, a line for each variable."""
    lines = []
    for fault in error.errors():
        name = ".".join(map(str, fault["loc"])).upper()
        message = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        lines.append(f"{program}: {name}: {message}\n")
    return "".join(lines)
