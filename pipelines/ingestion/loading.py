"""Good rows into the dataset's table, by the contract's write mode, inside the caller's transaction.

Rows come as Arrow tables and go by binary COPY. Where a key can't be in the table yet they go straight in; the others
go to a temporary table, and a MERGE keeps the newer of each key. A key is known to be new when the table is empty, or
when it is not among the table's keys, which are fetched first where the file is large enough for that to pay. So the
time of a small delivery follows the delivery, and a large one is nearly a plain COPY.

Several files go in as if one after the other: the stage's rows of a key are merged in the order of their files.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from data_quality.contract import Contract
from pipelines.ingestion import history, pgcopy
from pipelines.ingestion.ahead import Ahead
from pipelines.ingestion.cleaning import RESCUED
from pipelines.ingestion.columns import postgres_type
from pipelines.ingestion.known_keys import KnownKeys, fetch_keys
from pipelines.ingestion.warehouse import TableMismatch, add_columns, table_name

Connection = psycopg.Connection[Any]

STAGE = sql.Identifier("pg_temp", "ingestion_stage")
FETCH_KEYS_UP_TO = 8  # times the file's size that a table may have for its keys to be fetched
KEYED_LATER = 32 << 20  # bytes of a file from which on an empty table's key is built after it
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Good rows to load: Arrow tables of one schema, with a column `_part` where they are of several files.

    `size` is the files' size in bytes, as they came.
    """

    schema: Any
    tables: Iterable[Any]
    size: int


