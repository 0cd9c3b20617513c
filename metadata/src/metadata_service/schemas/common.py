"""What several requests and answers share."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from metadata_service.openlineage import Name

T = TypeVar("T")
RunState = Literal["NEW", "RUNNING", "COMPLETED", "FAILED", "ABORTED"]
QualityLevel = Literal["passing", "warning", "failing", "error", "unknown"]


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("contains a NUL character")
    return value


Text = Annotated[str, AfterValidator(_storable), Field(max_length=100_000)]


class Input(BaseModel):
    """Input with a closed set of fields, so that a misspelt one is told instead of dropped."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    total: int
    limit: int
    offset: int


class DatasetRef(BaseModel):
    """The OpenLineage name of a dataset."""

    namespace: Name
    name: Name


class DatasetLink(DatasetRef):
    """A dataset's name and id."""

    id: UUID


class JobRef(BaseModel):
    """The OpenLineage name of a job."""

    namespace: Name
    name: Name


class JobLink(JobRef):
    """A job's name and id."""

    id: UUID
