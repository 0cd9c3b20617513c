"""Rules as Postgres' SQL: what of them fits into one scan of the table, what is a query of its own, what needs neither.

Predicates are the cheapest that say the same: nulls are counted as what `count(column)` leaves out, bytes are compared
before characters are counted, numbers are compared with numbers. A rule that the catalog proves is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any
from zlib import crc32

from data_quality.checks.model import Check, quoted
from data_quality.checks.rules import (
    Accepted,
    Columns,
    ForeignKey,
    Freshness,
    Length,
    Metric,
    NotNull,
    Pattern,
    Query,
    Range,
    RowCount,
    Rule,
    Unique,
)
from data_quality.runners.catalog import NO_TABLE, Catalog, Table
from data_quality.runners.folding import condition_of


@dataclass(frozen=True)
class Join:
    """A table that a scan looks values up in: at most one row for each of its rows."""

    table: str
    """A subquery that answers each combination of values once."""
    on: str


@dataclass(frozen=True)
class Counted:
    """Rows under a condition, as part of a scan."""

    condition: str
    column: str | None = None
    """The only column that the condition reads, where it is one: rows can be counted by its values, too."""
    join: Join | None = None
    percent: bool = False
    nulls: bool = False
    """Whether the condition is that the column has no value."""


@dataclass(frozen=True)
class Newest:
    """Seconds since the newest value of a column, as part of a scan."""

    column: str


@dataclass(frozen=True)
class Aggregate:
    """Any other aggregate, as part of a scan."""

    expression: str


@dataclass(frozen=True)
class Measure:
    """How a check is measured."""

    query: str
    """By itself: a query with a single value."""
    part: Counted | Newest | Aggregate | None = None
    """Together with others, in one scan of the table. None is a query of its own."""
    failing: str | None = None
    """The query for the rows that break the rule."""
    proof: str | None = None
    """Why no row can break the rule, so that none has to be read."""


def measure(check: Check, catalog: Catalog) -> Measure:
    """Return how a check is measured on a table that the catalog describes."""
    rule, relation = check.rule, check.relation
    table = catalog.get(relation, NO_TABLE)
    if isinstance(rule, Query):
        return _query(rule, check)
    if isinstance(rule, Unique):
        return _unique(rule, check, table)
    if isinstance(rule, ForeignKey):
        return _foreign_key(rule, check, catalog)
    if isinstance(rule, Columns):
        return _columns(rule, check)
    if isinstance(rule, Freshness):
        return Measure(f"SELECT {seconds_since(quoted(rule.column))} FROM {relation}", Newest(rule.column))
    if isinstance(rule, RowCount | Metric):
        expression = "count(*)" if isinstance(rule, RowCount) else rule.expression
        failing = rule.failing if isinstance(rule, Metric) else None
        if check.percent:
            expression = percent(expression, "count(*)")
        return Measure(f"SELECT {expression} FROM {relation}", Aggregate(expression), failing)
    nulls = isinstance(rule, NotNull) and not rule.words
    proof = f"the column {rule.column} is NOT NULL" if nulls and rule.column in table.not_null else None
    return _counting(check, Counted(_condition(rule), rule.column, percent=check.percent, nulls=nulls), proof)


def seconds_since(column: str) -> str:
    """Return the aggregate of the seconds since a column's newest value."""
    return f"extract(epoch FROM now() - max({column}))::bigint"


def percent(counted: str, total: str) -> str:
    """Return the share, from 0 to 100, of a number in a total; nothing has no share of anything."""
    return f"coalesce(round(100.0 * ({counted}) / nullif({total}, 0), 4), 0)"


def _counting(check: Check, part: Counted, proof: str | None = None) -> Measure:
    counted = f"count(*) FILTER (WHERE {part.condition})"
    query = f"SELECT {percent(counted, 'count(*)') if part.percent else counted} FROM {check.relation}"
    return Measure(query, part, f"SELECT * FROM {check.relation} WHERE {part.condition}", proof)


def _condition(rule: Rule) -> str:
    """Return the condition that a row meets which breaks a rule on a column's value."""
    if isinstance(rule, NotNull):
        column = quoted(rule.column)
        if not rule.words:
            return f"{column} IS NULL"
        words = _listed(rule.words, rule.numeric)
        value = column if rule.numeric else f"{column}::text"
        return f"({column} IS NULL OR {value} IN ({words}))"
    if isinstance(rule, Accepted):
        column = quoted(rule.column)
        value = column if rule.numeric else f"{column}::text"
        conditions = [f"{value} NOT IN ({_listed(rule.values, rule.numeric)})" if rule.values else "true"]
        if rule.pattern:
            conditions.append(f"{column}::text !~ {_text(rule.pattern)}")
        return f"({' OR '.join(conditions)})"
    if isinstance(rule, Pattern):
        return f"{quoted(rule.column)}::text !~ {_text(rule.pattern)}"
    if isinstance(rule, Length):
        return _length(rule)
    if isinstance(rule, Range):
        column = quoted(rule.column)
        bounds = (
            *((rule.minimum, "<"), (rule.maximum, ">")),
            *((rule.exclusive_minimum, "<="), (rule.exclusive_maximum, ">=")),
        )
        broken = [f"{column} {operator} {_literal(bound)}" for bound, operator in bounds if bound is not None]
        return f"({' OR '.join(broken) or 'false'})"
    raise TypeError(f"{type(rule).__name__} is no rule on a column's value")


