"""The warehouse's side: the dataset's table as its contract has it, and staged Parquet loaded into it.

DuckDB writes CSV into a pipe and COPY reads it: no row passes through Python. A key that is new to an empty table is
copied straight in; otherwise rows go to a temporary table and MERGE keeps the newer of each key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from data_quality.contract import Contract
from pipelines.ingestion.cleaning import RESCUED
from pipelines.ingestion.columns import literal, postgres_type, quoted
from pipelines.ingestion.engine import engine

SCHEMA = "staging"
_STAGE = sql.Identifier("pg_temp", "ingestion_stage")

_CANONICAL = {
    "varchar": "character varying",
    "char": "character",
    "int": "integer",
    "decimal": "numeric",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}

Connection = psycopg.Connection[Any]


class TableMismatch(Exception):
    """The warehouse's table is not as the contract says, and can't be made so without losing data."""


@dataclass(frozen=True)
class Loaded:
    """What a load did to the table."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0


def table_name(contract: Contract) -> sql.Identifier:
    """Return the dataset's table."""
    return sql.Identifier(SCHEMA, contract.table)


def ensure_table(connection: Connection, contract: Contract) -> None:
    """Make the dataset's table, or add the columns a newer contract has.

    Raises:
        TableMismatch: a column has another type, or a new key column can't be added.
    """
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f'"{SCHEMA}"."{contract.table.replace(chr(34), chr(34) * 2)}"'],
    ).fetchall()
    if not rows:
        _create_table(connection, contract)
        return
    existing = dict(rows)
    for column in contract.columns:
        if column.column not in existing:
            if column.primary_key:
                raise TableMismatch(f"{SCHEMA}.{contract.table} has no key column {column.column}: rebuild the table")
            statement = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            kind = _type(postgres_type(column))
            connection.execute(statement.format(table_name(contract), sql.Identifier(column.column), kind))
        elif existing[column.column] != _canonical(postgres_type(column)):
            raise TableMismatch(
                f"{SCHEMA}.{contract.table}.{column.column} is {existing[column.column]}, "
                f"its contract says {postgres_type(column)}: migrate the table or change the contract"
            )


def _type(name: str) -> sql.SQL:
    return sql.SQL(name)  # the contract admits a closed list of types only


def _canonical(name: str) -> str:
    """Return a type's name as Postgres prints it."""
    base, bracket, rest = name.partition("(")
    base = _CANONICAL.get(base, base)
    if base == "numeric" and "," not in rest and bracket:
        rest = rest.replace(")", ",0)")
    if base == "character" and not bracket:
        return "character(1)"
    return base + bracket + rest.replace(" ", "")


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
    if contract.key:
        keys = sql.SQL(", ").join(map(sql.Identifier, contract.key))
        parts.append(sql.SQL("PRIMARY KEY ({})").format(keys))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table_name(contract), sql.SQL(", ").join(parts)))
    if contract.description:
        comment = sql.SQL("COMMENT ON TABLE {} IS {}")
        connection.execute(comment.format(table_name(contract), sql.Literal(contract.description)))


def load_rows(connection: Connection, contract: Contract, staged: Path, rows: int, file_id: int) -> Loaded:
    """Load `rows` staged rows by the contract's write mode, inside the caller's transaction."""
    mode, table = contract.ingest.write, table_name(contract)
    if mode == "replace":
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
    if mode in ("append", "replace") or (mode == "upsert" and _is_empty(connection, table)):
        _copy(connection, contract, table, staged, rows, file_id)
        return Loaded(inserted=rows)
    connection.execute(
        sql.SQL("CREATE TEMP TABLE ingestion_stage (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP").format(table)
    )
    _copy(connection, contract, _STAGE, staged, rows, file_id)
    connection.execute(sql.SQL("ANALYZE {}").format(_STAGE))
    if mode == "delete_insert":
        return _replace_partitions(connection, contract, rows)
    return _merge(connection, contract, rows)


def _is_empty(connection: Connection, table: sql.Identifier) -> bool:
    row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table)).fetchone()
    return row is not None and not row[0]


