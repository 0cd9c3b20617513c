"""Checks that are compared with the run before: what was measured then, and how far it has moved since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import psycopg

from data_quality.checks.model import Check

_HAS_VALUES = """
SELECT EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('audit.check_results') AND attname = 'value'
) AS there
"""
_LAST_PASSED = """
SELECT DISTINCT ON (dataset, check_name) dataset, check_name, value::text AS value FROM audit.check_results
WHERE status = 'passed' AND value IS NOT NULL
AND (dataset, check_name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
ORDER BY dataset, check_name, checked_at DESC
"""


def previous_values(
    connection: psycopg.Connection[dict[str, Any]], checks: Iterable[Check]
) -> Mapping[tuple[str, str], Decimal]:
    """Return what the last passed run of each compared check measured, by dataset and name.

    A run that failed is no measure for the next: what was lost stays missed until it is there again.
    """
    compared = [check for check in checks if check.compared]
    if not compared or not connection.execute(_HAS_VALUES).fetchall()[0]["there"]:
        return {}
    names = [check.dataset for check in compared], [check.name for check in compared]
    rows = connection.execute(_LAST_PASSED, names).fetchall()
    return {(row["dataset"], row["check_name"]): Decimal(row["value"]) for row in rows}


def change(value: Any, before: Decimal) -> Decimal:
    """Return by how many percent a value is above (or below: negative) what it was; anything is infinitely above 0.

    Raises:
        TypeError: the value is no number.
        ValueError: it is none that can be compared.
    """
    if not isinstance(value, int | float | Decimal):
        raise TypeError(f"{value!r} is no number")
    now = Decimal(str(value))
    if not now.is_finite():
        raise ValueError("it is not finite")
    if not before:
        return Decimal("Infinity") if now > 0 else Decimal("-Infinity") if now < 0 else Decimal(0)
    return round(100 * (now - before) / abs(before), 4)
