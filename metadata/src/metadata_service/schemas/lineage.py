"""Graphs, as the API answers them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class LineageNode(BaseModel):
    """A dataset or job.

    `kind` is table, file, dashboard, or a job's integration; `state` that of its quality, or of its last run.
    """

    id: UUID
    type: Literal["dataset", "job"]
    namespace: str
    name: str
    layer: str | None
    kind: str | None
    owner: str | None
    tags: list[str]
    state: str | None


class LineageEdge(BaseModel):
    """An arrow between node ids, in the direction the data flows."""

    source: UUID
    target: UUID


class ColumnRef(BaseModel):
    """A column of a node."""

    dataset_id: UUID
    column: str


class ColumnLineageEdge(BaseModel):
    """A column that flows into another; `type` DIRECT or INDIRECT, `subtype` such as IDENTITY or JOIN."""

    source: ColumnRef
    target: ColumnRef
    job_id: UUID | None
    type: str | None
    subtype: str | None
    description: str | None


class LineageGraph(BaseModel):
    """A graph; `truncated` says that there is more than was asked for or fits."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]
    column_edges: list[ColumnLineageEdge]
    truncated: bool


class DatasetLineage(LineageGraph):
    """The graph around a dataset; `depth` counts hops from dataset to dataset."""

    dataset_id: UUID
    direction: Literal["both", "upstream", "downstream"]
    depth: int
