"""Types: how a contract's column is called in DuckDB and Postgres, and how text becomes a value of it.

No fuzzy casting: '2026-02-30', '17.5' for an integer and 'NaN' are refused, '17850.0' is the integer 17850.
Expressions are trees (pipelines.ingestion.expressions) over a column's text `t` and its value `v`, of no engine's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlglot import exp

from data_quality.contract import Column
from data_quality.contract.types import postgres_type as postgres_type
from pipelines.ingestion.expressions import Expression, expression

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
    broken: Expression
    message: str
    looks_for_nul: bool = False


def is_text(column: Column) -> bool:
    """Whether blanks around a value belong to it."""
    return column.logical_type == "string"


def value(column: Column, t: Expression) -> Expression:
    """Return the expression that makes the column's value of text `t`, NULL where that can't be done."""
    kind, target = column.logical_type, duckdb_type(column)
    if kind in ("string", "object", "array"):
        return t
    if kind == "boolean":
        template = f"CASE WHEN lower(:t) IN {_TRUE} THEN true WHEN lower(:t) IN {_FALSE} THEN false END"
        return expression(template, t=t)
    if column.format and kind in ("date", "timestamp"):
        parsed = expression("try_strptime(:t, :form)", t=t, form=strptime_format(column.format))
        if kind == "timestamp" and target == "TIMESTAMPTZ":
            parsed = expression("timezone(:zone, CAST(:p AS TIMESTAMP))", zone=column.default_timezone, p=parsed)
        return expression(f"TRY_CAST(:p AS {target})", p=parsed)
    if kind == "date":
        return expression("TRY_CAST(left(:t, 10) AS DATE)", t=t)
    if kind == "timestamp":
        return _timestamp(column, t, target)
    return expression(f"TRY_CAST(:t AS {target})", t=t)


def _timestamp(column: Column, t: Expression, target: str) -> Expression:
    """A time with an offset is that instant; one without is local time of the contract's zone."""
    local, instant = "TRY_CAST(:t AS TIMESTAMP)", "TRY_CAST(:t AS TIMESTAMPTZ)"
    if target == "TIMESTAMPTZ":
        local = f"timezone(:zone, {local})"
    else:
        instant = f"timezone(:zone, {instant})"
    # A date's own "-05" must not look like an offset.
    template = (
        f"CASE WHEN :t LIKE '%Z' THEN {instant} "
        f"WHEN length(:t) > 16 AND regexp_matches(:t, :offset) THEN {instant} ELSE {local} END"
    )
    return expression(template, t=t, zone=column.default_timezone, offset=_OFFSET + "$")


def plain(column: Column, t: Expression, v: Expression) -> Expression | None:
    """Return whether a text is missing or is how its value prints, so that no test of its spelling is needed.

    To see that costs less than any of those tests. None where values print in another way than people write them.
    """
    if column.format or column.logical_type not in ("integer", "number", "date"):
        return None
    if duckdb_type(column) in ("DOUBLE", "FLOAT"):
        return None
    printed = "CAST(:v AS TEXT) = :t" if column.logical_type != "date" else "length(:t) = 10 AND CAST(:v AS TEXT) = :t"
    return expression(f"coalesce({printed}, :t IS NULL)", t=t, v=v)


def tests(column: Column, t: Expression, v: Expression, p: Expression) -> list[Test]:
    """Return the rules of a column in the order they are tried, over its text `t`, its value `v`, and `p`: `plain`."""
    found = (
        [Test("required", expression(":t IS NULL", t=t), "is missing")] if column.required or column.primary_key else []
    )
    return [*found, *_type_tests(column, t, v, p), *_bounds(column, v), *_text_tests(column, t), *_accepted(column, v)]


def _type_tests(column: Column, t: Expression, v: Expression, p: Expression) -> list[Test]:
    kind = column.logical_type
    if kind == "string":
        return [Test("type", expression("contains(:t, chr(0))", t=t), "holds a NUL character", True)]
    if kind in ("object", "array"):
        template = "CASE WHEN :t IS NULL THEN false ELSE NOT json_valid(:t) OR contains(:t, :nul) END"
        return [Test("type", expression(template, t=t, nul="\\u0000"), "is no JSON")]
    name = f"is no {kind}" + (f" of format {column.format}" if column.format else "")
    if column.format:
        template = "CASE WHEN :t IS NULL THEN false WHEN :v IS NULL THEN true ELSE {} END"
        again = "strftime(try_strptime(:t, :form), :form) <> :t"
        broken = expression(template.format(again), t=t, v=v, form=strptime_format(column.format))
        return [Test("type", broken, name)]
    if kind == "boolean":
        return [Test("type", expression(":t IS NOT NULL AND :v IS NULL", t=t, v=v), name)]
    form = {"integer": INTEGER, "number": NUMBER, "date": DATE, "timestamp": TIMESTAMP, "time": TIME}[kind]
    spelt = p if plain(column, t, v) is not None else expression(":t IS NULL", t=t)
    if kind not in ("integer", "number"):
        template = "CASE WHEN :spelt THEN false WHEN :v IS NULL THEN true ELSE NOT regexp_full_match(:t, :form) END"
        return [Test("type", expression(template, spelt=spelt, t=t, v=v, form=form), name)]
    return _number_tests(column, t, v, spelt, form, name)


