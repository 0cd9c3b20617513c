"""Dates that are not written the ISO way: which format reads all values of a column, and whether only one does."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from pipelines.ingestion.columns import literal, strptime_format

_DAYS = (
    "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "dd-MM-yyyy", "MM-dd-yyyy", "yyyy/MM/dd", "yyyy.MM.dd", "d/M/yyyy",
    "M/d/yyyy", "d.M.yyyy", "dd/MM/yy", "MM/dd/yy", "dd.MM.yy", "dd-MMM-yyyy", "dd MMM yyyy", "dd MMMM yyyy",
)  # fmt: skip
_TIMES = ("", " HH:mm", " HH:mm:ss")
_COMPACT = ("yyyyMMdd",)
_LOOKS = r"[0-9]{1,4}[-/. ]([0-9]{1,2}|[A-Za-z]{3,9})[-/. ][0-9]{2,4}( [0-9]{2}:[0-9]{2}(:[0-9]{2})?)?"
_EARLIEST, _LATEST = "1900-01-01", "2100-01-01"


@dataclass(frozen=True)
class DateFormat:
    """A format (JDK letters, as the standard asks for), how many rows it reads, and another that reads as many."""

    format: str
    rows: int
    other: str | None = None

    @property
    def has_time(self) -> bool:
        """Whether it reads a time of day too."""
        return "HH" in self.format


def find_format(connection: duckdb.DuckDBPyConnection, *, compact: bool) -> DateFormat | None:
    """Return the format that reads most of `value_counts`, None where none reads any.

    Args:
        connection: Where `value_counts(t, u, n)` is.
        compact: Whether eight digits may be a date: the column's name has to say so.
    """
    looks = "regexp_full_match(u, '[12][0-9]{7}')" if compact else f"regexp_full_match(u, {literal(_LOOKS)})"
    formats = list(_COMPACT) if compact else [day + time for time in _TIMES for day in _DAYS]
    counts = ", ".join(f"coalesce(sum(n) FILTER ({_reads(strptime_format(format))}), 0)::BIGINT" for format in formats)
    row = connection.execute(f"SELECT {counts} FROM value_counts WHERE {looks}").fetchone()
    read = dict(zip(formats, row or (), strict=True))
    best = max(read.values(), default=0)
    if not best:
        return None
    equal = [format for format in formats if read[format] == best]
    return DateFormat(equal[0], best, next((other for other in equal[1:] if _swaps(equal[0], other)), None))


def _reads(directives: str) -> str:
    """The test that ingestion makes: parsed and written again it is the same text."""
    form = literal(directives)
    parsed = f"try_strptime(u, {form})"
    return f"{parsed} BETWEEN '{_EARLIEST}' AND '{_LATEST}' AND strftime({parsed}, {form}) = u"


def _swaps(one: str, other: str) -> bool:
    """Whether two formats differ in the order of day and month."""
    return one != other and sorted(one) == sorted(other) and len(one) == len(other)