def _columns(contract: Contract) -> list[str]:
    return [*(column.column for column in contract.columns), RESCUED]


def _copy(
    connection: Connection, contract: Contract, table: sql.Identifier, staged: Path, rows: int, file_id: int
) -> None:
    names = [*_columns(contract), "_file_id"]
    select = ", ".join(quoted(name) for name in _columns(contract))
    query = f"SELECT {select}, {file_id} FROM read_parquet({literal(staged)})"
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with connection.cursor() as cursor:
        with _csv_chunks(query) as chunks, cursor.copy(statement) as copy:
            for chunk in chunks:
                copy.write(chunk)
        if cursor.rowcount != rows:
            raise AssertionError(f"copied {cursor.rowcount} rows of {rows}: {staged.name} is not what was prepared")


@contextmanager
def _csv_chunks(query: str) -> Iterator[Iterator[bytes]]:
    """Run a DuckDB query in a thread and give its result as chunks of CSV, through a pipe."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def produce() -> None:
        try:
            with engine() as connection:
                connection.execute(
                    f"COPY ({query}) TO '/dev/fd/{writing}' (FORMAT csv, HEADER false, USE_TMP_FILE false)"
                )
        except BaseException as error:
            failures.append(error)
        finally:
            os.close(writing)

    def consume() -> Iterator[bytes]:
        while chunk := os.read(reading, 1 << 18):
            yield chunk
        producer.join()
        if failures:
            raise failures[0]

    producer = threading.Thread(target=produce, name="staged-rows", daemon=True)
    producer.start()
    try:
        yield consume()
    finally:
        os.close(reading)  # a producer that still writes then stops with a broken pipe
        producer.join()


def _merge(connection: Connection, contract: Contract, rows: int) -> Loaded:
    """MERGE the stage: new keys are inserted, a row is updated if it is not older and differs."""
    keys = sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in contract.key)
    others = [name for name in _columns(contract) if name not in contract.key]
    differs = sql.SQL("({}) IS DISTINCT FROM ({})").format(_listed("t", others), _listed("s", others))
    newer = sql.SQL("true")
    if contract.ingest.order_by:
        order = sql.Identifier(contract.ingest.order_by)
        newer = sql.SQL("(t.{0} IS NULL OR s.{0} >= t.{0})").format(order)  # type: ignore[assignment]
    changed = [*others, "_file_id", "_loaded_at"]
    names = [*_columns(contract), "_file_id", "_loaded_at"]
    statement = sql.SQL(
        "WITH merged AS (MERGE INTO {table} AS t USING {stage} AS s ON {keys}"
        " WHEN MATCHED AND {newer} AND {differs} THEN UPDATE SET {sets}"
        " WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values}) RETURNING merge_action() AS action)"
        " SELECT count(*) FILTER (WHERE action = 'INSERT'), count(*) FILTER (WHERE action = 'UPDATE') FROM merged"
    ).format(
        table=table_name(contract),
        stage=_STAGE,
        keys=keys,
        newer=newer,
        differs=differs,
        sets=sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in changed),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        values=_listed("s", names),
    )
    row = connection.execute(statement).fetchone()
    inserted, updated = row if row else (0, 0)
    return Loaded(inserted, updated, rows - inserted - updated)


def _listed(alias: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _replace_partitions(connection: Connection, contract: Contract, rows: int) -> Loaded:
    names = list(contract.partition)
    match = sql.SQL(" AND ").join(
        sql.SQL("t.{0} IS NOT DISTINCT FROM s.{0}").format(sql.Identifier(name)) for name in names
    )
    connection.execute(
        sql.SQL("DELETE FROM {} AS t USING (SELECT DISTINCT {} FROM {} AS s) AS s WHERE {}").format(
            table_name(contract), _listed("s", names), _STAGE, match
        )
    )
    columns = sql.SQL(", ").join(map(sql.Identifier, [*_columns(contract), "_file_id", "_loaded_at"]))
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(table_name(contract), columns, columns, _STAGE)
    )
    return Loaded(inserted=rows)
