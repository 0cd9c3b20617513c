"""What a reading says, what it is held against, and what is looked at."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

Status = Literal["ok", "warn", "error"]


Limit = tuple[float, float]
"""From which value on a reading is a warning, and from which an error."""


@dataclass(frozen=True)
class Limits:
    """The limits of all readings. Ages and answers in seconds, shares in percent, the rest are counts."""

    answer: Limit = (2, 10)
    heartbeat: Limit = (30, 90)
    disk: Limit = (80, 92)
    connections: Limit = (75, 90)
    queued: Limit = (50, 500)
    queue_age: Limit = (120, 900)
    import_errors: Limit = (1, 10)
    waiting_files: Limit = (2_000, 20_000)
    waiting_age: Limit = (600, 3_600)
    failed_files: Limit = (1, 50)
    spooled_events: Limit = (100, 10_000)
    failed_checks: Limit = (1, 10)


@dataclass(frozen=True)
class Reading:
    """One reading. `threshold` is the limit it broke, or would break next; None where it has none."""

    component: str
    check: str
    status: Status
    value: float | None = None
    unit: str = ""
    threshold: float | None = None
    detail: str = ""
    checked_at: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the reading that `to_dict` made `data` of."""
        return cls(**data)


@dataclass(frozen=True)
class Targets:
    """Where the services answer, as the workers reach them."""

    airflow_url: str
    airflow_login: tuple[str, str] = field(repr=False)
    metadata_url: str
    superset_url: str
    warehouse_dsn: str = field(repr=False)
    s3: Any
    state_folder: Path
    spool: Path
    contracts: Path

    @classmethod
    def of_airflow(cls) -> Self:
        """Return the platform's, from Airflow's connections and the settings."""
        from pipelines.config.settings import get_settings
        from pipelines.utils import connections

        settings = get_settings()
        airflow, login = connections.http_service(connections.AIRFLOW)
        return cls(
            airflow_url=airflow,
            airflow_login=login,
            metadata_url=connections.http_service(connections.METADATA)[0],
            superset_url=connections.http_service(connections.SUPERSET)[0],
            warehouse_dsn=connections.warehouse_dsn(connections.WAREHOUSE_LOADER),
            s3=connections.s3_client(connections.MINIO),
            state_folder=settings.platform_state_dir,
            spool=settings.lineage_spool,
            contracts=settings.contracts,
        )


def graded(component: str, check: str, value: float, limit: Limit, unit: str, detail: str = "") -> Reading:
    """Return a reading whose status follows from its value."""
    warn, error = limit
    status: Status = "error" if value >= error else "warn" if value >= warn else "ok"
    threshold = error if status == "error" else warn
    return Reading(component, check, status, round(float(value), 3), unit, threshold, detail)
