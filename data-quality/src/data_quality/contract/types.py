"""The types that a contract's columns have in the warehouse."""

from __future__ import annotations

from data_quality.contract.model import Column

_PRINTED = {
    "varchar": "character varying",
    "char": "character",
    "int": "integer",
    "decimal": "numeric",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}


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


def printed_type(name: str) -> str:
    """Return a type's name as Postgres prints it."""
    base, bracket, rest = name.partition("(")
    base = _PRINTED.get(base, base)
    if base == "numeric" and "," not in rest and bracket:
        rest = rest.replace(")", ",0)")
    if base == "character" and not bracket:
        return "character(1)"
    return base + bracket + rest.replace(" ", "")