def _number_tests(column: Column, t: Expression, v: Expression, spelt: Expression, form: str, name: str) -> list[Test]:
    target, misfit = duckdb_type(column), f"does not fit into {postgres_type(column)}"
    odd = "CASE WHEN :spelt THEN false ELSE {} END"
    broken = expression(odd.format("NOT regexp_full_match(:t, :form)"), spelt=spelt, t=t, form=form)
    found = [Test("type", broken, name)]
    found.append(Test("range", expression(odd.format(":v IS NULL"), spelt=spelt, v=v), misfit))
    if target in ("DOUBLE", "FLOAT"):
        return [*found, Test("range", expression("NOT isfinite(:v)", v=v), misfit)]
    scale = re.search(r",\s*(\d+)\)", target)
    if column.logical_type == "number" and scale:
        # Floating point leaves 53.97000000000001 where 53.97 was meant: below 1e-12, in a text as long as a double's
        # can be, that is noise and no lost decimal.
        lost = (
            "(contains(lower(:t), 'e') OR (contains(:t, '.') AND length(:t) - strpos(:t, '.') > :scale)) AND "
            "TRY_CAST(:t AS DOUBLE) <> CAST(:v AS DOUBLE) AND "
            "NOT (length(regexp_replace(:t, '[^0-9]', '', 'g')) >= 16 AND "
            "abs(TRY_CAST(:t AS DOUBLE) - CAST(:v AS DOUBLE)) <= 1e-12 * greatest(1, abs(CAST(:v AS DOUBLE))))"
        )
        broken = expression(odd.format(lost), spelt=spelt, t=t, v=v, scale=int(scale[1]))
        found.append(Test("scale", broken, f"has more than {scale[1]} decimals"))
    return found


def _bounds(column: Column, v: Expression) -> list[Test]:
    found = []
    for rule, bound, operator, words in (
        ("minimum", column.minimum, "<", "is below the minimum"),
        ("maximum", column.maximum, ">", "is above the maximum"),
        ("exclusiveMinimum", column.exclusive_minimum, "<=", "is not above"),
        ("exclusiveMaximum", column.exclusive_maximum, ">=", "is not below"),
    ):
        if bound is not None:
            broken = expression(f":v {operator} :bound", v=v, bound=_bound(column, bound))
            found.append(Test(rule, broken, f"{words} {bound}"))
    if column.multiple_of is not None:
        broken = expression(":v % :step <> 0", v=v, step=expression(str(Decimal(str(column.multiple_of)))))
        found.append(Test("multipleOf", broken, f"is no multiple of {column.multiple_of}"))
    return found


def _bound(column: Column, bound: Any) -> Expression:
    if column.logical_type in ("integer", "number"):
        return expression(f"{Decimal(str(bound)):f}")
    return expression(f"CAST(:bound AS {duckdb_type(column)})", bound=str(bound))


def _text_tests(column: Column, t: Expression) -> list[Test]:
    if column.logical_type != "string":
        return []
    found = []
    limit = re.match(r"(?:var)?char\((\d+)\)", column.physical_type or "")
    lengths = [length for length in (column.max_length, int(limit[1]) if limit else None) if length is not None]
    if lengths:
        most = min(lengths)
        broken = expression("length(:t) > :most", t=t, most=most)
        found.append(Test("maxLength", broken, f"is longer than {most} characters"))
    if column.min_length:
        broken = expression("length(:t) < :least", t=t, least=column.min_length)
        found.append(Test("minLength", broken, f"is shorter than {column.min_length} characters"))
    if column.pattern:
        broken = expression("NOT regexp_matches(:t, :form)", t=t, form=column.pattern)
        found.append(Test("pattern", broken, f"does not match {column.pattern}"))
    if column.format or column.physical_type == "uuid":
        name = column.format or "uuid"
        broken = expression("NOT regexp_full_match(:t, :form)", t=t, form={"email": EMAIL, "uuid": UUID}[name])
        found.append(Test("format", broken, f"is no {name}"))
    return found


def _accepted(column: Column, v: Expression) -> list[Test]:
    if not column.accepted:
        return []
    target = duckdb_type(column)
    known = [expression(f"CAST(:item AS {target})", item=str(item)) for item in column.accepted]
    words = ", ".join(str(item) for item in column.accepted[:12]) + (", …" if len(column.accepted) > 12 else "")
    return [Test("accepted", exp.not_(v.isin(*known)), f"is not one of {words}")]


def strptime_format(jdk: str) -> str:
    """Return a JDK date format as strptime directives: `dd.MM.yyyy` → `%d.%m.%Y`."""
    return re.sub(
        r"'([^']*)'|(([a-zA-Z])\3*)",
        lambda found: found[1] if found[1] is not None else _JDK.get(found[2], found[2]),
        jdk,
    )
