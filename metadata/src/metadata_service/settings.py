"""Settings of the metadata service: the only module of this package that reads the environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Field names are the environment variables' names in lower case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_level: str = "INFO"
    api_key: SecretStr
    database_url: SecretStr
    # The warehouse, with a role that only reads curated tables; without it there is no domain data.
    warehouse_url: SecretStr | None = None
    # Comma-separated origins of browsers that may call the API; none by default.
    cors_origins: Annotated[list[str], NoDecode] = []
    # Seconds to wait at start for a database that is still coming up.
    database_wait_seconds: Annotated[float, Field(gt=0)] = 60.0
    database_pool_size: Annotated[int, Field(ge=1)] = 8
    # Connections that store events. What arrives while one is busy is stored together, so more of them do not help
    # unless commits are slow.
    intake_connections: Annotated[int, Field(ge=1, le=16)] = 1
    # Largest body of a request after decompression.
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024

    # Whether pages and GET requests are open to everybody who can reach the service, or need a key too.
    public_reads: bool = True

    # After how many days events and runs are forgotten; 0 keeps everything.
    retention_days: Annotated[int, Field(ge=0)] = 0

    # How many data products, and edges registered between them, there may be.
    max_products: Annotated[int, Field(ge=0)] = 10_000
    max_lineage_entries: Annotated[int, Field(ge=0)] = 100_000

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

    @field_validator("api_key")
    @classmethod
    def _key_not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("the key for writes is empty: set API_KEY to a long random string")
        return value

    @field_validator("database_url", "warehouse_url")
    @classmethod
    def _psycopg_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError("use postgresql://user:password@host:port/database")
        return SecretStr(f"postgresql+psycopg://{rest}")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip() for origin in value.split(",") if origin.strip()]
        return value


def load_settings() -> ServiceSettings:
    """Read the settings from the environment.

    Raises:
        pydantic.ValidationError: a value is missing or can't be used.
    """
    return ServiceSettings()  # type: ignore[call-arg]
