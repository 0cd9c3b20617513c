"""Many rows in one statement: columns as binary arrays, `INSERT … SELECT … FROM unnest(%s, %s)`.

psycopg writes a list item by item in Python, at a hundred times the cost of joining what is already bytes. The format
is that of Postgres' `array_send`: dimensions, whether there are nulls, the elements' type, how many there are and the
first one's index; then each element with its length before it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy.orm import Session

_HEADER = struct.Struct(">iiIii").pack
_LENGTH = struct.Struct(">i").pack
_INT8 = struct.Struct(">q").pack
_NULL = _LENGTH(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_JSONB_VERSION = b"\x01"

_encode_json = msgspec.json.Encoder().encode


def time_bytes(value: datetime) -> bytes:
    """Return a time with its zone as `timestamptz` has it: microseconds since 2000."""
    since = value - _EPOCH
    return _INT8((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


class Column:
    """An array in Postgres' binary format. Use the subclasses, one for each type of element."""

    __slots__ = ("data",)
    element_oid: int
    array_oid: int
    encode: Callable[[Any], bytes]

    def __init__(self, items: Iterable[Any]) -> None:
        encode, parts, nulls, count = type(self).encode, [b""], 0, 0
        for item in items:
            count += 1
            if item is None:
                parts.append(_NULL)
                nulls = 1
            else:
                value = encode(item)
                parts.append(_LENGTH(len(value)))
                parts.append(value)
        parts[0] = _HEADER(1, nulls, self.element_oid, count, 1)
        self.data = b"".join(parts)


class Texts(Column):
    """Elements are str."""

    element_oid, array_oid, encode = 25, 1009, staticmethod(str.encode)


class Bytes(Column):
    """Elements are bytes."""

    element_oid, array_oid, encode = 17, 1001, staticmethod(bytes)


class Times(Column):
    """Elements are datetime with a zone."""

    element_oid, array_oid, encode = 1184, 1185, staticmethod(time_bytes)


class Uuids(Column):
    """Elements are UUID."""

    element_oid, array_oid, encode = 2950, 2951, staticmethod(lambda value: value.bytes)


class Bigints(Column):
    """Elements are int."""

    element_oid, array_oid, encode = 20, 1016, staticmethod(_INT8)


class Booleans(Column):
    """Elements are bool."""

    element_oid, array_oid, encode = 16, 1000, staticmethod(lambda value: b"\x01" if value else b"\x00")


class JsonTexts(Column):
    """Elements are bytes of JSON, stored as they are in a column of type `json`."""

    element_oid, array_oid, encode = 114, 199, staticmethod(bytes)


class Jsonbs(Column):
    """Elements are anything that JSON can say."""

    element_oid, array_oid, encode = 3802, 3807, staticmethod(lambda value: _JSONB_VERSION + _encode_json(value))


class _ColumnDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Column) -> Buffer | None:
        """Return what is encoded already."""
        return obj.data


for _column in (Texts, Bytes, Times, Uuids, Bigints, Booleans, JsonTexts, Jsonbs):
    _dumper = type(f"{_column.__name__}Dumper", (_ColumnDumper,), {"oid": _column.array_oid})
    psycopg.adapters.register_dumper(_column, _dumper)


def execute(session: Session, statement: str, *columns: Any) -> list[tuple[Any, ...]]:
    """Run a statement with columns (or single values) for its `%s` in the session's transaction; return its rows."""
    result = session.connection().exec_driver_sql(statement, columns)
    return [tuple(row) for row in result] if result.returns_rows else []


def ids_by_name(
    session: Session, table: Literal["dataset", "job"], names: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """Return the ids of the datasets, or jobs, that exist under these (namespace, name) pairs."""
    wanted = list(set(names))
    if not wanted:
        return {}
    statement = (
        f"SELECT namespace, name, id FROM {table} JOIN unnest(%s, %s) AS n (namespace, name) USING (namespace, name)"
    )
    rows = execute(session, statement, Texts(ns for ns, _ in wanted), Texts(name for _, name in wanted))
    return {(ns, name): id_ for ns, name, id_ in rows}


def ids_of(rows: Iterable[tuple[Any, ...]]) -> set[UUID]:
    """Return the first column of rows as a set."""
    return {row[0] for row in rows}
