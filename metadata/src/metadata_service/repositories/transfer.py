"""Everything the store holds, as rows of JSON: out in one snapshot, in as sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.orm import Session

from metadata_service.models import Base

_BATCH = 1000


def tables() -> list[Table]:
    """Return all tables, each after those it refers to."""
    return list(Base.metadata.sorted_tables)


def revision(session: Session) -> str:
    """Return the revision of the schema."""
    return str(session.scalar(text("SELECT version_num FROM alembic_version")))


def filled_table(session: Session) -> str | None:
    """Return the name of a table that holds something, None if the store is empty."""
    for table in tables():
        if session.scalar(text(f'SELECT EXISTS (SELECT FROM "{table.name}")')):
            return str(table.name)
    return None


def rows(session: Session, table: Table) -> Iterator[str]:
    """Yield the rows of a table as JSON objects, without the columns that the database derives."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    query = text(f'SELECT to_jsonb(t)::text FROM (SELECT {names} FROM "{table.name}") AS t')
    yield from session.scalars(query.execution_options(stream_results=True, yield_per=_BATCH))


def begin_import(session: Session) -> None:
    """Make a place for rows that come in."""
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text("CREATE TEMPORARY TABLE incoming (name text, item jsonb) ON COMMIT DROP"))


def take_rows(session: Session, incoming: Iterable[tuple[str, str]]) -> None:
    """Add (table, row as JSON)."""
    given = [{"name": name, "item": item} for name, item in incoming]
    if given:
        session.execute(text("INSERT INTO incoming VALUES (:name, CAST(:item AS jsonb))"), given)


def end_import(session: Session) -> dict[str, int]:
    """Put the rows where they belong; return how many for each table that got some."""
    counts = {}
    for table in tables():
        names = [f'"{column.name}"' for column in table.columns]
        own = [f'"{key.parent.name}"' for key in table.foreign_keys if key.column.table is table]
        listed = ", ".join(names)
        chosen = ", ".join("NULL" if name in own else f"r.{name}" for name in names)
        source = (
            f'FROM incoming i CROSS JOIN LATERAL jsonb_populate_record(NULL::"{table.name}", i.item) r '
            f"WHERE i.name = '{table.name}'"
        )
        insert = f'INSERT INTO "{table.name}" ({listed}) OVERRIDING SYSTEM VALUE SELECT {chosen} {source}'
        counts[str(table.name)] = _count(session.execute(text(insert)))
        key = next(iter(table.primary_key.columns)).name
        for name in own:  # what refers to rows of its own table, once all of them are there
            match = f't."{key}" = r."{key}" AND r.{name} IS NOT NULL'
            session.execute(text(f'UPDATE "{table.name}" t SET {name} = r.{name} {source} AND {match}'))
        for column in table.columns:
            if column.identity is not None:
                sequence = f"pg_get_serial_sequence('\"{table.name}\"', '{column.name}')"
                newest = f'(SELECT max("{column.name}") FROM "{table.name}")'
                session.execute(text(f"SELECT setval({sequence}, {newest}) WHERE {newest} IS NOT NULL"))
    return {name: count for name, count in counts.items() if count}


def _count(result: Any) -> int:
    return int(result.rowcount)
