"""Marquez' shapes: https://marquezproject.github.io/marquez/openapi.html. Field names are Marquez' own."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from metadata_service.openlineage import Name, RunId, Time
from metadata_service.schemas.common import Text

Facets = dict[str, Any]
Fields = list[dict[str, Any]]


class Given(BaseModel):
    """What clients send; like Marquez, fields that are not known are passed over."""

    model_config = ConfigDict(extra="ignore")


class NamespaceIn(Given):
    """A namespace to describe."""

    ownerName: Text
    description: Text | None = None


class SourceIn(Given):
    """A source to describe."""

    type: Text
    connectionUrl: Text
    description: Text | None = None


class TagIn(Given):
    """A tag to describe."""

    description: Text | None = None


class FieldIn(Given):
    """A field of a dataset."""

    name: Name
    type: Text | None = None
    tags: list[Text] = Field(default=[])
    description: Text | None = None


class DatasetIn(Given):
    """A dataset to create or change."""

    type: Literal["DB_TABLE", "STREAM"]
    physicalName: Name
    sourceName: Name
    fields: list[FieldIn] = Field(default=[])
    tags: list[Text] = Field(default=[])
    description: Text | None = None
    schemaLocation: Text | None = None
    runId: RunId | None = None


class DatasetId(Given):
    """Namespace and name of a dataset or job."""

    namespace: Name
    name: Name


class JobIn(Given):
    """A job to create or change."""

    type: Literal["BATCH", "STREAM", "SERVICE"]
    inputs: list[DatasetId] = Field(default=[])
    outputs: list[DatasetId] = Field(default=[])
    location: Text | None = None
    context: dict[str, Text] = Field(default={})
    description: Text | None = None
    runId: RunId | None = None


class RunIn(Given):
    """A run to create."""

    id: RunId | None = None
    nominalStartTime: Time | None = None
    nominalEndTime: Time | None = None
    args: dict[str, Any] = Field(default={})


class Namespace(BaseModel):
    """A namespace."""

    name: str
    createdAt: datetime
    updatedAt: datetime
    ownerName: str
    description: str | None
    isHidden: bool


class Namespaces(BaseModel):
    """A page of namespaces."""

    namespaces: list[Namespace]
    totalCount: int


class Source(BaseModel):
    """A source."""

    type: str
    name: str
    createdAt: datetime
    updatedAt: datetime
    connectionUrl: str
    description: str | None


class Sources(BaseModel):
    """A page of sources."""

    sources: list[Source]
    totalCount: int


class Tag(BaseModel):
    """A tag."""

    name: str
    description: str | None


class Tags(BaseModel):
    """A page of tags."""

    tags: list[Tag]
    totalCount: int


class Run(BaseModel):
    """A run of a job."""

    id: str
    createdAt: datetime
    updatedAt: datetime
    nominalStartTime: str | None
    nominalEndTime: str | None
    state: str
    startedAt: datetime | None
    endedAt: datetime | None
    durationMs: int | None
    args: dict[str, Any]
    jobVersion: dict[str, str] | None
    inputDatasetVersions: list[dict[str, Any]]
    outputDatasetVersions: list[dict[str, Any]]
    facets: Facets


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run]
    totalCount: int


class Dataset(BaseModel):
    """A dataset."""

    id: DatasetId
    type: str
    name: str
    physicalName: str
    createdAt: datetime
    updatedAt: datetime
    namespace: str
    sourceName: str
    fields: Fields
    tags: list[str]
    lastModifiedAt: datetime | None
    lastLifecycleState: str | None
    description: str | None
    currentVersion: str
    facets: Facets
    deleted: bool


class Datasets(BaseModel):
    """A page of datasets."""

    datasets: list[Dataset]
    totalCount: int


class DatasetVersion(BaseModel):
    """A version of a dataset: what a run made of it."""

    id: dict[str, str]
    type: str
    name: str
    physicalName: str
    createdAt: datetime
    version: str
    namespace: str
    sourceName: str
    fields: Fields
    tags: list[str]
    lifecycleState: str | None
    description: str | None
    currentSchemaVersion: str | None
    createdByRun: Run | None
    facets: Facets


class DatasetVersions(BaseModel):
    """A page of versions, newest first."""

    versions: list[DatasetVersion]
    totalCount: int


class Job(BaseModel):
    """A job."""

    id: DatasetId
    type: str
    name: str
    simpleName: str
    parentJobName: str | None
    parentJobUuid: str | None
    createdAt: datetime
    updatedAt: datetime
    namespace: str
    inputs: list[DatasetId]
    outputs: list[DatasetId]
    location: str | None
    description: str | None
    latestRun: Run | None
    latestRuns: list[Run]
    facets: Facets
    currentVersion: str
    tags: list[str]
    labels: list[str]


class Jobs(BaseModel):
    """A page of jobs."""

    jobs: list[Job]
    totalCount: int


class JobVersion(BaseModel):
    """A version of a job: the same inputs and outputs."""

    id: dict[str, str]
    name: str
    version: str
    createdAt: datetime
    namespace: str
    inputs: list[DatasetId]
    outputs: list[DatasetId]
    location: str | None
    latestRun: Run | None
    facets: Facets


class JobVersions(BaseModel):
    """A page of versions, newest first."""

    versions: list[JobVersion]
    totalCount: int


class RunFacets(BaseModel):
    """The facets of a run, or of its job."""

    runId: str
    facets: Facets


class Edge(BaseModel):
    """An arrow between node ids."""

    origin: str
    destination: str


class Node(BaseModel):
    """A node of a graph; `data` is a dataset, a job, or a field with its inputs."""

    id: str
    type: Literal["DATASET", "JOB", "DATASET_FIELD"]
    data: dict[str, Any]
    inEdges: list[Edge]
    outEdges: list[Edge]


class Graph(BaseModel):
    """A graph around a node."""

    graph: list[Node]


class Events(BaseModel):
    """A page of OpenLineage events. `totalCount` is exact up to 100,000 and an estimate beyond."""

    events: list[dict[str, Any]]
    totalCount: int


class SearchHit(BaseModel):
    """A dataset or job that was found."""

    type: Literal["DATASET", "JOB"]
    name: str
    updatedAt: datetime
    namespace: str
    nodeId: str


class SearchHits(BaseModel):
    """What was found."""

    totalCount: int
    results: list[SearchHit]


class Count(BaseModel):
    """How many there were at the end of an interval."""

    startInterval: datetime
    endInterval: datetime
    count: int


class EventCount(BaseModel):
    """How many events of runs an interval had."""

    startInterval: datetime
    endInterval: datetime
    fail: int
    start: int
    complete: int
    abort: int