def _length(rule: Length) -> str:
    """Characters are counted only where the bytes don't decide: a text has at most as many characters as bytes."""
    column = f"{quoted(rule.column)}::text"
    broken = []
    if rule.maximum is not None:
        broken.append(f"octet_length({column}) > {rule.maximum} AND length({column}) > {rule.maximum}")
    if rule.minimum == 1:
        broken.append(f"{column} = ''")
    elif rule.minimum:
        broken.append(f"length({column}) < {rule.minimum}")
    return f"({' OR '.join(broken) or 'false'})"


def _unique(rule: Unique, check: Check, table: Table) -> Measure:
    columns = [quoted(name) for name in rule.columns]
    names = ", ".join(columns)
    present = [name for name, column in zip(columns, rule.columns, strict=True) if column not in table.not_null]
    conditions = [*(f"{name} IS NOT NULL" for name in present), *([quoted(rule.among)] if rule.among else [])]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    failing = f"SELECT {names}, count(*) FROM {check.relation}{where} GROUP BY {names} HAVING count(*) > 1"
    # Hashing in parallel: count(DISTINCT …) would sort all rows, in one process.
    grouped = f"SELECT count(*) AS rows FROM {check.relation}{where} GROUP BY {names} HAVING count(*) > 1"
    counted = f"(SELECT coalesce(sum(rows - 1), 0)::bigint FROM ({grouped}) AS repeated)"
    if check.percent:
        counted = percent(counted, f"(SELECT count(*) FROM {check.relation})")
    index = table.unique_index(rule.columns, rule.among)
    proof = f"the unique index {index} lets no value in twice" if index else None
    return Measure(f"SELECT {counted}", failing=failing, proof=proof)


def _foreign_key(rule: ForeignKey, check: Check, catalog: Catalog) -> Measure:
    """Measured in the scan by a join: a hash join stays fast where a subquery for each row would not."""
    other = f"{quoted(rule.to_schema)}.{quoted(rule.to_table)}"
    keys = [quoted(name) for name in rule.to_columns]
    columns = [quoted(name) for name in rule.columns]
    alias = f"known_{crc32(check.name.encode()):x}"  # one of its own: a table may have several foreign keys
    aliases = [f"{alias}_{number}" for number in range(len(keys))]
    proven = catalog.get(other, NO_TABLE).unique_index(rule.to_columns)
    known = ", ".join(f"{key} AS {name}" for key, name in zip(keys, aliases, strict=True))
    table = f"(SELECT {'' if proven else 'DISTINCT '}{known} FROM {other}) AS {alias}"
    on = " AND ".join(f"{name} = {column}" for name, column in zip(aliases, columns, strict=True))
    present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    part = Counted(
        f"{present} AND {aliases[0]} IS NULL",
        rule.columns[0] if len(columns) == 1 else None,
        Join(table, on),
        check.percent,
    )
    same = " AND ".join(f"known.{key} = checked.{column}" for key, column in zip(keys, columns, strict=True))
    condition = f"{present} AND NOT EXISTS (SELECT FROM {other} AS known WHERE {same})"
    alone = f"count(*) FILTER (WHERE {condition})"
    return Measure(
        f"SELECT {percent(alone, 'count(*)')} FROM {check.relation} AS checked"
        if check.percent
        else f"SELECT count(*) FROM {check.relation} AS checked WHERE {condition}",
        part,
        f"SELECT * FROM {check.relation} AS checked WHERE {condition}",
    )


def _columns(rule: Columns, check: Check) -> Measure:
    expected = ", ".join(f"({_text(name)}, {_text(kind)})" for name, kind in rule.types)
    others = "" if rule.others else " OR (expected.type IS NULL AND found.name NOT LIKE '\\_%')"
    failing = (
        "SELECT coalesce(expected.name, found.name) AS column, expected.type AS expected, found.type AS found "
        f"FROM (VALUES {expected}) AS expected (name, type) FULL JOIN ("
        "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        f"WHERE attrelid = {_text(check.relation)}::regclass AND attnum > 0 AND NOT attisdropped) AS found "
        f"USING (name) WHERE expected.type <> coalesce(found.type, ''){others}"
    )
    return Measure(f"SELECT count(*) FROM ({failing}) AS failing", failing=failing)


def _query(rule: Query, check: Check) -> Measure:
    condition = condition_of(rule.sql, check.schema, check.table)
    if condition is None:
        return Measure(rule.sql, failing=rule.failing)
    shared = _counting(check, Counted(condition, percent=check.percent))
    return replace(shared, query=shared.query if check.percent else rule.sql, failing=rule.failing or shared.failing)


def _listed(values: tuple[Any, ...], numeric: bool) -> str:
    return ", ".join(_literal(value) if numeric else _text(value) for value in values)


def _literal(value: Any) -> str:
    """Return a bound: numbers as they are, for Postgres to compare as the column's type, the rest as text."""
    if isinstance(value, bool):
        return _text(value)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return _text(value)
    return f"{number:f}" if number.is_finite() else _text(value)


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"
