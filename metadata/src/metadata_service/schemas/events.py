"""Answers to OpenLineage events."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class EventAccepted(BaseModel):
    """An event was taken; `duplicate`: it was stored already and changed nothing."""

    status: Literal["stored", "duplicate"]
    kind: Literal["run", "job", "dataset"]


class BatchItem(BaseModel):
    """What became of one event of a batch."""

    index: int
    status: Literal["stored", "duplicate", "rejected"]


class FailedEvent(BaseModel):
    """Why an event of a batch was not taken, and whether sending it again may help."""

    index: int
    reason: str
    retriable: bool


class BatchSummary(BaseModel):
    """Counts of a batch."""

    received: int
    successful: int
    failed: int
    retriable: int
    non_retriable: int


class BatchResult(BaseModel):
    """Answer to a batch, as OpenLineage's HTTP API defines it, and the status of each event."""

    status: Literal["success", "partial_success"]
    summary: BatchSummary
    failed_events: list[FailedEvent]
    results: list[BatchItem]
