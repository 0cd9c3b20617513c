"""What a contract says, as plain frozen dataclasses. `loader` makes them, everything else only reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Format = Literal["auto", "csv", "json", "ndjson", "parquet"]
WriteMode = Literal["upsert", "append", "replace", "delete_insert", "scd2"]
ColumnPolicy = Literal["freeze", "evolve", "discard", "rescue"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a contract file: which file, where in it, and what with the cure."""

    path: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.where}: {self.message}" if self.where else f"{self.path}: {self.message}"


class ContractError(ValueError):
    """A contract can't be used. `problems` holds everything found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Column:
    """A column: `name` as files spell it, `column` as the warehouse does (`physicalName`, else the same)."""

    name: str
    column: str
    logical_type: str
    physical_type: str | None = None
    required: bool = False
    primary_key: bool = False
    key_position: int = 0
    unique: bool = False
    partitioned: bool = False
    classification: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    minimum: Any = None
    maximum: Any = None
    exclusive_minimum: Any = None
    exclusive_maximum: Any = None
    multiple_of: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    timezone: bool = False
    default_timezone: str = "UTC"
    accepted: tuple[Any, ...] = ()

    @property
    def is_pii(self) -> bool:
        """Whether the column holds personal data, by classification or tag."""
        return (self.classification or "").lower() == "pii" or any(tag.lower() == "pii" for tag in self.tags)


@dataclass(frozen=True)
class QualityRule:
    """A check on the loaded table. `column` is the warehouse column it hangs on, None for the whole table."""

    name: str
    type: Literal["library", "sql"]
    metric: str | None = None
    query: str | None = None
    column: str | None = None
    severity: str = "error"
    dimension: str | None = None
    operator: str | None = None
    threshold: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    unit: Literal["rows", "percent"] = "rows"
    description: str = ""
    compared: bool = False
    """Whether the threshold is for the change against the last passed run, in percent."""

    def sql(self, schema: str, table: str) -> str:
        """Return the query of a rule of type sql with `${table}` and `${column}` filled in, both quoted."""
        quoted = '"' + schema.replace('"', '""') + '"."' + table.replace('"', '""') + '"'
        column = '"' + (self.column or "").replace('"', '""') + '"'
        return (self.query or "").replace("${table}", quoted).replace("${column}", column)


@dataclass(frozen=True)
class Reference:
    """A relationship: the values of `columns` (warehouse names) are among those of another dataset's `to_columns`."""

    name: str
    columns: tuple[str, ...]
    to_dataset: str
    to_columns: tuple[str, ...]
    """As the other dataset's contract spells them, in files or in the warehouse."""
    severity: str = "error"


@dataclass(frozen=True)
class Freshness:
    """The newest value of `column` may be at most this many seconds old."""

    column: str
    seconds: int


@dataclass(frozen=True)
class RejectBudget:
    """How much of a file may be rejected before the file itself fails: both limits hold."""

    max_percent: float = 5.0
    max_rows: int = 10_000


@dataclass(frozen=True)
class FileRules:
    """How many rows a file may hold, bad ones counted: one with fewer or more fails as a whole. None is no limit."""

    min_rows: int | None = None
    max_rows: int | None = None


@dataclass(frozen=True)
class CsvOptions:
    """The CSV dialect. What is None is found out from the file; lines that start with `comment` are no records."""

    delimiter: str | None = None
    quote: str = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str | None = None
    header: bool = True
    skip_rows: int = 0
    decimal: str = "."
    null_words: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class IngestOptions:
    """The custom property `ingest`: what the standard has no field for. `order_by` is a warehouse column."""

    format: Format = "auto"
    write: WriteMode = "append"
    order_by: str | None = None
    columns: ColumnPolicy = "rescue"
    rejects: RejectBudget = RejectBudget()
    file: FileRules = FileRules()
    csv: CsvOptions = CsvOptions()

    @property
    def takes_files_in_order(self) -> bool:
        """Whether the later of two files has to be loaded later: no column tells which of their rows is newer."""
        return self.write in ("replace", "delete_insert") or (self.write != "append" and self.order_by is None)


@dataclass(frozen=True)
class Contract:
    """A dataset's contract. `name` is the dataset (folder, DAG, staged Parquet), `table` its warehouse table."""

    name: str
    table: str
    id: str
    version: str
    status: str
    domain: str
    owner: str
    owner_email: str | None
    description: str
    tags: tuple[str, ...]
    columns: tuple[Column, ...]
    quality: tuple[QualityRule, ...]
    freshness: Freshness | None
    ingest: IngestOptions
    path: str
    fingerprint: str
    references: tuple[Reference, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Warehouse names of the key's columns, in key order; empty without a primary key."""
        keyed = [column for column in self.columns if column.primary_key]
        return tuple(column.column for column in sorted(keyed, key=lambda column: column.key_position))

    @property
    def partition(self) -> tuple[str, ...]:
        """Warehouse names of the columns marked `partitioned`."""
        return tuple(column.column for column in self.columns if column.partitioned)
