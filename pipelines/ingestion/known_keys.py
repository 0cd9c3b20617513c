"""Which keys may be in a table already: a Bloom filter over them, in numpy.

A filter never says "new" of a key that is there. Now and then it says "known" of a new one, which costs that row a way
through MERGE and changes nothing else. (B. H. Bloom, "Space/time trade-offs in hash coding", 1970.)
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from data_quality.contract import Column, Contract
from pipelines.ingestion.columns import duckdb_type, literal, quoted
from pipelines.ingestion.engine import engine
from pipelines.ingestion.warehouse import table_name

MAX_CELLS = 1 << 27  # bytes; beyond eight million keys false answers become more frequent
_CELLS_PER_KEY = 16
_BLOCKS = 16_384  # of the table that are asked for at a time


class KnownKeys:
    """Keys of a table, told by their hashes."""

    def __init__(self, contract: Contract, hashes: np.ndarray[Any, Any] | None = None) -> None:
        self._columns = [column for column in contract.columns if column.primary_key]
        self._cells: np.ndarray[Any, Any] | None = None
        if hashes is not None and len(hashes):
            size = min(MAX_CELLS, 1 << (len(hashes) * _CELLS_PER_KEY - 1).bit_length())
            self._cells = np.zeros(size, bool)
            for places in self._places(hashes, size):
                self._cells[places] = True

    @staticmethod
    def _places(hashes: np.ndarray[Any, Any], size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        mask = np.uint64(size - 1)
        return hashes & mask, (hashes >> np.uint64(32)) & mask

    def split(self, table: Any) -> tuple[Any, Any]:
        """Return an Arrow table's rows whose keys are new, and the rows whose keys may be known."""
        if self._cells is None:
            return table, table.slice(0, 0)
        names = ", ".join(quoted(column.column) for column in self._columns)
        with engine() as connection:
            connection.register("batch", table)
            found = connection.execute(f"SELECT hash({names}) AS h FROM batch").fetchnumpy()["h"]
        first, second = self._places(np.asarray(found), len(self._cells))
        known = self._cells[first] & self._cells[second]
        return table.filter(~known), table.filter(known)


def fetch_keys(connection: psycopg.Connection[Any], contract: Contract) -> KnownKeys | None:
    """Read all keys of the table and return them; None if they hold characters that tell them apart here.

    Strings of many keys each are asked for: as rows of a COPY they took four times as long.
    """
    columns = [column for column in contract.columns if column.primary_key]
    texts = [sql.SQL("{}::text").format(sql.Identifier(column.column)) for column in columns]
    query = sql.SQL(
        "SELECT count(*), string_agg(concat_ws(chr(31), {keys}), chr(10))::bytea FROM {table}"
        " WHERE ctid >= %s::tid AND ctid < %s::tid"
    ).format(keys=sql.SQL(", ").join(texts), table=table_name(contract))
    row = connection.execute(
        "SELECT pg_relation_size(to_regclass(%s)) / current_setting('block_size')::bigint",
        [table_name(contract).as_string(connection)],
    ).fetchone()
    hashes = []
    for block in range(0, int(row[0]) if row else 0, _BLOCKS):
        found = connection.execute(query, [f"({block},0)", f"({block + _BLOCKS},0)"], binary=True).fetchone()
        if found is None or not found[0]:
            continue
        count, keys = found
        if keys.count(b"\n") != count - 1 or keys.count(b"\x1f") != count * (len(columns) - 1) or b"\r" in keys:
            return None
        hashes.append(_hashes(keys, columns))
    return KnownKeys(contract, np.concatenate(hashes) if hashes else None)


def _hashes(keys: bytes, columns: list[Column]) -> np.ndarray[Any, Any]:
    with tempfile.NamedTemporaryFile(prefix="keys-", suffix=".csv") as file:
        file.write(keys + b"\n")
        file.flush()
        fields = ", ".join(f"'k{index}': 'VARCHAR'" for index in range(len(columns)))
        casts = ", ".join(f"k{index}::{duckdb_type(column)}" for index, column in enumerate(columns))
        scan = (
            f"read_csv({literal(file.name)}, auto_detect=false, header=false, columns={{{fields}}}, delim='\x1f', "
            "quote='', escape='', new_line='\\n', nullstr='\x1e')"
        )
        with engine() as reader:
            return np.asarray(reader.execute(f"SELECT hash({casts}) AS h FROM {scan}").fetchnumpy()["h"])
