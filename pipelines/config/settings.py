"""Settings of the pipelines: the only module of this package that reads the environment.

Addresses of databases and buckets are not here: pipelines name Airflow connections (connections.yaml).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.ingestion.model import Limits


class Settings(BaseSettings):
    """Where the repository's parts are, and where the platform's own services answer."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    platform_root: Path = Path(__file__).resolve().parents[2]
    platform_state_dir: Path = Path("/tmp/dataplatform")  # noqa: S108 - only where the stack sets none
    contracts_dir: Path | None = None
    metadata_url: str = "http://127.0.0.1:8000"
    metadata_api_key: SecretStr = SecretStr("")
    superset_url: str = "http://127.0.0.1:8088"
    airflow_url: str = "http://127.0.0.1:8080"

    ingest_memory_mb: int = 3072
    ingest_seconds: float = 3600.0
    ingest_unpacked_gb: float = 64.0

    alert_webhook_url: SecretStr = SecretStr("")
    alert_email_to: str = ""
    alert_email_from: str = "data-platform@localhost"
    alert_window_minutes: float = 60.0
    alert_rejected_percent: float = 1.0
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")

    @property
    def reading_limits(self) -> Limits:
        """How much reading one file may take."""
        return Limits(
            memory=self.ingest_memory_mb * 1024**2,
            seconds=self.ingest_seconds,
            unpacked_bytes=int(self.ingest_unpacked_gb * 1024**3),
        )

    @property
    def contracts(self) -> Path:
        """Folder of the data contracts."""
        return self.contracts_dir or self.platform_root / "data-quality" / "contracts"

    @property
    def quality(self) -> Path:
        """Folder of the SQL checks and Great Expectations suites."""
        return self.platform_root / "data-quality"

    @property
    def transformations(self) -> Path:
        """Folder of the dbt project."""
        return self.platform_root / "transformations"

    @property
    def lineage_spool(self) -> Path:
        """Folder of lineage events that could not be delivered yet."""
        return self.platform_state_dir / "lineage-spool"


@cache
def get_settings() -> Settings:
    """Return the settings, read once a process."""
    return Settings()
