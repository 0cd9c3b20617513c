"""Types: how a contract's column is called in DuckDB and Postgres, and how text becomes a value of it.

No fuzzy casting: '2026-02-30', '17.5' for an integer and 'NaN' are refused, '17850.0' is the integer 17850.
Expressions here are DuckDB SQL over a text expression `t`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from data_quality.contract import Column

INTEGER = r"[+-]?[0-9]+(\.0*)?"
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]00:00(:00(\.0+)?)?(Z|[+-]00(:?00)?)?)?"
_OFFSET = r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
TIMESTAMP = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([ T]([01][0-9]|2[0-3]):[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?({_OFFSET})?)?"
)
TIME = r"([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
EMAIL = r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"
UUID = r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")
# JDK DateTimeFormatter letters, which the standard asks for, as strptime directives.
_JDK = {"yyyy": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d", "HH": "%H",
        "hh": "%I", "mm": "%M", "ss": "%S", "SSSSSS": "%f", "SSS": "%g", "a": "%p", "XXX": "%z", "Z": "%z"}  # fmt: skip


def literal(value: object) -> str:
    """Return a text as an SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def postgres_type(column: Column) -> str:
    """Return the column's type in the warehouse."""
    if column.physical_type:
        return column.physical_type
    return {
        "string": "text",
        "integer": "bigint",
        "number": "numeric(38,9)",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamptz" if column.timezone else "timestamp",
        "time": "time",
        "object": "jsonb",
        "array": "jsonb",
    }[column.logical_type]


def duckdb_type(column: Column) -> str:
    """Return the column's type in DuckDB and in the staged Parquet."""
    name = postgres_type(column)
    base = name.partition("(")[0]
    if base in ("numeric", "decimal"):
        return "DECIMAL" + name[len(base) :]
    return {
        "smallint": "SMALLINT",
        "integer": "INTEGER",
        "int": "INTEGER",
        "bigint": "BIGINT",
        "real": "FLOAT",
        "double precision": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "time": "TIME",
        "timestamp": "TIMESTAMP",
        "timestamp without time zone": "TIMESTAMP",
        "timestamptz": "TIMESTAMPTZ",
        "timestamp with time zone": "TIMESTAMPTZ",
    }.get(base, "VARCHAR")


@dataclass(frozen=True)
class Test:
    """A rule of a column: the condition under which a row breaks it, and what to say then."""

    rule: str
    broken: str
    message: str


def is_text(column: Column) -> bool:
    """Whether blanks around a value belong to it."""
    return column.logical_type == "string"


def value(column: Column, t: str) -> str:
    """Return the expression that makes the column's value of text `t`, NULL where that can't be done."""
    kind, target = column.logical_type, duckdb_type(column)
    if kind == "string" or kind in ("object", "array"):
        return t
    if kind == "boolean":
        return f"CASE WHEN lower({t}) IN {_list(_TRUE)} THEN true WHEN lower({t}) IN {_list(_FALSE)} THEN false END"
    if column.format and kind in ("date", "timestamp"):
        parsed = f"try_strptime({t}, {literal(strptime_format(column.format))})"
        if kind == "timestamp" and target == "TIMESTAMPTZ":
            parsed = f"timezone({literal(column.default_timezone)}, {parsed}::TIMESTAMP)"
        return f"TRY_CAST({parsed} AS {target})"
    if kind == "date":
        return f"TRY_CAST(left({t}, 10) AS DATE)"
    if kind == "timestamp":
        return _timestamp(column, t, target)
    return f"TRY_CAST({t} AS {target})"


def _timestamp(column: Column, t: str, target: str) -> str:
    """A time with an offset is that instant; one without is local time of the contract's zone."""
    zone, offset = literal(column.default_timezone), f"regexp_matches({t}, {literal(_OFFSET + '$')})"
    local, instant = f"TRY_CAST({t} AS TIMESTAMP)", f"TRY_CAST({t} AS TIMESTAMPTZ)"
    # A date's own "-05" must not look like an offset.
    offset = f"(length({t}) > 16 AND {offset})"
    if target == "TIMESTAMPTZ":
        return f"CASE WHEN {offset} THEN {instant} ELSE timezone({zone}, {local}) END"
    return f"CASE WHEN {offset} THEN timezone({zone}, {instant}) ELSE {local} END"


def tests(column: Column, t: str, v: str) -> list[Test]:
    """Return the rules of a column in the order they are tried, over its text `t` and its value `v`."""
    found = [Test("required", f"{t} IS NULL", "is missing")] if column.required else []
    return [*found, *_type_tests(column, t, v), *_bounds(column, v), *_text_tests(column, t), *_accepted(column, v)]


