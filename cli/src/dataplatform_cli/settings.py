"""Settings of the command line and of both stacks: the only module of this package that reads the environment.

Values come from the process environment, else from `.env` in the repository, else from the development defaults
documented in `.env.example`.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, AfterValidator(lambda port: _in_port_range(port))]


def _in_port_range(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port: use 1 to 65535")
    return port


def _known_profiles(value: str) -> str:
    for name in value.split(","):
        if name.strip() not in ("", "lineage", "observability"):
            raise ValueError(f"{name.strip()!r} is no profile: use lineage, observability, or both with a comma")
    return value


def find_root() -> Path:
    """Return the repository's folder: `DP_ROOT`, else the checkout this package is installed from."""
    given = os.environ.get("DP_ROOT")
    return Path(given).resolve() if given else Path(__file__).resolve().parents[3]


class StackSettings(BaseSettings):
    """What `.env` says of the stack. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True)

    stack: Literal["", "local", "compose"] = ""
    compose_project_name: str = ""
    bind_address: str = "127.0.0.1"
    dp_home: Path | None = None
    contracts_dir: Path | None = None
    dags_dir: Path | None = None
    log_level: str = "INFO"

    postgres_port: Port = 5432
    postgres_admin_user: str = "postgres"
    postgres_admin_password: SecretStr = SecretStr("postgres")
    postgres_airflow_password: SecretStr = SecretStr("airflow")
    postgres_metadata_password: SecretStr = SecretStr("metadata")
    postgres_superset_password: SecretStr = SecretStr("superset")
    warehouse_loader_password: SecretStr = SecretStr("loader")
    warehouse_transformer_password: SecretStr = SecretStr("transformer")
    warehouse_reporter_password: SecretStr = SecretStr("reporter")

    minio_port: Port = 9000
    minio_console_port: Port = 9001
    minio_root_user: str = "minio"
    minio_root_password: SecretStr = SecretStr("minio123")
    minio_producer_user: str = "producer"
    minio_producer_password: SecretStr = SecretStr("producer123")
    minio_platform_user: str = ""
    minio_platform_password: SecretStr = SecretStr("")

    metadata_port: Port = 8000
    metadata_api_key: SecretStr = SecretStr("")
    metadata_public_reads: bool = True
    metadata_retention_days: int = 0

    # The lineage hub: Kafka between teams and the stores, and where spans and metrics are kept.
    kafka_bootstrap_servers: str = ""
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_partitions: int = 6
    kafka_replication: int = 1
    kafka_retention_hours: int = 168
    kafka_cleanup_policy: Literal["delete", "compact", "compact,delete"] = "delete"
    telemetry_url: SecretStr = SecretStr("")
    telemetry_retention_days: int = 30
    telemetry_batch_items: int = 100
    telemetry_batch_seconds: float = 30.0
    marquez_url: str = ""
    marquez_api_key: SecretStr = SecretStr("")
    metrics_port: int = 9464

    airflow_port: Port = 8080
    airflow_admin_user: str = "admin"
    airflow_admin_password: SecretStr = SecretStr("admin")
    airflow_parallelism: int = 4
    airflow_fernet_key: SecretStr = SecretStr("")
    airflow_jwt_secret: SecretStr = SecretStr("")

    superset_port: Port = 8088
    superset_admin_user: str = "admin"
    superset_admin_password: SecretStr = SecretStr("admin")
    superset_reporter_user: str = "reporter"
    superset_reporter_password: SecretStr = SecretStr("reporter")
    superset_secret_key: SecretStr = SecretStr("")

    ingest_memory_mb: int = 3072
    ingest_seconds: float = 3600.0
    ingest_unpacked_gb: float = 64.0
    alert_webhook_url: SecretStr = SecretStr("")
    alert_email_to: str = ""
    alert_email_from: str = "data-platform@localhost"
    alert_window_minutes: float = 60.0
    alert_rejected_percent: float = 1.0
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")

    # Compose only: what a profile adds (docs/lineage-hub-operations.md).
    compose_profiles: Annotated[str, AfterValidator(_known_profiles)] = ""
    kafka_port: Port = 9092
    marquez_port: Port = 5000
    marquez_web_port: Port = 3000
    platform_web_port: Port = 3002
    postgres_marquez_password: SecretStr = SecretStr("marquez")
    clickhouse_port: Port = 8123
    clickhouse_password: SecretStr = SecretStr("clickhouse")
    clickhouse_reader_password: SecretStr = SecretStr("reader")
    grafana_port: Port = 3001
    grafana_admin_user: str = "admin"
    grafana_admin_password: SecretStr = SecretStr("admin")
    prometheus_port: Port = 9090
    otel_port: Port = 4318
    postgres_monitor_password: SecretStr = SecretStr("monitor")

    # Compose only. Blank images are those of docker-compose.yml.
    kafka_image: str = ""
    marquez_image: str = ""
    marquez_web_image: str = ""
    clickhouse_image: str = ""
    grafana_image: str = ""
    prometheus_image: str = ""
    otel_image: str = ""
    postgres_exporter_image: str = ""
    postgres_image: str = ""
    minio_image: str = ""
    airflow_image: str = ""
    superset_image: str = ""
    python_image: str = ""
    airflow_scheduler_memory: str = "6g"

    @cached_property
    def root(self) -> Path:
        """The repository's folder."""
        return find_root()

    @cached_property
    def home(self) -> Path:
        """Where the local stack keeps data, logs and sockets."""
        return (self.dp_home or self.root / ".dp").resolve()

    @property
    def project(self) -> str:
        """The Compose project: its containers and volumes carry this name. By default the folder's, as Compose has it.

        So that two checkouts on one machine are two stacks.
        """
        folder = re.sub(r"[^a-z0-9_-]", "", self.root.name.lower()).lstrip("_-")
        return self.compose_project_name or folder or "dataplatform"

    @property
    def contracts(self) -> Path:
        """Folder of the data contracts."""
        return self.contracts_dir or self.root / "data-quality" / "contracts"

    @property
    def dags(self) -> Path:
        """Folder of the DAG files."""
        return self.dags_dir or self.root / "pipelines" / "dags"

    @property
    def loopback(self) -> str:
        """The address that clients on this machine use, whatever the services bind to."""
        return "127.0.0.1" if self.bind_address in ("0.0.0.0", "::") else self.bind_address  # noqa: S104

    @property
    def s3_endpoint(self) -> str:
        """Address of the object store, with scheme."""
        return f"http://{self.loopback}:{self.minio_port}"

    @property
    def console_url(self) -> str:
        """Address of the object store's web pages, with scheme. Only MinIO has them."""
        return f"http://{self.loopback}:{self.minio_console_port}"

    @property
    def metadata_url(self) -> str:
        """Address of the metadata service, with scheme."""
        return f"http://{self.loopback}:{self.metadata_port}"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's api-server, with scheme."""
        return f"http://{self.loopback}:{self.airflow_port}"

    @property
    def superset_url(self) -> str:
        """Address of Superset, with scheme."""
        return f"http://{self.loopback}:{self.superset_port}"

    @property
    def profiles(self) -> list[str]:
        """The Compose profiles that are started besides the platform."""
        return [name.strip() for name in self.compose_profiles.split(",") if name.strip()]

    def clickhouse_url(self, address: str) -> str:
        """Return where the profile `observability` keeps telemetry, given host and port of its ClickHouse."""
        from urllib.parse import quote

        return f"http://platform:{quote(self.clickhouse_password.get_secret_value(), safe='')}@{address}/telemetry"

    def password(self, role: str) -> str:
        """Return the password of a database role: airflow, metadata, superset, loader, transformer or reporter."""
        prefix = "warehouse" if role in ("loader", "transformer", "reporter") else "postgres"
        secret: SecretStr = getattr(self, f"{prefix}_{role}_password")
        return secret.get_secret_value()

    def dsn(self, role: str, database: str | None = None, scheme: str = "postgresql") -> str:
        """Return the URL of a role's database (warehouse for its three roles, else the one of the role's name)."""
        from urllib.parse import quote

        name = database or ("warehouse" if role in ("loader", "transformer", "reporter") else role)
        return f"{scheme}://{role}:{quote(self.password(role), safe='')}@{self.loopback}:{self.postgres_port}/{name}"


def load_settings() -> StackSettings:
    """Read the settings of this repository.

    Raises:
        pydantic.ValidationError: a value can't be used; the message names the variable.
    """
    return StackSettings(_env_file=find_root() / ".env")  # type: ignore[call-arg]
