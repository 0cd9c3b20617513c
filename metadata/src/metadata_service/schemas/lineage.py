"""Graphs, as the API answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

Direction = Literal["both", "upstream", "downstream"]


class LineageNode(BaseModel):
    """A dataset or job.

    `kind` is table, file, dashboard, or a job's integration; `state` that of its quality, or of its last run; `deleted`
    things keep their place.
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
    deleted: bool


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


class FrontierNode(BaseModel):
    """A node with neighbours that the answer has not: ask for its lineage in this direction, with `after` if given."""

    id: UUID
    type: Literal["dataset", "job"]
    direction: Literal["upstream", "downstream"]
    after: UUID | None


class LineageGraph(BaseModel):
    """A graph; `truncated` says that there is more than was asked for or fits."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]
    column_edges: list[ColumnLineageEdge]
    truncated: bool


class WalkedGraph(LineageGraph):
    """The graph around a node; `depth` counts hops from dataset to dataset, `frontier` is where it goes on.

    `truncated`: it was cut for its number of nodes, the nearest ones stay. `at`: as it was then.
    """

    direction: Direction
    depth: int
    at: datetime | None
    frontier: list[FrontierNode]


class DatasetLineage(WalkedGraph):
    """The graph around a dataset."""

    dataset_id: UUID


class JobLineage(WalkedGraph):
    """The graph around a job."""

    job_id: UUID


class ColumnFrontier(BaseModel):
    """A column with neighbours that the answer has not: ask for its lineage in this direction, with `after` if any."""

    dataset_id: UUID
    column: str
    direction: Literal["upstream", "downstream"]
    after: str | None


class ColumnLineage(BaseModel):
    """The columns around a column; `depth` counts edges from column to column. `nodes` are the datasets they are of."""

    dataset_id: UUID
    column: str
    direction: Direction
    depth: int
    at: datetime | None
    nodes: list[LineageNode]
    columns: list[ColumnRef]
    column_edges: list[ColumnLineageEdge]
    truncated: bool
    frontier: list[ColumnFrontier]


class GraphDifference(BaseModel):
    """Nodes and edges that one graph has and another has not."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]
    column_edges: list[ColumnLineageEdge]


class LineageChanges(BaseModel):
    """What became of the graph around a node between two times."""

    direction: Direction
    depth: int
    since: datetime
    until: datetime
    added: GraphDifference
    removed: GraphDifference
    truncated: bool


class RunNode(BaseModel):
    """A run or a dataset of the graph of runs; `name` of a run is its job's."""

    id: str
    type: Literal["run", "dataset"]
    namespace: str | None
    name: str | None
    state: str | None
    started_at: datetime | None
    ended_at: datetime | None
    deleted: bool


class RunEdge(BaseModel):
    """An arrow between ids of runs and datasets, in the direction the data flows."""

    source: str
    target: str


class RunFrontier(BaseModel):
    """A run with neighbours that the answer has not: ask for its lineage in this direction."""

    id: str
    direction: Literal["upstream", "downstream"]


class RunLineage(BaseModel):
    """The runs that made what a run read, and those that read what it made; `depth` counts hops from run to run."""

    run_id: str
    direction: Direction
    depth: int
    nodes: list[RunNode]
    edges: list[RunEdge]
    truncated: bool
    frontier: list[RunFrontier]


class ImpactNode(LineageNode):
    """Something below; `certain` is false where a job on the way tells no column lineage."""

    certain: bool


class ImpactProduct(BaseModel):
    """A product below, and which of its datasets are affected."""

    name: str
    domain: str
    owner: str
    status: str
    version: str
    datasets: list[UUID]


class Impact(BaseModel):
    """What breaks if a dataset, or one of its columns, goes. `dashboards` are those of the datasets that are one."""

    dataset_id: UUID
    column: str | None
    datasets: list[ImpactNode]
    columns: list[ColumnRef]
    jobs: list[ImpactNode]
    dashboards: list[ImpactNode]
    products: list[ImpactProduct]
    owners: list[str]
    truncated: bool
    frontier: list[FrontierNode]
