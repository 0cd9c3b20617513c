"""Datasets and jobs, as the API takes and answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from metadata_service.openlineage import Name
from metadata_service.schemas.common import DatasetLink, DatasetRef, Input, QualityLevel, RunState, Text


class Column(BaseModel):
    """A column of a dataset; further keys are kept."""

    model_config = ConfigDict(extra="allow")

    name: Name
    type: Text | None = None
    description: Text | None = None
    tags: list[Text] = Field(default=[])


class ColumnDetail(Column):
    """A column with the tags, such as pii, of the columns its values come from; `tags` are its own."""

    inherited_tags: list[str]


class DatasetIn(Input):
    """A dataset to register. Only the fields that are present change an existing one."""

    namespace: Name | None = None
    name: Name
    uri: Annotated[Text, Field(min_length=1, max_length=2000)] | None = None
    description: Text | None = None
    owner: Text | None = None
    domain: Text | None = None
    tags: list[Text] = Field(default=[])
    columns: list[Column] = Field(default=[], alias="schema")

    @field_validator("columns")
    @classmethod
    def _unique_names(cls, columns: list[Column]) -> list[Column]:
        names = [column.name for column in columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns named more than once: {', '.join(twice)}")
        for column in columns:  # what the service worked out is not what it is told, though a client sends it back
            (column.__pydantic_extra__ or {}).pop("inherited_tags", None)
        return columns


class DatasetUpdate(DatasetIn):
    """The new description of a dataset; what is left out is emptied. Its name can't be changed."""

    name: Name | None = None  # type: ignore[assignment]


class QualityState(BaseModel):
    """What the newest result of each check says together."""

    state: QualityLevel
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    score: Annotated[
        float | None, Field(description="Share of checks that passed, of those that were not skipped.")
    ] = None
    checked_at: datetime | None = None


class SuspectCause(DatasetLink):
    """A dataset whose checks fail, and what others are made of."""

    state: QualityLevel


class DatasetOut(BaseModel):
    """A dataset."""

    id: UUID
    namespace: str
    name: str
    uri: str
    layer: str | None
    type: str
    description: str | None
    owner: str | None
    domain: str | None
    tags: list[str]
    columns: list[Column] = Field(serialization_alias="schema")
    quality: QualityState
    created_at: datetime
    updated_at: datetime


class DatasetDetail(DatasetOut):
    """A dataset with its newest facets, known or not, and its other names."""

    columns: list[ColumnDetail] = Field(serialization_alias="schema")  # type: ignore[assignment]
    facets: dict[str, dict[str, Any]]
    aliases: list[DatasetRef]
    suspect_because: Annotated[
        list[SuspectCause], Field(description="Failing datasets that it is made of, however far up.")
    ]


class JobOut(BaseModel):
    """A job."""

    id: UUID
    namespace: str
    name: str
    type: str | None
    integration: str | None
    description: str | None
    owner: str | None
    state: RunState | None
    last_run_at: datetime | None
    created_at: datetime
    updated_at: datetime


class JobDetail(JobOut):
    """A job with its SQL, facets and current edges."""

    sql: str | None
    facets: dict[str, dict[str, Any]]
    inputs: list[DatasetLink]
    outputs: list[DatasetLink]


class ColumnChange(BaseModel):
    """How a column differs from the version before. `breaking`: who reads it has to change."""

    column: str
    change: Literal["added", "removed", "type"]
    before: str | None
    after: str | None
    breaking: bool


class SchemaVersionOut(BaseModel):
    """Columns that a dataset was seen with. The one seen last is the present one."""

    version: int = Field(description="Counts from 1 by when the columns were seen first.")
    first_seen_at: datetime
    last_seen_at: datetime
    is_current: bool
    columns: list[Column]
    changes: list[ColumnChange]
