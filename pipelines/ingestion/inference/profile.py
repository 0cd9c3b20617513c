"""What is in a column: its distinct values are counted once, and everything else is asked of those."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb

from pipelines.ingestion.columns import literal

NULL_WORDS = ("na", "n/a", "#n/a", "<na>", "null", "(null)", "none", "nil", "nan", "\\n", "-", "--", "?")
CERTAIN_NULLS = ("#n/a", "<na>", "null", "(null)", "\\n")  # no text means anything else by these
BOOLEANS = ("true", "false", "t", "f", "yes", "no", "y", "n")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_OFFSET = r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_UUID = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_IS_WORD = f"lower(u) IN ({', '.join(map(literal, NULL_WORDS))})"
_MANY = 60  # values that are listed

# The shapes of a value, the first that fits. `u` is the text without blanks around it.
_SHAPES = (
    ("word", _IS_WORD),
    ("integer", "regexp_full_match(u, '[+-]?(0|[1-9][0-9]*)')"),
    ("zeros", "regexp_full_match(u, '[+-]?0[0-9]+')"),
    ("whole", r"regexp_full_match(u, '[+-]?(0|[1-9][0-9]*)\.0*')"),
    ("number", r"regexp_full_match(u, '[+-]?(0|[1-9][0-9]*)?\.[0-9]+')"),
    ("exponent", r"regexp_full_match(u, '[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+')"),
    ("comma", "regexp_full_match(u, '[+-]?(0|[1-9][0-9]*),[0-9]+')"),
    ("date", f"regexp_full_match(u, '{_DATE}') AND TRY_CAST(u AS DATE) IS NOT NULL"),
    ("local", f"regexp_full_match(u, '{_DATE}[ T]{_TIME}') AND TRY_CAST(u AS TIMESTAMP) IS NOT NULL"),
    ("zoned", f"regexp_full_match(u, '{_DATE}[ T]{_TIME}{_OFFSET}') AND TRY_CAST(u AS TIMESTAMPTZ) IS NOT NULL"),
    ("time", f"regexp_full_match(u, '{_TIME}')"),
    ("boolean", f"lower(u) IN ({', '.join(map(literal, BOOLEANS))})"),
    ("uuid", f"regexp_full_match(u, '{_UUID}')"),
    ("object", "starts_with(u, '{') AND json_valid(u)"),
    ("array", "starts_with(u, '[') AND json_valid(u)"),
)


@dataclass(frozen=True)
class Shape:
    """The values of one shape: how many, how long, between which numbers or texts."""

    rows: int
    distinct: int
    low: float | None
    high: float | None
    first: str
    last: str
    digits: int  # most digits before the point
    scale: int  # most digits after it


@dataclass(frozen=True)
class Profile:
    """A column: rows, empty ones, distinct values, how often the most and least frequent occur, shapes."""

    position: int
    rows: int
    empty: int
    distinct: int
    most: int
    singles: int
    longest: int
    shapes: dict[str, Shape]
    words: dict[str, int] = field(default_factory=dict)  # null words as they are written
    common: list[tuple[str, int]] = field(default_factory=list)  # all values where they are few, else none

    @property
    def filled(self) -> int:
        """Rows with a value."""
        return self.rows - self.empty

    def count(self, *shapes: str) -> int:
        """Rows whose value has one of the shapes."""
        return sum(self.shapes[shape].rows for shape in shapes if shape in self.shapes)


def profile(position: int, connection: duckdb.DuckDBPyConnection) -> Profile:
    """Return what is in column `c<position>` of `texts`. Leaves its values as the table `value_counts(t, u, n)`."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE value_counts AS SELECT t, trim(t) AS u, n FROM "
        f"(SELECT c{position} AS t, count(*) AS n FROM texts WHERE problem IS NULL GROUP BY ALL)"
    )
    totals = connection.execute(
        "SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(n) FILTER (u IS NULL OR u = ''), 0)::BIGINT, "
        "count(*) FILTER (u <> ''), coalesce(max(n) FILTER (u <> ''), 0), count(*) FILTER (u <> '' AND n = 1), "
        "coalesce(max(length(t)), 0) FROM value_counts"
    ).fetchone()
    rows, empty, distinct, most, singles, longest = totals or (0, 0, 0, 0, 0, 0)
    case = " ".join(f"WHEN {test} THEN '{name}'" for name, test in _SHAPES)
    shaped = connection.execute(
        "SELECT shape, sum(n)::BIGINT, count(*), min(number), max(number), min(u), max(u), "
        r"max(length(regexp_replace(split_part(u, '.', 1), '[^0-9]', '', 'g'))), "
        r"max(CASE WHEN regexp_matches(u, '[.,]') THEN length(regexp_extract(u, '[.,]([0-9]*)', 1)) ELSE 0 END) "
        f"FROM (SELECT u, n, CASE {case} ELSE 'text' END AS shape, TRY_CAST(replace(u, ',', '.') AS DOUBLE) AS number "
        "FROM value_counts WHERE u <> '') GROUP BY shape"
    ).fetchall()
    words = connection.execute(f"SELECT u, sum(n)::BIGINT FROM value_counts WHERE {_IS_WORD} GROUP BY u").fetchall()
    common = []
    if distinct <= _MANY:
        common = connection.execute("SELECT t, n FROM value_counts WHERE u <> '' ORDER BY n DESC, t").fetchall()
    shapes = {row[0]: Shape(*row[1:]) for row in shaped}
    return Profile(position, rows, empty, distinct, most, singles, longest, shapes, dict(words), common)
