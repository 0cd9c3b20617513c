"""What the API takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, field_validator

from metadata_service.openlineage import Facets, Name, RunId, Time

T = TypeVar("T")
RunState = Literal["NEW", "RUNNING", "COMPLETED", "FAILED", "ABORTED"]
QualityLevel = Literal["passing", "warning", "failing", "error", "unknown"]


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("contains a NUL character")
    return value


Text = Annotated[str, AfterValidator(_storable), Field(max_length=100_000)]


class _Input(BaseModel):
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


class Column(BaseModel):
    """A column of a dataset; further keys are kept."""

    model_config = ConfigDict(extra="allow")

    name: Name
    type: Text | None = None
    description: Text | None = None
    tags: list[Text] = []


class ColumnDetail(Column):
    """A column with the tags, such as pii, of the columns its values come from; `tags` are its own."""

    inherited_tags: list[str]


class DatasetIn(_Input):
    """A dataset to register. Only the fields that are present change an existing one."""

    namespace: Name | None = None
    name: Name
    uri: Annotated[Text, Field(min_length=1, max_length=2000)] | None = None
    description: Text | None = None
    owner: Text | None = None
    domain: Text | None = None
    tags: list[Text] = []
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
    checked_at: datetime | None = None


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


class RunIn(_Input):
    """A run to record."""

    run_id: RunId | None = None
    job: JobRef
    state: RunState = "RUNNING"
    started_at: Time | None = None
    ended_at: Time | None = None
    parent_run_id: RunId | None = None
    error_message: Text | None = None
    facets: Facets
    inputs: list[DatasetRef] = []
    outputs: list[DatasetRef] = []


class RunUpdate(_Input):
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


class DqResultsIn(_Input):
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
    checks: list[DqResultOut]
    history: Page[DqResultOut]


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
