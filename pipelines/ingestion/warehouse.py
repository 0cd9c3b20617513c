"""The dataset's table in the warehouse, as its contract has it. What puts rows into it is `loading`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from data_quality.contract import Contract
from data_quality.contract.types import postgres_type, printed_type

SCHEMA = "staging"
HISTORY = {"_valid_from": "timestamptz", "_valid_to": "timestamptz", "_is_current": "boolean"}  # of write mode scd2

Connection = psycopg.Connection[Any]


class TableMismatch(Exception):
    """The warehouse's table is not as the contract says, and can't be made so without losing data."""


def table_name(contract: Contract) -> sql.Identifier:
    """Return the dataset's table."""
    return sql.Identifier(SCHEMA, contract.table)


def ensure_table(connection: Connection, contract: Contract) -> None:
    """Make the dataset's table, or add the columns a newer contract has.

    Raises:
        TableMismatch: a column has another type, or a new key column can't be added.
    """
    existing = columns_of(connection, contract)
    if not existing:
        _create_table(connection, contract)
        return
    for column in contract.columns:
        if column.column not in existing:
            if column.primary_key:
                raise TableMismatch(f"{SCHEMA}.{contract.table} has no key column {column.column}: rebuild the table")
            statement = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            kind = _type(postgres_type(column))
            connection.execute(statement.format(table_name(contract), sql.Identifier(column.column), kind))
        elif existing[column.column] != printed_type(postgres_type(column)):
            raise TableMismatch(
                f"{SCHEMA}.{contract.table}.{column.column} is {existing[column.column]}, "
                f"its contract says {postgres_type(column)}: migrate the table or change the contract"
            )

    if contract.ingest.write == "scd2" and not HISTORY.keys() <= existing.keys():
        raise TableMismatch(
            f"{SCHEMA}.{contract.table} has no {', '.join(HISTORY)}: it was made for another write mode, rebuild it"
        )


def columns_of(connection: Connection, contract: Contract) -> dict[str, str]:
    """Return the table's columns and their types as Postgres prints them; nothing where there is no table."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f'"{SCHEMA}"."{contract.table.replace(chr(34), chr(34) * 2)}"'],
    ).fetchall()
    return dict(rows)


def add_columns(connection: Connection, contract: Contract, names: Iterable[str]) -> None:
    """Add columns of text that files brought along and the contract does not know (`columns: evolve`)."""
    existing = columns_of(connection, contract)
    for name in names:
        if name not in existing:
            statement = sql.SQL("ALTER TABLE {} ADD COLUMN {} text")
            connection.execute(statement.format(table_name(contract), sql.Identifier(name)))


def _type(name: str) -> sql.SQL:
    return sql.SQL(name)  # the contract admits a closed list of types only


def _create_table(connection: Connection, contract: Contract) -> None:
    parts: list[sql.Composable] = []
    for column in contract.columns:
        kind = postgres_type(column)
        collate = ' COLLATE "C"' if column.primary_key and kind.startswith(("text", "varchar", "char")) else ""
        null = " NOT NULL" if column.primary_key else ""
        parts.append(sql.SQL("{} {}").format(sql.Identifier(column.column), _type(kind + collate + null)))
    parts.append(sql.SQL("_file_id bigint NOT NULL"))
    parts.append(sql.SQL("_loaded_at timestamptz NOT NULL DEFAULT now()"))
    parts.append(sql.SQL("_rescued jsonb"))
    history = contract.ingest.write == "scd2"
    if history:
        parts.append(sql.SQL("_valid_from timestamptz NOT NULL"))
        parts.append(sql.SQL("_valid_to timestamptz"))
        parts.append(sql.SQL("_is_current boolean NOT NULL"))
    if contract.key:
        keys = [*contract.key, *(["_valid_from"] if history else [])]
        parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, keys))))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table_name(contract), sql.SQL(", ").join(parts)))
    if history:
        index = sql.SQL("CREATE UNIQUE INDEX ON {} ({}) WHERE _is_current")
        keys_only = sql.SQL(", ").join(map(sql.Identifier, contract.key))
        connection.execute(index.format(table_name(contract), keys_only))
    if contract.description:
        comment = sql.SQL("COMMENT ON TABLE {} IS {}")
        connection.execute(comment.format(table_name(contract), sql.Literal(contract.description)))
