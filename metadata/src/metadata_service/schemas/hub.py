"""Answers to teams' own pipelines."""

from __future__ import annotations

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
