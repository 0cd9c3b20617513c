"""The shape of a table, and a published table made in the shape of its candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from pipelines.publishing.marts import CANDIDATE, CURATED

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND attnum > 0 AND NOT attisdropped
  AND (SELECT relkind = 'r' FROM pg_class WHERE oid = attrelid)
ORDER BY attnum
"""
_KEY = """
SELECT attname FROM pg_index
JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part (number, place) ON true
JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
WHERE indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND indisprimary
ORDER BY part.place
"""
_KIND = "SELECT relkind FROM pg_class WHERE oid = to_regclass(format('%%I.%%I', %s::text, %s::text))"

Connection = psycopg.Connection[Any]


class NoKey(Exception):
    """A mart has no primary key, by which a publication compares it."""


@dataclass(frozen=True)
class Shape:
    """Columns with type, whether they must have a value, and comment; the primary key."""

    columns: dict[str, tuple[str, bool, str | None]]
    key: tuple[str, ...]


def shape_of(connection: Connection, schema: str, table: str) -> Shape | None:
    """Return the shape of a table, or None where there is no such table.

    Raises:
        NoKey: it is a candidate without a primary key.
    """
    rows = connection.execute(_COLUMNS, [schema, table]).fetchall()
    if not rows:
        return None
    key = tuple(str(name) for (name,) in connection.execute(_KEY, [schema, table]))
    if not key and schema == CANDIDATE:
        raise NoKey(
            f"{schema}.{table} has no primary key, and a publication compares rows by it: give its model one"
            " (`constraints: [{type: primary_key}]` in its YAML, with an enforced contract)"
        )
    return Shape({name: (kind, required, comment) for name, kind, required, comment in rows}, key)


def make_table(connection: Connection, name: str) -> tuple[int, int]:
    """Make the published table in the shape of its candidate, with its rows and indexes, in the place of what is there.

    Rights that were granted on the table that it replaces are granted again.

    Returns:
        How many rows went, and how many came.
    """
    curated, candidate = sql.Identifier(CURATED, name), sql.Identifier(CANDIDATE, name)
    found = connection.execute(
        "SELECT grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE table_schema = %s AND table_name = %s AND grantee <> current_user",
        [CURATED, name],
    )
    grants = [(str(grantee), str(privilege)) for grantee, privilege in found]
    kind = connection.execute(_KIND, [CURATED, name]).fetchone()
    deleted = 0
    if kind is not None:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(curated)).fetchone()
        deleted = int(row[0]) if row else 0
        connection.execute(sql.SQL("DROP VIEW {}" if kind[0] == "v" else "DROP TABLE {}").format(curated))
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(curated, candidate))
    rows = connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(curated, candidate)).rowcount
    for grantee, privilege in grants:
        connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privilege), curated, sql.Identifier(grantee)))
    return deleted, rows
