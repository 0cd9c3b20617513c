"""The checks that a data contract asks for: its quality rules, its freshness, and what it guarantees of columns."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from data_quality.checks.guarantees import guarantees
from data_quality.checks.model import Check, Severity, Threshold
from data_quality.checks.rules import (
    Accepted,
    ForeignKey,
    Freshness,
    Metric,
    NotNull,
    Pattern,
    Query,
    RowCount,
    Rule,
    Unique,
)
from data_quality.contract import Contract, QualityRule, Reference

SEVERITIES = {
    "info": Severity.WARN,
    "warning": Severity.WARN,
    "warn": Severity.WARN,
    "error": Severity.ERROR,
    "critical": Severity.CRITICAL,
}
NUMERIC = ("integer", "number")
NONE = Threshold("mustBe", 0)
NO_OTHERS: Mapping[str, Contract] = {}


def checks_from_contract(
    contract: Contract, schema: str = "staging", *, others: Mapping[str, Contract] = NO_OTHERS
) -> list[Check]:
    """Return the checks of a contract on its table in the given schema: rules in the contract's order, then the rest.

    Args:
        contract: The contract.
        schema: Where its table is, and those of the datasets that it refers to.
        others: The contracts by dataset, for the tables that relationships lead to. One that isn't there is taken to
            have its table under its own name.
    """
    checks = [_rule_check(rule, contract, schema) for rule in contract.quality]
    checks += [_reference_check(reference, contract, schema, others) for reference in contract.references]
    if contract.freshness:
        checks.append(_freshness_check(contract, schema))
    return [*checks, *guarantees(contract, schema, checks)]


def _rule_check(rule: QualityRule, contract: Contract, schema: str) -> Check:
    return Check(
        name=rule.name,
        schema=schema,
        table=contract.table,
        threshold=Threshold(rule.operator, rule.threshold) if rule.operator else NONE,
        rule=_library_rule(rule, contract) if rule.type == "library" else Query(rule.sql(schema, contract.table)),
        severity=SEVERITIES.get(rule.severity, Severity.ERROR),
        column=rule.column,
        dimension=rule.dimension,
        description=rule.description,
        percent=rule.unit == "percent",
        compared=rule.compared,
    )


def _library_rule(rule: QualityRule, contract: Contract) -> Rule:
    """Return what a metric of ODCS's library asks."""
    if rule.metric == "rowCount":
        return RowCount()
    if rule.metric == "duplicateValues":
        given = [warehouse_name(contract, name) for name in rule.arguments.get("properties", contract.key)]
        # In a history all but the current rows are left out.
        among = "_is_current" if contract.ingest.write == "scd2" else None
        return Unique((rule.column,) if rule.column else tuple(given), among)
    column = rule.column or ""
    numeric = any(item.column == column and item.logical_type in NUMERIC for item in contract.columns)
    if rule.metric == "nullValues":
        return NotNull(column)
    if rule.metric == "missingValues":
        # What a number column's type can't hold, such as N/A, is not in it.
        words = [item for item in rule.arguments.get("missingValues", []) if item is not None]
        return NotNull(column, tuple(item for item in words if not numeric or _is_number(item)), numeric)
    pattern = rule.arguments.get("pattern")
    if "validValues" in rule.arguments:
        return Accepted(column, tuple(rule.arguments["validValues"]), numeric, pattern)
    return Pattern(column, pattern) if pattern else Metric("count(*) FILTER (WHERE false)")


def _reference_check(reference: Reference, contract: Contract, schema: str, others: Mapping[str, Contract]) -> Check:
    other = others.get(reference.to_dataset)
    to_columns = [warehouse_name(other, name) if other else name for name in reference.to_columns]
    return Check(
        name=reference.name,
        schema=schema,
        table=contract.table,
        threshold=NONE,
        rule=ForeignKey(reference.columns, schema, other.table if other else reference.to_dataset, tuple(to_columns)),
        severity=SEVERITIES[reference.severity],
        column=reference.columns[0] if len(reference.columns) == 1 else None,
        dimension="consistency",
        description=f"Every {', '.join(reference.columns)} is one of {reference.to_dataset}.",
    )


def _freshness_check(contract: Contract, schema: str) -> Check:
    freshness = contract.freshness
    assert freshness is not None  # noqa: S101 - the caller looked
    return Check(
        name=f"{contract.table}_freshness",
        schema=schema,
        table=contract.table,
        threshold=Threshold("mustBeLessOrEqualTo", freshness.seconds),
        rule=Freshness(freshness.column),
        severity=Severity.WARN,
        column=freshness.column,
        dimension="timeliness",
        description="Seconds since the newest row.",
    )


def warehouse_name(contract: Contract, name: str) -> str:
    """Return how the warehouse calls a column that files call `name`."""
    return next((column.column for column in contract.columns if column.name == name), name)


def _is_number(value: Any) -> bool:
    try:
        Decimal(str(value))
    except InvalidOperation:
        return False
    return True
