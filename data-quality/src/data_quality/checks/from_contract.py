"""The checks that a data contract asks for: its quality rules, of kind library and sql, and its freshness."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from data_quality.checks.model import Check, Severity, Threshold, quoted
from data_quality.contract import Contract, QualityRule

SEVERITIES = {
    "info": Severity.WARN,
    "warning": Severity.WARN,
    "warn": Severity.WARN,
    "error": Severity.ERROR,
    "critical": Severity.CRITICAL,
}
NUMERIC = ("integer", "number")
DEFAULT_THRESHOLD = Threshold("mustBe", 0)


def checks_from_contract(contract: Contract, schema: str = "staging") -> list[Check]:
    """Return the checks of a contract on its table in the given schema, in the contract's order."""
    checks = [_rule_check(rule, contract, schema) for rule in contract.quality]
    if contract.freshness:
        checks.append(_freshness_check(contract, schema))
    return checks


def _rule_check(rule: QualityRule, contract: Contract, schema: str) -> Check:
    threshold = Threshold(rule.operator, rule.threshold) if rule.operator else DEFAULT_THRESHOLD
    expression = failing = None
    if rule.type == "library":
        expression, failing = _library_metric(rule, contract, schema)
    return Check(
        name=rule.name,
        schema=schema,
        table=contract.table,
        threshold=threshold,
        severity=SEVERITIES.get(rule.severity, Severity.ERROR),
        column=rule.column,
        dimension=rule.dimension,
        description=rule.description,
        expression=expression,
        query=rule.sql(schema, contract.table) if rule.type == "sql" else None,
        failing=failing,
    )


def _library_metric(rule: QualityRule, contract: Contract, schema: str) -> tuple[str, str | None]:
    """Return the aggregate that measures a metric of ODCS's library, and the query for the rows it counts."""
    table = f"{quoted(schema)}.{quoted(contract.table)}"
    column = quoted(rule.column) if rule.column else ""
    if rule.metric == "rowCount":
        return "count(*)", None
    if rule.metric == "duplicateValues":
        warehouse_name = {column.name: column.column for column in contract.columns}
        given = [warehouse_name.get(name, name) for name in rule.arguments.get("properties", contract.key)]
        names = [rule.column] if rule.column else given
        columns = ", ".join(map(quoted, names))
        # Rows beyond the first of each value, rows without a value left out, and in a history all but the current ones.
        history = ["_is_current"] if contract.ingest.write == "scd2" else []
        present = " AND ".join([*(f"{quoted(name)} IS NOT NULL" for name in names), *history])
        value = column if rule.column else f"({columns})"
        counted = f"count(*) FILTER (WHERE {present}) - count(DISTINCT {value}) FILTER (WHERE {present})"
        failing = f"SELECT {columns}, count(*) FROM {table} WHERE {present} GROUP BY {columns} HAVING count(*) > 1"
        return _in_unit(counted, rule), failing
    numeric = any(item.column == rule.column and item.logical_type in NUMERIC for item in contract.columns)
    condition = _failing_condition(rule, column if numeric else f"{column}::text", column, numeric)
    return _in_unit(f"count(*) FILTER (WHERE {condition})", rule), f"SELECT * FROM {table} WHERE {condition}"


def _failing_condition(rule: QualityRule, value: str, column: str, numeric: bool) -> str:
    """Return the condition that a counted row meets. `value` is the column as listed values are compared with it."""
    if rule.metric == "nullValues":
        return f"{column} IS NULL"
    if rule.metric == "missingValues":
        # What a number column's type can't hold, such as N/A, is not in it.
        missing = [item for item in rule.arguments.get("missingValues", []) if item is not None]
        words = ", ".join(_literal(item, numeric) for item in missing if not numeric or _is_number(item))
        return f"({column} IS NULL OR {value} IN ({words}))" if words else f"{column} IS NULL"
    conditions = []
    if "validValues" in rule.arguments:
        words = ", ".join(_literal(item, numeric) for item in rule.arguments["validValues"])
        conditions.append(f"{value} NOT IN ({words})")
    if "pattern" in rule.arguments:
        conditions.append(f"{column}::text !~ {_literal(rule.arguments['pattern'], False)}")
    return f"({' OR '.join(conditions)})" if conditions else "false"


def _in_unit(counted: str, rule: QualityRule) -> str:
    if rule.unit == "percent":
        return f"coalesce(round(100.0 * ({counted}) / nullif(count(*), 0), 4), 0)"
    return counted


def _freshness_check(contract: Contract, schema: str) -> Check:
    freshness = contract.freshness
    assert freshness is not None  # noqa: S101 - the caller looked
    return Check(
        name=f"{contract.table}_freshness",
        schema=schema,
        table=contract.table,
        threshold=Threshold("mustBeLessOrEqualTo", freshness.seconds),
        severity=Severity.WARN,
        column=freshness.column,
        dimension="timeliness",
        description="Seconds since the newest row.",
        expression=f"extract(epoch FROM now() - max({quoted(freshness.column)}))::bigint",
    )


def _literal(value: object, numeric: bool) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # Postgres reads the text as a number where it is compared with one: 1.5 then equals 1.50.
    return "'" + text.replace("'", "''") + "'" + ("::numeric" if numeric else "")


def _is_number(value: object) -> bool:
    try:
        Decimal(str(value))
    except InvalidOperation:
        return False
    return True