def _type_tests(column: Column, t: str, v: str) -> list[Test]:
    kind, target = column.logical_type, duckdb_type(column)
    if kind == "string":
        return [Test("type", f"contains({t}, chr(0))", "holds a NUL character")]
    if kind in ("object", "array"):
        return [Test("type", f"{t} IS NOT NULL AND (NOT json_valid({t}) OR contains({t}, '\\u0000'))", "is no JSON")]
    name = f"is no {kind}" + (f" of format {column.format}" if column.format else "")
    if kind == "boolean" or column.format:
        if column.format:
            form = literal(strptime_format(column.format))
            return [
                Test(
                    "type",
                    f"{t} IS NOT NULL AND ({v} IS NULL OR strftime(try_strptime({t}, {form}), {form}) <> {t})",
                    name,
                )
            ]
        return [Test("type", f"{t} IS NOT NULL AND {v} IS NULL", name)]
    form = {"integer": INTEGER, "number": NUMBER, "date": DATE, "timestamp": TIMESTAMP, "time": TIME}[kind]
    shape = f"regexp_full_match({t}, {literal(form)})"
    if kind not in ("integer", "number"):
        return [Test("type", f"{t} IS NOT NULL AND ({v} IS NULL OR NOT {shape})", name)]
    found = [
        Test("type", f"NOT {shape}", name),
        Test("range", f"{t} IS NOT NULL AND {v} IS NULL", f"does not fit into {postgres_type(column)}"),
    ]
    if target in ("DOUBLE", "FLOAT"):
        return [*found, Test("range", f"NOT isfinite({v})", f"does not fit into {postgres_type(column)}")]
    scale = re.search(r",\s*(\d+)\)", target)
    if kind == "number" and scale:
        # Floating point leaves 53.97000000000001 where 53.97 was meant: noise below 1e-12 is not a lost decimal.
        long = f"(contains(lower({t}), 'e') OR (contains({t}, '.') AND length({t}) - strpos({t}, '.') > {scale[1]}))"
        lost = f"abs(TRY_CAST({t} AS DOUBLE) - {v}::DOUBLE) > 1e-12 * greatest(1, abs({v}::DOUBLE))"
        found.append(Test("scale", f"{long} AND {lost}", f"has more than {scale[1]} decimals"))
    return found


def _bounds(column: Column, v: str) -> list[Test]:
    found = []
    for rule, bound, operator, words in (
        ("minimum", column.minimum, "<", "is below the minimum"),
        ("maximum", column.maximum, ">", "is above the maximum"),
        ("exclusiveMinimum", column.exclusive_minimum, "<=", "is not above"),
        ("exclusiveMaximum", column.exclusive_maximum, ">=", "is not below"),
    ):
        if bound is not None:
            found.append(Test(rule, f"{v} {operator} {_bound(column, bound)}", f"{words} {bound}"))
    if column.multiple_of is not None:
        found.append(Test("multipleOf", f"{v} % {column.multiple_of} <> 0", f"is no multiple of {column.multiple_of}"))
    return found


def _bound(column: Column, bound: Any) -> str:
    if column.logical_type in ("integer", "number"):
        return str(Decimal(str(bound)))
    return f"{literal(bound)}::{duckdb_type(column)}"


def _text_tests(column: Column, t: str) -> list[Test]:
    if column.logical_type != "string":
        return []
    found = []
    limit = re.match(r"(?:var)?char\((\d+)\)", column.physical_type or "")
    lengths = [length for length in (column.max_length, int(limit[1]) if limit else None) if length is not None]
    if lengths:
        found.append(Test("maxLength", f"length({t}) > {min(lengths)}", f"is longer than {min(lengths)} characters"))
    if column.min_length:
        found.append(
            Test("minLength", f"length({t}) < {column.min_length}", f"is shorter than {column.min_length} characters")
        )
    if column.pattern:
        found.append(
            Test("pattern", f"NOT regexp_matches({t}, {literal(column.pattern)})", f"does not match {column.pattern}")
        )
    if column.format or column.physical_type == "uuid":
        name = column.format or "uuid"
        form = {"email": EMAIL, "uuid": UUID}[name]
        found.append(Test("format", f"NOT regexp_full_match({t}, {literal(form)})", f"is no {name}"))
    return found


def _accepted(column: Column, v: str) -> list[Test]:
    if not column.accepted:
        return []
    target = duckdb_type(column)
    values = ", ".join(f"{literal(item)}::{target}" for item in column.accepted)
    words = ", ".join(str(item) for item in column.accepted[:12]) + (", …" if len(column.accepted) > 12 else "")
    return [Test("accepted", f"{v} NOT IN ({values})", f"is not one of {words}")]


def strptime_format(jdk: str) -> str:
    """Return a JDK date format as strptime directives: `dd.MM.yyyy` → `%d.%m.%Y`."""
    return re.sub(
        r"'([^']*)'|(([a-zA-Z])\3*)",
        lambda found: found[1] if found[1] is not None else _JDK.get(found[2], found[2]),
        jdk,
    )


def _list(values: tuple[str, ...]) -> str:
    return "(" + ", ".join(literal(item) for item in values) + ")"
