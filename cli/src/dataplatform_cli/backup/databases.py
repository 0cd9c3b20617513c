"""Databases out into dumps and back, by Postgres' own programs, over TCP: the same for both kinds of stack."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from dataplatform_cli.backup.manifest import Database, digest
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import postgres

NAMES = (*postgres.SERVICE_DATABASES, "warehouse")

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""


@contextmanager
def snapshots(settings: StackSettings) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """Give a connection to each database that sees it as it is now, for as long as the block lasts."""
    with ExitStack() as stack:
        found = {}
        for name in NAMES:
            connection = stack.enter_context(postgres.connect(settings, name))
            connection.rollback()
            connection.autocommit = False
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SELECT 1 FROM pg_class LIMIT 1")  # the snapshot is taken by the first query
            found[name] = connection
        yield found


def dump(settings: StackSettings, connection: psycopg.Connection[Any], folder: Path) -> Database:
    """Write what a snapshot sees into `databases/<name>.dump`."""
    name = connection.info.dbname
    path = folder / "databases" / f"{name}.dump"
    path.parent.mkdir(exist_ok=True)
    snapshot = _one(connection, "SELECT pg_export_snapshot()")
    owner = _one(connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    options = ["--format=custom", "--compress=gzip:1", f"--snapshot={snapshot}", f"--file={path}", f"--dbname={name}"]
    _run(settings, "pg_dump", options)
    rows = count_rows(connection)
    return Database(name, owner, str(path.relative_to(folder)), path.stat().st_size, digest(path), rows)


def count_rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the number of rows of every table."""
    tables = connection.execute(_TABLES).fetchall()
    count = sql.SQL("SELECT count(*) FROM {}")
    return {
        f"{schema}.{table}": int(_one(connection, count.format(sql.Identifier(schema, table))))
        for schema, table in tables
    }


def load(settings: StackSettings, database: Database, folder: Path) -> None:
    """Make a database anew, as its dump has it. Whoever is connected to it is thrown out.

    Raises:
        PlatformError: Postgres refused the dump.
    """
    with postgres.connect(settings) as connection:
        connection.autocommit = True
        name, owner = sql.Identifier(database.name), sql.Identifier(_owner(settings, database))
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, owner))
    _run(settings, "pg_restore", ["--exit-on-error", f"--dbname={database.name}", str(folder / database.file)])


def _owner(settings: StackSettings, database: Database) -> str:
    """Return who is to own a database: the service whose it is, else this stack's administrator."""
    return database.name if database.name in postgres.SERVICE_DATABASES else settings.postgres_admin_user


def server_major(connection: psycopg.Connection[Any]) -> int:
    """Return the server's major version."""
    return connection.info.server_version // 10_000


def _one(connection: psycopg.Connection[Any], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - every query here gives a row
    return row[0]


def _run(settings: StackSettings, program: str, options: Sequence[str]) -> None:
    done = subprocess.run(
        [
            *(str(postgres.programs() / program), "--no-password"),
            *("--host", settings.loopback, "--port", str(settings.postgres_port)),
            *("--username", settings.postgres_admin_user),
            *options,
        ],
        env={"PGPASSWORD": settings.postgres_admin_password.get_secret_value(), "PGOPTIONS": postgres.QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PlatformError(f"{program} failed: {reason}", "`dp doctor` looks at disk and memory")