@dataclass(frozen=True)
class Loaded:
    """What a load did to the table, for one file."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0


def load_rows(connection: Connection, contract: Contract, rows: Rows, file_ids: list[int]) -> list[Loaded]:
    """Load rows and return what that did, for each file.

    Args:
        connection: In a transaction that holds the table's lock.
        contract: The dataset's contract.
        rows: The rows.
        file_ids: The ledger's ids of the files, in the order of `_part`.
    """
    names = [name for name in rows.schema.names if name != "_part"]
    extra = [name for name in names if name not in _types(contract)]
    add_columns(connection, contract, extra)
    load = _Load(connection, contract, rows, file_ids, names)
    mode = contract.ingest.write
    if mode == "replace":
        connection.execute(sql.SQL("DELETE FROM {}").format(table_name(contract)))
    if mode == "delete_insert":
        return load.replace_partitions()
    if mode == "scd2":
        load.stage_all()
        return load.merge_waves(history.merge)
    if contract.key:
        return load.upsert()
    return load.append()


def _types(contract: Contract) -> dict[str, str]:
    return {column.column: postgres_type(column) for column in contract.columns} | {RESCUED: "jsonb"}


class _Load:
    """One load: where rows go, and how many went."""

    def __init__(
        self, connection: Connection, contract: Contract, rows: Rows, file_ids: list[int], names: list[str]
    ) -> None:
        self.connection, self.contract, self.rows, self.file_ids = connection, contract, rows, file_ids
        types = dict.fromkeys(names, "text") | _types(contract)
        self.names = sorted(names, key=lambda name: pgcopy.is_fixed(types[name]))  # beside _file_id, which is fixed
        self.types = [*(types[name] for name in self.names), "bigint"]
        self.target = table_name(contract)
        self.direct: Counter[int] = Counter()

    def append(self) -> list[Loaded]:
        """Copy all rows straight into the table."""
        with self._copying(self.target) as write, Ahead(map(self._counted_and_encoded, self.rows.tables)) as encoded:
            for data in encoded:
                write(data)
        return self._counted(Counter(), Counter(), Counter())

    def upsert(self) -> list[Loaded]:
        """Copy rows of new keys into the table and merge the others."""
        if keyed_later(self.connection, self.contract, self.rows.size):
            return self._fill()
        known = self._known_keys()
        if known is None:
            self.stage_all()
            return self.merge_waves(_merge)
        with tempfile.TemporaryFile() as held:
            split = (
                (self._counted_and_encoded(new), self._encoded(old)) for new, old in map(known.split, self.rows.tables)
            )
            with self._copying(self.target) as write, Ahead(split) as encoded:
                for fresh, rest in encoded:
                    write(fresh)
                    held.write(rest)
            if not held.tell():
                return self._counted(Counter(), Counter(), Counter())
            self._make_stage()
            held.seek(0)
            with self._copying(STAGE) as write:
                while chunk := held.read(_CHUNK):
                    write(chunk)
        return self.merge_waves(_merge)

    def _fill(self) -> list[Loaded]:
        """Copy all rows into the empty table, its key taken off meanwhile: building it at the end is faster."""
        name = _key_constraint(self.connection, self.contract)
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(self.target, sql.Identifier(name))
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})").format(
            self.target, sql.Identifier(name), _identifiers(list(self.contract.key))
        )
        self.connection.execute(drop)
        found = self.append()
        self.connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        self.connection.execute(add)
        return found

    def _known_keys(self) -> KnownKeys | None:
        """Return the keys that may be in the table, None where it is better not to ask."""
        if len(self.file_ids) > 1:
            return None
        if _is_empty(self.connection, self.target):
            return KnownKeys(self.contract)
        row = self.connection.execute(
            "SELECT pg_relation_size(to_regclass(%s))", [self.target.as_string(self.connection)]
        ).fetchone()
        if row is None or row[0] > FETCH_KEYS_UP_TO * self.rows.size:
            return None
        return fetch_keys(self.connection, self.contract)

    def stage_all(self) -> None:
        """Copy all rows into the stage."""
        self._make_stage()
        with self._copying(STAGE) as write, Ahead(map(self._encoded, self.rows.tables)) as encoded:
            for data in encoded:
                write(data)

    def _make_stage(self) -> None:
        statement = "CREATE TEMP TABLE ingestion_stage ON COMMIT DROP AS SELECT {} FROM {} WHERE false"
        names = _identifiers([*self.names, "_file_id"])
        self.connection.execute(sql.SQL(statement).format(names, self.target))

    def merge_waves(self, merge: Any) -> list[Loaded]:
        """Merge the stage: of several files' rows of a key the first file's first, then the next one's."""
        self.connection.execute(sql.SQL("ANALYZE {}").format(STAGE))
        staged = Counter(dict(self.connection.execute(
            sql.SQL("SELECT _file_id, count(*) FROM {} GROUP BY 1").format(STAGE)
        ).fetchall()))  # fmt: skip
        inserted: Counter[int] = Counter()
        updated: Counter[int] = Counter()
        for source in self._waves():
            for action, file_id, count in merge(self.connection, self.contract, source, self.names):
                (inserted if action == "INSERT" else updated)[file_id] += count
        return self._counted(inserted, updated, staged)

    def _waves(self) -> list[sql.Composable]:
        if len(self.file_ids) == 1:
            return [STAGE]
        keys = _identifiers(list(self.contract.key))
        ranked = sql.SQL("ALTER TABLE {} ADD COLUMN _wave integer").format(STAGE)
        self.connection.execute(ranked)
        place = sql.SQL("array_position({}::bigint[], _file_id)").format(sql.Literal(self.file_ids))
        self.connection.execute(
            sql.SQL(
                "UPDATE {stage} AS s SET _wave = w.n FROM (SELECT ctid AS row, "
                "row_number() OVER (PARTITION BY {keys} ORDER BY {place}) AS n FROM {stage}) AS w WHERE s.ctid = w.row"
            ).format(stage=STAGE, keys=keys, place=place)
        )
        row = self.connection.execute(sql.SQL("SELECT coalesce(max(_wave), 0) FROM {}").format(STAGE)).fetchone()
        wave = sql.SQL("(SELECT * FROM {} WHERE _wave = {})")
        return [wave.format(STAGE, sql.Literal(number)) for number in range(1, (row[0] if row else 0) + 1)]

    def replace_partitions(self) -> list[Loaded]:
        """Put the stage's rows in place of all rows of their partitions."""
        self.stage_all()
        names = list(self.contract.partition)
        match = sql.SQL(" AND ").join(
            sql.SQL("t.{0} IS NOT DISTINCT FROM s.{0}").format(sql.Identifier(name)) for name in names
        )
        delete = sql.SQL("DELETE FROM {} AS t USING (SELECT DISTINCT {} FROM {} AS s) AS s WHERE {}")
        self.connection.execute(delete.format(self.target, _identifiers(names, "s"), STAGE, match))
        columns = _identifiers([*self.names, "_file_id"])
        insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}")
        done = self.connection.execute(insert.format(self.target, columns, columns, STAGE))
        self.direct[self.file_ids[0]] = done.rowcount
        return self._counted(Counter(), Counter(), Counter())

    def _counted(self, inserted: Counter[int], updated: Counter[int], staged: Counter[int]) -> list[Loaded]:
        return [
            Loaded(self.direct[number] + inserted[number], updated[number],
                   staged[number] - inserted[number] - updated[number])
            for number in self.file_ids
        ]  # fmt: skip

    def _count(self, table: Any) -> None:
        import numpy as np

        if len(self.file_ids) == 1:
            self.direct[self.file_ids[0]] += table.num_rows
            return
        for part, count in enumerate(np.bincount(table["_part"].to_numpy(), minlength=len(self.file_ids))):
            self.direct[self.file_ids[part]] += int(count)

    def _counted_and_encoded(self, table: Any) -> bytes | memoryview:
        self._count(table)
        return self._encoded(table)

    def _encoded(self, table: Any) -> bytes | memoryview:
        import pyarrow as pa

        ids = pa.array(self.file_ids, pa.int64())
        several = "_part" in table.column_names
        owners = ids.take(table["_part"]) if several else pa.repeat(ids[0], table.num_rows)
        return pgcopy.encode(table.select(self.names).append_column("_file_id", owners), self.types)

    @contextmanager
    def _copying(self, target: sql.Composable) -> Any:
        columns = _identifiers([*self.names, "_file_id"])
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(target, columns)
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(pgcopy.HEADER)
            yield copy.write
            copy.write(pgcopy.TRAILER)


