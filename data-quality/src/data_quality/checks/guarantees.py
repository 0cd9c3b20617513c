"""What a contract guarantees of every row, as checks of the loaded table.

Ingestion keeps these rules row by row. The checks find what came by another way, or before the contract asked for it:
values are noted (`warn`), a key that comes twice and columns that are not as declared fail (`error`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from data_quality.checks.model import Check, Severity, Threshold
from data_quality.checks.rules import Accepted, Columns, Kind, Length, NotNull, Pattern, Range, Rule, Unique
from data_quality.contract import Column, Contract
from data_quality.contract.types import postgres_type, printed_type

# Ingestion's engine and Postgres read these alike; what else begins with a backslash or `(?` may differ.
_SAME_PATTERN = re.compile(r"(?:\\[dwsDWS.^$*+?()\[\]{}|/\\-]|\(\?:|\((?!\?)|[^\\(])*")
_DIMENSIONS = {
    Kind.NOT_NULL: "completeness",
    Kind.UNIQUE: "uniqueness",
    Kind.ACCEPTED_VALUES: "conformity",
    Kind.RANGE: "conformity",
    Kind.PATTERN: "conformity",
    Kind.SCHEMA: "conformity",
}


def guarantees(contract: Contract, schema: str, asked: Iterable[Check]) -> list[Check]:
    """Return the checks of what a contract guarantees, but for what its own rules already ask.

    Args:
        contract: The contract.
        schema: Where its table is.
        asked: The checks that its rules ask for.
    """
    asked = list(asked)
    names = {check.name for check in asked}
    # A rule that bears some rows is the author's word on that column.
    kinds = {(check.column, check.kind) for check in asked}
    found = []
    for suffix, columns, rule, told in _rules(contract):
        column = columns[0] if len(columns) == 1 else None
        if (column, rule.kind) in kinds:
            continue
        name = f"{'_'.join(columns) or contract.table}_{suffix}"
        found.append(
            Check(
                name=f"{name}_guaranteed" if name in names else name,
                schema=schema,
                table=contract.table,
                threshold=Threshold("mustBe", 0),
                rule=rule,
                severity=Severity.ERROR if rule.kind in (Kind.UNIQUE, Kind.SCHEMA) else Severity.WARN,
                column=column,
                dimension=_DIMENSIONS[rule.kind],
                description=told,
            )
        )
    return found


def _rules(contract: Contract) -> Iterator[tuple[str, tuple[str, ...], Rule, str]]:
    types = tuple((column.column, printed_type(postgres_type(column))) for column in contract.columns)
    others = contract.ingest.columns == "evolve"
    yield "columns", (), Columns(types, others), "The table's columns and types are the contract's."
    among = "_is_current" if contract.ingest.write == "scd2" else None
    if contract.key:
        yield "unique", contract.key, Unique(contract.key, among), "No key comes twice."
    for column in contract.columns:
        name = (column.column,)
        if column.unique and name != contract.key:
            yield "unique", name, Unique(name, among), "No value comes twice."
        if column.required:
            yield "present", name, NotNull(column.column), "The contract requires a value."
        yield from _values(column, name)


def _values(column: Column, name: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], Rule, str]]:
    bounds = (column.minimum, column.maximum, column.exclusive_minimum, column.exclusive_maximum)
    if any(bound is not None for bound in bounds):
        yield "in_range", name, Range(column.column, *bounds), "The value is within the contract's bounds."
    if column.logical_type == "string" and (column.min_length or column.max_length is not None):
        rule = Length(column.column, column.min_length, column.max_length)
        yield "length", name, rule, "The text is as long as the contract says."
    if column.pattern and _SAME_PATTERN.fullmatch(column.pattern):
        yield "pattern", name, Pattern(column.column, column.pattern), f"The text matches {column.pattern}."
    if column.accepted:
        numeric = column.logical_type in ("integer", "number")
        rule_of_list = Accepted(column.column, column.accepted, numeric)
        yield "accepted", name, rule_of_list, "The value is one of the contract's list."
