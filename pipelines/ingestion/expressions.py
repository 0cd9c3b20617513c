"""SQL as expression trees: templates with named placeholders, parsed once, so that any engine's dialect can be written.

The templates are in DuckDB's words because sqlglot reads those; `sql(dialect=…)` of a tree writes another engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlglot
from sqlglot import exp

Expression = exp.Expr


@cache
def _parsed(template: str) -> Expression:
    return sqlglot.parse_one(template, dialect="duckdb")


def expression(template: str, **parts: Any) -> Expression:
    """Return the tree of a template: `:name` stands for an expression, or for a value that becomes a literal."""
    trees = {name: part if isinstance(part, exp.Expr) else exp.convert(part) for name, part in parts.items()}
    return exp.replace_placeholders(_parsed(template), **trees)


def name(column: str) -> Expression:
    """Return a column's name, quoted."""
    return exp.column(column, quoted=True)


def any_of(conditions: list[Expression]) -> Expression:
    """Return whether one of the conditions holds."""
    return exp.or_(*conditions)


def case(branches: Sequence[tuple[Expression, Expression | int]], default: Any) -> Expression:
    """Return the value of the first branch whose condition holds."""
    tree = exp.Case()
    for condition, value in branches:
        tree = tree.when(condition, value if isinstance(value, exp.Expr) else exp.convert(value), copy=False)
    return tree.else_(default if isinstance(default, exp.Expr) else exp.convert(default), copy=False)