def keyed_later(connection: Connection, contract: Contract, size: int) -> bool:
    """Whether a file of `size` bytes is the first of a table and so large that the key is better built after it."""
    return (
        contract.ingest.write in ("upsert", "append")
        and bool(contract.key)
        and size >= KEYED_LATER
        and _is_empty(connection, table_name(contract))
        and not _is_referred_to(connection, contract)
    )


def _key_constraint(connection: Connection, contract: Contract) -> str:
    row = connection.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = to_regclass(%s)",
        [table_name(contract).as_string(connection)],
    ).fetchone()
    if row is None:
        raise TableMismatch(f"the table {contract.table} has no primary key: rebuild it")
    return str(row[0])


def _is_referred_to(connection: Connection, contract: Contract) -> bool:
    """Whether something hangs on the table's key: a foreign key, a view that groups by it."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_depend AS d JOIN pg_constraint AS c ON d.refobjid = c.oid"
        " AND d.refclassid = 'pg_constraint'::regclass WHERE c.contype = 'p' AND c.conrelid = to_regclass(%s)"
        " AND d.deptype = 'n')"
        " OR EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s))",
        [table_name(contract).as_string(connection)] * 2,
    ).fetchone()
    return row is not None and bool(row[0])


def _is_empty(connection: Connection, table: sql.Identifier) -> bool:
    row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table)).fetchone()
    return row is not None and not row[0]


def _identifiers(names: list[str], alias: str | None = None) -> sql.Composed:
    full = [sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in names]
    return sql.SQL(", ").join(full)


def _merge(
    connection: Connection, contract: Contract, source: sql.Composable, names: list[str]
) -> list[tuple[str, int, int]]:
    """MERGE rows: new keys are inserted, a row is updated if it is not older and differs. Append changes no row.

    Returns:
        Action (INSERT or UPDATE), id of the file and number of rows.
    """
    keys = sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in contract.key)
    others = [name for name in names if name not in contract.key]
    differs = sql.SQL("({}) IS DISTINCT FROM ({})").format(_identifiers(others, "t"), _identifiers(others, "s"))
    newer: sql.Composable = sql.SQL("true")
    if contract.ingest.write == "append":
        newer = sql.SQL("false")
    elif contract.ingest.order_by:
        order = sql.Identifier(contract.ingest.order_by)
        newer = sql.SQL("(t.{0} IS NULL OR s.{0} >= t.{0})").format(order)
    inserted = [*names, "_file_id"]
    sets = [sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in (*others, "_file_id")]
    statement = sql.SQL(
        "WITH merged AS (MERGE INTO {table} AS t USING {source} AS s ON {keys}"
        " WHEN MATCHED AND {newer} AND {differs} THEN UPDATE SET {sets}"
        " WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
        " RETURNING merge_action() AS action, s._file_id AS file_id)"
        " SELECT action, file_id, count(*) FROM merged GROUP BY 1, 2"
    ).format(
        table=table_name(contract),
        source=source,
        keys=keys,
        newer=newer,
        differs=differs,
        sets=sql.SQL(", ").join([*sets, sql.SQL("_loaded_at = now()")]),
        names=_identifiers(inserted),
        values=_identifiers(inserted, "s"),
    )
    return connection.execute(statement).fetchall()
