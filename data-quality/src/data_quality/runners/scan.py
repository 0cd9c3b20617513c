"""One scan of a table for all that is counted of it.

Where columns with few values carry rules, rows are counted by those values first: a pattern, a list or a look-up in
another table is then tried on each value once instead of on each row. Postgres' statistics say which columns those
are; they decide how fast the answer comes, never what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data_quality.checks.model import quoted
from data_quality.runners.catalog import NO_TABLE, Table
from data_quality.runners.measures import Aggregate, Counted, Join, Newest, percent, seconds_since

Part = Counted | Newest | Aggregate
_WORTHWHILE_ROWS = 100_000
_ROWS_A_GROUP = 50
_MOST_GROUPS = 50_000
"""What is counted by group stays small beside the rows, and in memory."""
_COST_OF_GROUPS, _COST_OF_ANOTHER = 1.0, 0.5
"""What it takes for each row to find its group, and to do so by one more column, in tenths of a microsecond."""


def scan(relation: str, parts: Sequence[Part], table: Table = NO_TABLE) -> str:
    """Return the statement that measures the parts, in their order, in one scan of the table."""
    columns = _group_columns(parts, table)
    return _by_group(relation, parts, columns) if columns else _by_row(relation, parts)


def _group_columns(parts: Sequence[Part], table: Table) -> list[str]:
    """Return the columns to count by: few values together, and rules that need more than a glance at each."""
    if table.rows < _WORTHWHILE_ROWS or any(isinstance(part, Aggregate) and not _is_count(part) for part in parts):
        return []
    costly: dict[str, float] = {}
    for part in parts:
        if isinstance(part, Counted) and part.column and part.column in table.distinct:
            costly[part.column] = costly.get(part.column, 0) + _cost(part)
    most, groups = min(table.rows / _ROWS_A_GROUP, _MOST_GROUPS), 1.0
    chosen: list[str] = []
    for column in sorted(costly, key=lambda column: -costly[column]):
        pays = costly[column] >= (_COST_OF_ANOTHER if chosen else _COST_OF_GROUPS)
        if pays and groups * (table.distinct[column] + 1) <= most:
            groups *= table.distinct[column] + 1
            chosen.append(column)
    return chosen


def _cost(part: Counted) -> float:
    """Return about how many tenths of a microsecond a condition takes for each row."""
    if part.join or "!~" in part.condition:
        return 2
    return 0.6 if " IN (" in part.condition else 0.2


def _is_count(part: Part) -> bool:
    return isinstance(part, Aggregate) and part.expression == "count(*)"


def _by_row(relation: str, parts: Sequence[Part]) -> str:
    columns = []
    for number, part in enumerate(parts):
        if isinstance(part, Counted):
            # Nulls are what count(column) leaves out, the cheapest test there is.
            nulls = f"count(*) - count({quoted(part.column or '')})"
            counted = nulls if part.nulls else f"count(*) FILTER (WHERE {part.condition})"
            expression = percent(counted, "count(*)") if part.percent else counted
        else:
            expression = seconds_since(quoted(part.column)) if isinstance(part, Newest) else part.expression
        columns.append(f"{expression} AS m{number}")
    return f"SELECT {', '.join(columns)} FROM {relation}{_joined(parts)}"


def _by_group(relation: str, parts: Sequence[Part], columns: Sequence[str]) -> str:
    names = ", ".join(map(quoted, columns))
    total = "coalesce(sum(checked_rows), 0)::bigint"
    inner, outer, looked_up = ["count(*) AS checked_rows"], [], []
    for number, part in enumerate(parts):
        of_group = f"checked_{number}"
        if isinstance(part, Newest):
            inner.append(f"max({quoted(part.column)}) AS {of_group}")
            expression = seconds_since(of_group)
        elif isinstance(part, Aggregate):
            expression = total
        else:
            if part.column in columns:
                looked_up.append(part)
                counted = f"coalesce(sum(checked_rows) FILTER (WHERE {part.condition}), 0)::bigint"
            else:
                nulls = f"count(*) - count({quoted(part.column or '')})"
                inner.append(f"{nulls if part.nulls else f'count(*) FILTER (WHERE {part.condition})'} AS {of_group}")
                counted = f"coalesce(sum({of_group}), 0)::bigint"
            expression = percent(counted, total) if part.percent else counted
        outer.append(f"{expression} AS m{number}")
    in_rows = [part for part in parts if part not in looked_up]
    rows = f"SELECT {names}, {', '.join(inner)} FROM {relation}{_joined(in_rows)} GROUP BY {names}"
    return f"SELECT {', '.join(outer)} FROM ({rows}) AS checked{_joined(looked_up)}"


def _joined(parts: Iterable[Part]) -> str:
    joins: list[Join] = [part.join for part in parts if isinstance(part, Counted) and part.join]
    return "".join(f" LEFT JOIN {join.table} ON {join.on}" for join in joins)
