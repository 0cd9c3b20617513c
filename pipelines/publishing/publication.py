"""A publication: all marts that were built since the last one, taken over into `curated` in one transaction.

Rows are compared by key and only those that differ are written, so whoever reads meanwhile sees the tables as they
were, all of them, until the commit, and as they are from then on, whatever the isolation level. Tables of a new shape
are made anew in the same transaction. A publication that dies anywhere has published nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from pipelines.ingestion.ledger import lock_number
from pipelines.publishing.marts import BUILT_AT, CANDIDATE, CURATED, Mart
from pipelines.publishing.shapes import Shape, make_table, shape_of
from pipelines.transformation.builds import by_hand_since, failures, lock_builds, unpublished_models

_LOCK_PATIENCE = "400ms"  # below Postgres' deadlock_timeout: whoever reads is never the victim
_TRIES = 50

Connection = psycopg.Connection[Any]


class PublicationRefused(Exception):
    """The build has nodes that failed, so there is nothing to publish; the message names them."""


@dataclass(frozen=True)
class Change:
    """What a publication did to a mart. `partitions` are the months that it touched; None stands for all of them."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    partitions: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows that changed."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True)
class Publication:
    """What was published: each mart's change, in how many seconds."""

    id: int
    changes: dict[str, Change] = field(default_factory=dict)
    seconds: float = 0.0


def publish(
    dsn: str,
    marts: Iterable[Mart],
    *,
    build_id: str,
    run_id: str,
    sources: Mapping[str, str],
    started_at: dt.datetime,
    before_commit: Callable[[str], None] = lambda step: None,
) -> Publication:
    """Publish the marts that were built since the last publication.

    Publishing the same build again changes nothing and answers as the first time.

    Args:
        dsn: The warehouse, as the role that owns both schemas.
        marts: The marts of the build.
        build_id: The build.
        run_id: Airflow's run, for people.
        sources: The state of the sources that the build has seen.
        started_at: When the build began.
        before_commit: Called before each step with its name; the tests end the process there.

    Raises:
        PublicationRefused: a node of the build failed.
        psycopg.Error: the warehouse is away, or a table can't be taken over; nothing is published.
    """
    began = time.monotonic()
    with publisher(dsn) as connection:
        known = _find(connection, build_id, started_at)
        if known:
            return known
        # Nothing may be put in a candidate's place while it is taken over.
        lock_builds(connection)
        if by_hand_since(connection, started_at):
            raise PublicationRefused("dbt was run by hand since this build began, unchecked: trigger build__curated")
        broken = failures(connection, build_id)
        if broken:
            raise PublicationRefused("\n".join(f"{kind} {name}: {message}" for kind, name, message in broken))
        for attempt in range(1, _TRIES + 1):
            try:
                with _snapshot(connection):
                    set_aside(connection, build_id)
                    changed = unpublished_models(connection)
                    changes = {}
                    for mart in marts:
                        if mart.name in changed:
                            before_commit(mart.name)
                            changes[mart.name] = _take_over(connection, mart)
                    before_commit("record")
                    number = _record(connection, build_id, run_id, started_at, changes, sources)
                    before_commit("commit")
                break
            except psycopg.errors.LockNotAvailable:
                # A table has to be made anew while somebody reads it.
                if attempt == _TRIES:
                    raise
                time.sleep(0.2)
    return Publication(number, changes, round(time.monotonic() - began, 3))


def anything_published(dsn: str) -> bool:
    """Return whether marts have ever been published to the warehouse."""
    with psycopg.connect(dsn) as connection:
        query = "SELECT EXISTS (SELECT FROM audit.publications WHERE status = 'published')"
        return connection.execute(query).fetchone() == (True,)


