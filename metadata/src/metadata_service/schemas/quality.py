"""Check results, as the API takes and answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from metadata_service.openlineage import Name, Time
from metadata_service.schemas.catalog import QualityState, SuspectCause
from metadata_service.schemas.common import DatasetLink, DatasetRef, Input, JobRef, Page, Text


class _DqResult(BaseModel):
    check: Name
    column: Name | None = None
    dimension: Annotated[Text, Field(description="Aspect of quality, such as completeness.")] | None = None
    status: Literal["passed", "failed", "error", "skipped"]
    severity: Literal["warn", "error", "critical"] = "error"
    measured: JsonValue = None
    expected: JsonValue = None
    message: Text | None = None
    sql: Text | None = None
    failed_rows: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    sample: JsonValue = None
    engine: Text | None = None
    duration_seconds: Annotated[float, Field(ge=0)] | None = None


class DqResultIn(_DqResult):
    """What a check measured."""

    model_config = ConfigDict(extra="forbid")

    dataset: DatasetRef | None = None
    checked_at: Time | None = None


class DqResultsIn(Input):
    """The results of a run."""

    job: JobRef | None = None
    results: Annotated[list[DqResultIn], Field(max_length=10_000)]


class DqResultOut(_DqResult):
    """A stored result."""

    id: UUID
    run_id: str | None
    dataset: DatasetLink | None
    checked_at: datetime


class DqSummary(BaseModel):
    """What was stored."""

    run_id: str
    received: int
    passed: int
    failed: int
    errors: int
    skipped: int


class DatasetQuality(BaseModel):
    """The newest result of each check of a dataset, and all results, newest first."""

    dataset_id: UUID
    quality: QualityState
    suspect_because: Annotated[
        list[SuspectCause], Field(description="Failing datasets that it is made of, however far up.")
    ]
    checks: list[DqResultOut]
    history: Page[DqResultOut]
