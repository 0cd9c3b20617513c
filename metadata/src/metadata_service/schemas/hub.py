"""Answers to teams' own pipelines."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class RefusedItem(BaseModel):
    """Why an item of a request was not taken."""

    index: int
    reason: str
    list: Annotated[Literal["events", "spans", "metrics"], Field(description="Which list of the request it is in.")]


class Accepted(BaseModel):
    """What was taken: it is stored, or the brokers have it."""

    accepted: int
    rejected: list[RefusedItem]
    transport: Literal["direct", "kafka"]


class Dependency(BaseModel):
    """What the service needs; `off` is what it is not configured to use."""

    state: Literal["up", "down", "off"]
    detail: str | None = None


class HubHealth(BaseModel):
    """Whether the service can take lineage and telemetry: `degraded` if it can't take some of it."""

    status: Literal["ok", "degraded", "down"]
    dependencies: dict[str, Dependency]


class SpanOut(BaseModel):
    """A piece of a run's work, as OpenTelemetry tells it."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: Literal["internal", "server", "client", "producer", "consumer"]
    status: Literal["unset", "ok", "error"]
    status_message: str
    service_name: str
    start_time: datetime
    duration_seconds: float
    depth: Annotated[int, Field(description="How many spans it is below the first.")]
    attributes: dict[str, str]
