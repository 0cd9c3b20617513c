"""What the API takes and answers about data products."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from metadata_service.compatibility import parse_version
from metadata_service.schemas.catalog import Column
from metadata_service.schemas.common import DatasetLink, DatasetRef, QualityLevel, Text

ProductStatus = Literal["active", "deprecated", "inactive"]
LineageType = Literal["direct", "derived", "aggregated"]


def _is_version(text: str) -> str:
    parse_version(text)
    return text


def _unique(columns: list[Column]) -> list[Column]:
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"columns named more than once: {', '.join(twice)}")
    return columns


ProductName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", examples=["daily-revenue"])]
Version = Annotated[str, Field(max_length=80, examples=["1.0.0"]), AfterValidator(_is_version)]


class _Described(BaseModel):
    """What is said of a product."""

    model_config = ConfigDict(extra="forbid")

    domain: Annotated[Text, Field(min_length=1, max_length=200)]
    description: Text = ""
    owner: Annotated[Text, Field(max_length=500)] = ""
    status: ProductStatus = "active"
    version: Version = "1.0.0"
    tags: list[Annotated[Text, Field(max_length=200)]] = []
    columns: Annotated[list[Column], Field(alias="schema", max_length=2000), AfterValidator(_unique)] = []
    datasets: Annotated[list[DatasetRef], Field(max_length=200)] = []
    metadata: Annotated[dict[str, Any], Field(description="Whatever else belongs to it.")] = {}


class ProductIn(_Described):
    """A product to register. One of this name becomes what is given."""

    name: ProductName


class ProductUpdate(_Described):
    """What a product is to be; what is left out becomes its default."""


class ProductOut(BaseModel):
    """A product. `schema` is what was declared, else the columns of its datasets; `quality` the worst of theirs."""

    id: UUID
    name: str
    domain: str
    description: str
    owner: str
    status: ProductStatus
    version: str
    tags: list[str]
    columns: list[Column] = Field(serialization_alias="schema")
    datasets: list[DatasetLink]
    metadata: dict[str, Any]
    quality: QualityLevel
    created_at: datetime
    updated_at: datetime


class ProductVersionOut(BaseModel):
    """A version that a product had, with the columns it had then."""

    version: str
    columns: list[Column] = Field(serialization_alias="schema")
    released_at: datetime


class LineageIn(BaseModel):
    """A product that is made of another one."""

    model_config = ConfigDict(extra="forbid")

    source: ProductName
    target: Annotated[ProductName, Field(examples=["weekly-revenue"])]
    transformation: Text = ""
    lineage_type: LineageType = "direct"
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    metadata: dict[str, Any] = {}


class LineageOut(BaseModel):
    """An edge between products. `origin` is `registered`, or `datasets` where the lineage of their datasets says so."""

    id: int | None
    source: str
    target: str
    transformation: str
    lineage_type: LineageType
    confidence: float
    metadata: dict[str, Any]
    origin: Literal["registered", "datasets"]
    created_at: datetime | None


class LineageStep(LineageOut):
    """An edge on the way up or down from a product, `depth` edges away from it."""

    depth: int


class ProductLineage(BaseModel):
    """What a product is made of, or what is made of it: `products` by name, nearest first, and the edges between."""

    product: str
    direction: Literal["upstream", "downstream"]
    products: list[str]
    items: list[LineageStep]
    truncated: bool


class DomainStats(BaseModel):
    """A domain: what it has, and how it is."""

    domain: str
    datasets: int
    products: dict[ProductStatus, int]
    owners: list[str]
    quality: dict[QualityLevel, int]


class LineageStats(BaseModel):
    """How much lineage there is."""

    datasets: int
    jobs: int
    edges: int
    column_edges: int
    datasets_without_lineage: int
    products: int
    registered: int
    registered_by_type: dict[LineageType, int]
    average_confidence: float | None
    most_used: list[dict[str, Any]]


class QualityDay(BaseModel):
    """The results of a day."""

    day: str
    passed: int
    failed: int
    errors: int


class SuspectDataset(DatasetLink):
    """A dataset that is made of failing ones: `causes` are their ids."""

    owner: str | None
    causes: list[UUID]


class QualityStats(BaseModel):
    """The states of all datasets, what fails now, what is made of that, and the results of the last days."""

    datasets: dict[QualityLevel, int]
    failing: list[dict[str, Any]]
    suspect: list[SuspectDataset]
    days: list[QualityDay]
