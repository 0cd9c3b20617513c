"""Runs, as the API takes and answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from metadata_service.openlineage import Facets, RunId, Time
from metadata_service.schemas.common import DatasetLink, DatasetRef, Input, JobLink, JobRef, RunState, Text


class RunIn(Input):
    """A run to record."""

    run_id: RunId | None = None
    job: JobRef
    state: RunState = "RUNNING"
    started_at: Time | None = None
    ended_at: Time | None = None
    parent_run_id: RunId | None = None
    error_message: Text | None = None
    facets: Facets
    inputs: list[DatasetRef] = Field(default=[])
    outputs: list[DatasetRef] = Field(default=[])


class RunUpdate(Input):
    """How a run goes on or ends."""

    state: Literal["RUNNING", "COMPLETED", "FAILED", "ABORTED"]
    ended_at: Time | None = None
    error_message: Text | None = None


class RunOut(BaseModel):
    """A run."""

    id: str
    job: JobLink | None
    state: RunState
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    parent_run_id: str | None
    root_run_id: str | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime


class DatasetRunOut(RunOut):
    """A run as a dataset sees it: whether it read or wrote it."""

    direction: list[Literal["input", "output"]]


class RunDatasetOut(BaseModel):
    """A dataset of a run and the facets of just this run."""

    dataset: DatasetLink
    facets: dict[str, dict[str, Any]]


class RunDetail(RunOut):
    """A run with what it read and wrote, its facets and the runs it started (the first 500)."""

    facets: dict[str, dict[str, Any]]
    inputs: list[RunDatasetOut]
    outputs: list[RunDatasetOut]
    children: list[RunOut]
