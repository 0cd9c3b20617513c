"""What Postgres' catalog knows of tables: columns without nulls, values that a unique index lets in once, and sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

# Tables only, without ones that inherit from them: what holds of a parent's rows need not hold of theirs. A NOT NULL
# that was added without a look at the rows (NOT VALID, Postgres 18) proves nothing.
_TABLES = """
SELECT given.relation, ARRAY(
    SELECT column_.attname::text FROM pg_attribute AS column_
    WHERE column_.attrelid = class.oid AND column_.attnum > 0 AND column_.attnotnull AND NOT EXISTS (
        SELECT FROM pg_constraint AS rule WHERE rule.conrelid = class.oid AND rule.contype = 'n'
        AND rule.conkey = ARRAY[column_.attnum] AND NOT rule.convalidated)
) AS not_null, ARRAY(
    SELECT json_build_array(name.relname, pg_get_expr(index.indpred, class.oid), ARRAY(
        SELECT key.attname::text FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS place (attnum, position)
        JOIN pg_attribute AS key ON key.attrelid = class.oid AND key.attnum = place.attnum
        WHERE place.position <= index.indnkeyatts))
    FROM pg_index AS index JOIN pg_class AS name ON name.oid = index.indexrelid
    WHERE index.indrelid = class.oid AND index.indisunique AND index.indisvalid AND index.indexprs IS NULL
) AS unique_indexes, class.reltuples AS rows, coalesce((
    SELECT json_object_agg(attname, CASE WHEN n_distinct < 0 THEN -n_distinct * class.reltuples ELSE n_distinct END)
    FROM pg_stats WHERE schemaname = class.relnamespace::regnamespace::text AND tablename = class.relname
    AND NOT inherited AND n_distinct <> 0
), '{}') AS distinct_values
FROM unnest(%s::text[]) AS given (relation) JOIN pg_class AS class ON class.oid = to_regclass(given.relation)
WHERE class.relkind = 'p' OR (class.relkind = 'r' AND NOT class.relhassubclass)
"""


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index: its columns, and the condition of the rows that are in it."""

    name: str
    columns: frozenset[str]
    condition: str | None


@dataclass(frozen=True)
class Table:
    """What is proven of a table's rows."""

    not_null: frozenset[str] = frozenset()
    unique: tuple[UniqueIndex, ...] = ()
    rows: float = 0
    """How many rows it has, as far as Postgres knows without counting. No proof, as `distinct`."""
    distinct: Mapping[str, float] = field(default_factory=dict)
    """How many values its columns have, as far as Postgres' samples tell."""

    def unique_index(self, columns: Collection[str], among: str | None = None) -> str | None:
        """Return an index that proves that no combination of values comes twice, where `among` is true if given."""
        for index in self.unique:
            if index.columns <= set(columns) and index.condition in (None, among):
                return index.name
        return None


NO_TABLE = Table()
Catalog = Mapping[str, Table]
"""The proofs by relation, as SQL has it, quoted. Tables that are not there are left out."""


def read_catalog(connection: psycopg.Connection[dict[str, Any]], relations: Iterable[str]) -> Catalog:
    """Return what is proven of the given relations."""
    rows = connection.execute(_TABLES, [list(dict.fromkeys(relations))]).fetchall()
    return {
        row["relation"]: Table(
            frozenset(row["not_null"]),
            tuple(
                UniqueIndex(name, frozenset(columns), condition) for name, condition, columns in row["unique_indexes"]
            ),
            row["rows"],
            row["distinct_values"],
        )
        for row in rows
    }
