"""Put a backup in place of what the stack holds: databases, buckets and keys, and compare with what was taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg

from dataplatform_cli.backup import buckets, databases, manifest
from dataplatform_cli.backup.manifest import Manifest, Tell
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings, load_settings
from dataplatform_cli.setup import replace_values
from dataplatform_cli.stack import kinds, postgres, s3

LEDGER = "audit.file_ingestion_log"


def restore(settings: StackSettings, folder: Path, replace: bool = False, tell: Tell = lambda _: None) -> Manifest:
    """Restore a backup and return what it held. Postgres and the object store are up afterwards, nothing else.

    Args:
        settings: The stack: the one that is up, else the local one or the one that STACK names. Its other services
            are stopped.
        folder: The backup.
        replace: Whether what the stack holds may be thrown away. Otherwise it has to be empty.
        tell: Told of each part that is done.

    Raises:
        PlatformError: the backup is damaged, the stack is not empty, or the outcome is not what was taken.
    """
    taken = manifest.read(folder)
    manifest.check(folder, taken, tell)
    stack = kinds.find(settings) or kinds.both(settings)[0]
    stack.start_stores()
    client = buckets.client(settings)
    if not replace:
        _refuse_unless_empty(settings, client)
    _check_server(settings, taken)
    stack.stop_all_but_stores()
    for name in _restore_keys(settings, folder):
        tell(f"{name} in .env is the backup's now")
    for database in taken.databases:
        databases.load(settings, database, folder)
        tell(f"database {database.name}: {sum(database.rows.values()):,} rows")
    postgres.provision(settings)
    for bucket in taken.buckets:
        buckets.empty(client, bucket.name)
        buckets.unpack(client, bucket, folder)
        tell(f"bucket {bucket.name}: {bucket.objects:,} objects")
    _verify(settings, client, taken)
    tell("every table and bucket holds what was taken")
    return taken


def _refuse_unless_empty(settings: StackSettings, client: Any) -> None:
    holds = [f"bucket {name}" for name in s3.BUCKETS if buckets.content(client, name).objects]
    with postgres.connect(settings, "warehouse") as connection:
        filled = [table for table, rows in databases.count_rows(connection).items() if rows]
        # What the platform notes of itself is there as soon as it runs.
        holds += [table for table in filled if not table.startswith("audit.") or table == LEDGER]
    if holds:
        raise PlatformError(
            f"the stack is not empty: {', '.join(holds[:5])}{', …' if len(holds) > 5 else ''}",
            "--replace throws away what it holds; take a backup of it first",
        )


def _check_server(settings: StackSettings, taken: Manifest) -> None:
    with postgres.connect(settings) as connection:
        major = databases.server_major(connection)
    if major < taken.postgres:
        raise PlatformError(
            f"the backup is of Postgres {taken.postgres}, this stack runs {major}",
            f"POSTGRES_IMAGE in .env with an image of Postgres {taken.postgres} or newer",
        )


def _restore_keys(settings: StackSettings, folder: Path) -> list[str]:
    """Take the keys over into `.env`, and return the names of those that were others."""
    keys: dict[str, str] = json.loads((folder / manifest.KEYS).read_text())
    changed = {name: key for name, key in keys.items() if getattr(settings, name.lower()).get_secret_value() != key}
    if changed:
        replace_values(settings.root, changed)
        now = load_settings()
        if overruled := [name for name in changed if getattr(now, name.lower()).get_secret_value() != keys[name]]:
            raise PlatformError(
                f"the environment sets {', '.join(overruled)}, which wins over .env",
                "unset it and restore again: what was stored can only be read with the backup's keys",
            )
    return sorted(changed)


def _verify(settings: StackSettings, client: Any, taken: Manifest) -> None:
    """Compare the rows of every table and the objects of every bucket with what was taken."""
    wrong = []
    for database in taken.databases:
        with postgres.connect(settings, database.name) as connection:
            found = databases.count_rows(connection)
            wrong += [
                f"{database.name}.{table} has {found.get(table, 'no')} rows, the backup has {rows}"
                for table, rows in database.rows.items()
                if found.get(table) != rows
            ]
            if database.name == "warehouse":
                wrong += _broken_law(connection)
    for bucket in taken.buckets:
        content = buckets.content(client, bucket.name)
        if (content.objects, content.bytes) != (bucket.objects, bucket.object_bytes):
            wrong.append(f"bucket {bucket.name} has {content.objects} objects, the backup has {bucket.objects}")
    if wrong:
        raise PlatformError(f"the restored stack differs: {'; '.join(wrong[:5])}", "restore again, with --replace")


def _broken_law(connection: psycopg.Connection[Any]) -> list[str]:
    """Return what the ledger says of files whose rows don't add up."""
    there = connection.execute("SELECT to_regclass(%s)", [LEDGER]).fetchone()
    if there is None or there[0] is None:
        return []
    rows = connection.execute(
        "SELECT path FROM audit.file_ingestion_log WHERE status = 'succeeded' AND rows_read <>"
        " rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged"
    ).fetchall()
    return [f"the rows of {path} don't add up" for (path,) in rows]
