"""What can be asked of a table: one small class a kind. They say what has to hold; an engine knows how to measure it.

All but RowCount, Freshness, Metric and Query count the rows (for Columns: the columns) that break the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """What a check is about."""

    ROW_COUNT = "row_count"
    NOT_NULL = "not_null"
    UNIQUE = "unique"
    ACCEPTED_VALUES = "accepted_values"
    RANGE = "range"
    PATTERN = "pattern"
    FOREIGN_KEY = "foreign_key"
    FRESHNESS = "freshness"
    SCHEMA = "schema"
    CUSTOM_SQL = "custom_sql"


@dataclass(frozen=True)
class RowCount:
    """How many rows the table has; compared with the previous run it is the table's volume."""

    kind: ClassVar[Kind] = Kind.ROW_COUNT


@dataclass(frozen=True)
class NotNull:
    """A value is there, and is none of the words that stand for a missing one."""

    column: str
    words: tuple[Any, ...] = ()
    numeric: bool = False
    kind: ClassVar[Kind] = Kind.NOT_NULL


@dataclass(frozen=True)
class Unique:
    """No value comes twice. Counted are the rows beyond the first of each value; rows with a gap in it are left out."""

    columns: tuple[str, ...]
    among: str | None = None
    """A boolean column: only rows where it is true are looked at, such as the current ones of a history."""
    kind: ClassVar[Kind] = Kind.UNIQUE


@dataclass(frozen=True)
class Accepted:
    """A value is one of a list. Missing values are no matter of this rule, here and in the ones below."""

    column: str
    values: tuple[Any, ...]
    numeric: bool = False
    pattern: str | None = None
    """A regular expression of Postgres' that a value has to match as well."""
    kind: ClassVar[Kind] = Kind.ACCEPTED_VALUES


@dataclass(frozen=True)
class Pattern:
    """A text matches a regular expression of Postgres'."""

    column: str
    pattern: str
    kind: ClassVar[Kind] = Kind.PATTERN


@dataclass(frozen=True)
class Range:
    """A value lies between bounds: numbers, or dates and times as text (ISO 8601)."""

    column: str
    minimum: Any = None
    maximum: Any = None
    exclusive_minimum: Any = None
    exclusive_maximum: Any = None
    kind: ClassVar[Kind] = Kind.RANGE


@dataclass(frozen=True)
class Length:
    """A text has so many characters."""

    column: str
    minimum: int | None = None
    maximum: int | None = None
    kind: ClassVar[Kind] = Kind.RANGE


@dataclass(frozen=True)
class ForeignKey:
    """A value is among those of another table's column. Rows with a gap in it are left out."""

    columns: tuple[str, ...]
    to_schema: str
    to_table: str
    to_columns: tuple[str, ...]
    kind: ClassVar[Kind] = Kind.FOREIGN_KEY


@dataclass(frozen=True)
class Freshness:
    """Seconds since the newest value of a column."""

    column: str
    kind: ClassVar[Kind] = Kind.FRESHNESS


@dataclass(frozen=True)
class Columns:
    """The table has these columns, of these types (as Postgres prints them), and no others but the platform's own."""

    types: tuple[tuple[str, str], ...]
    others: bool = False
    """Whether it may have others besides."""
    kind: ClassVar[Kind] = Kind.SCHEMA


@dataclass(frozen=True)
class Metric:
    """An SQL aggregate over the table, measured in the scan that the table's other checks share."""

    expression: str
    failing: str | None = None
    """A query for the rows that break the rule, for the sample."""
    kind: ClassVar[Kind] = Kind.CUSTOM_SQL


@dataclass(frozen=True)
class Query:
    """A query whose single value is measured. `SELECT count(*) FROM <the table> WHERE …` shares the table's scan."""

    sql: str
    failing: str | None = None
    """A query for the rows that break the rule, for the sample."""
    kind: ClassVar[Kind] = Kind.CUSTOM_SQL


Rule = (
    RowCount
    | NotNull
    | Unique
    | Accepted
    | Pattern
    | Range
    | Length
    | ForeignKey
    | Freshness
    | Columns
    | Metric
    | Query
)