@contextmanager
def publisher(dsn: str) -> Iterator[Connection]:
    """Give a connection of which there is one at a time: publications and exports wait for each other."""
    with psycopg.connect(dsn, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [lock_number("dataplatform:publication")])
        yield connection


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """Run a transaction that sees the candidates of one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_PATIENCE}'")
        yield


def _find(connection: Connection, build_id: str, started_at: dt.datetime) -> Publication | None:
    """Return the publication of this very build: a run that is cleared builds anew under the same name."""
    row = connection.execute(
        "SELECT id, changes FROM audit.publications WHERE build_id = %s AND started_at = %s AND status = 'published'",
        [build_id, started_at],
    ).fetchone()
    if row is None:
        return None
    changes = {name: read_change(change) for name, change in row[1].items()}
    return Publication(int(row[0]), changes)


def read_change(stored: dict[str, Any]) -> Change:
    """Return a change as audit.publications keeps it."""
    partitions = stored.pop("partitions")
    return Change(**stored, partitions=None if partitions is None else tuple(partitions))


def _take_over(connection: Connection, mart: Mart) -> Change:
    new, old = shape_of(connection, CANDIDATE, mart.name), shape_of(connection, CURATED, mart.name)
    if new is None:
        return Change()  # a view, or dropped meanwhile
    if new != old:
        deleted, inserted = make_table(connection, mart.name)
        return Change(inserted=inserted, deleted=deleted)
    newest = _newest_build(connection, mart) if mart.incremental and BUILT_AT in new.columns else None
    if newest is not None:
        change = _merge(connection, mart, new, since=newest)
        if _same_count(connection, mart):
            return change
        rest = _merge(connection, mart, new)  # rows have left the candidate
        return Change(change.inserted + rest.inserted, change.updated + rest.updated, change.deleted + rest.deleted)
    return _merge(connection, mart, new)


def _merge(connection: Connection, mart: Mart, shape: Shape, since: dt.datetime | None = None) -> Change:
    """Write the rows that differ: all of them, or those built after a moment, and then none is deleted."""
    candidate = sql.Identifier(CANDIDATE, mart.name)
    source: sql.Composable = candidate
    if since is not None:
        source = sql.SQL("(SELECT * FROM {} WHERE {} > {})").format(
            candidate, sql.Identifier(BUILT_AT), sql.Literal(since)
        )
    values = [name for name in shape.columns if name not in shape.key]
    compared = [name for name in values if name != BUILT_AT] or list(shape.key)
    differs = sql.SQL("({}) IS DISTINCT FROM ({})").format(_columns("t", compared), _columns("s", compared))
    partitions = None if since is None else _touched(connection, mart, shape, source, differs)
    update = sql.SQL("WHEN MATCHED AND {} THEN UPDATE SET {}").format(
        differs,
        sql.SQL(", ").join(
            sql.SQL("{} = s.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in values or shape.key
        ),
    )
    delete = sql.SQL("" if since else "WHEN NOT MATCHED BY SOURCE THEN DELETE")
    merge = sql.SQL(
        "WITH written AS (MERGE INTO {} AS t USING {} AS s ON {} {} WHEN NOT MATCHED THEN INSERT ({}) VALUES ({}) {}"
        " RETURNING merge_action() AS action) SELECT action, count(*) FROM written GROUP BY action"
    ).format(
        sql.Identifier(CURATED, mart.name),
        source,
        _same_key(shape),
        update,
        sql.SQL(", ").join(map(sql.Identifier, shape.columns)),
        _columns("s", shape.columns),
        delete,
    )
    counts: dict[str, int] = dict(connection.execute(merge).fetchall())
    return Change(counts.get("INSERT", 0), counts.get("UPDATE", 0), counts.get("DELETE", 0), partitions)


def _touched(
    connection: Connection, mart: Mart, shape: Shape, source: sql.Composable, differs: sql.Composable
) -> tuple[str, ...] | None:
    """Return the months in which rows that will be written are, or were before."""
    if mart.partition_by is None:
        return None
    query = sql.SQL(
        "WITH different AS (SELECT s.{column} AS new, t.{column} AS old FROM {source} AS s LEFT JOIN {table} AS t"
        " ON {same} WHERE t.{key} IS NULL OR {differs})"
        " SELECT to_char(new, 'YYYY-MM') FROM different UNION SELECT to_char(old, 'YYYY-MM') FROM different"
    ).format(
        column=sql.Identifier(mart.partition_by),
        source=source,
        table=sql.Identifier(CURATED, mart.name),
        same=_same_key(shape),
        key=sql.Identifier(shape.key[0]),
        differs=differs,
    )
    return tuple(sorted(str(value) for (value,) in connection.execute(query) if value is not None))


def _newest_build(connection: Connection, mart: Mart) -> dt.datetime | None:
    """Return when the newest of the published rows was built: builds follow each other, later rows are unpublished."""
    query = sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(BUILT_AT), sql.Identifier(CURATED, mart.name))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _same_count(connection: Connection, mart: Mart) -> bool:
    query = sql.SQL("SELECT (SELECT count(*) FROM {}) = (SELECT count(*) FROM {})").format(
        sql.Identifier(CANDIDATE, mart.name), sql.Identifier(CURATED, mart.name)
    )
    return connection.execute(query).fetchone() == (True,)


def _record(
    connection: Connection,
    build_id: str,
    run_id: str,
    started_at: dt.datetime,
    changes: dict[str, Change],
    sources: Mapping[str, str],
) -> int:
    rows = sum(change.rows for change in changes.values())
    # Anew, where it was held back at first: publications are numbered in the order in which they took place.
    connection.execute("DELETE FROM audit.publications WHERE build_id = %s", [build_id])
    row = connection.execute(
        "INSERT INTO audit.publications (build_id, run_id, started_at, status, models, rows_changed, message, seconds,"
        " sources, changes) VALUES (%s, %s, %s, 'published', %s, %s, %s, %s, %s, %s)"
        " RETURNING id",
        [
            *(build_id, run_id, started_at, sorted(changes), rows),
            f"{len(changes)} tables, {rows:,} rows changed",
            (dt.datetime.now(dt.UTC) - started_at).total_seconds(),
            json.dumps(dict(sources)),
            json.dumps({name: asdict(change) for name, change in changes.items()}),
        ],
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives the row
    return int(row[0])


def _same_key(shape: Shape) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("t.{} = s.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in shape.key
    )


def set_aside(connection: Connection, build_id: str) -> None:
    """Give a publication that took place another name, where its run is run again: what it did is still true."""
    connection.execute(
        "UPDATE audit.publications SET build_id = build_id || '#' || id WHERE build_id = %s AND status = 'published'",
        [build_id],
    )


def _columns(alias: str, names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(alias), sql.Identifier(name)) for name in names)
