"""What has been told already: `audit.alerts` in the warehouse, one row for each subject, stage and reason.

The table is shared by all processes and outlives them. Where the warehouse is away (which is an alert of its own), a
file for each alert in the platform's state folder takes its place, for this machine.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pipelines.alerts.model import Alert
from pipelines.ingestion import ledger

_DDL = """
CREATE TABLE IF NOT EXISTS audit.alerts (
    key text PRIMARY KEY,
    subject text NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    owner text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    files bigint NOT NULL DEFAULT 0,
    untold bigint NOT NULL DEFAULT 0,
    alert jsonb NOT NULL,
    resolved_at timestamptz
)
"""
_UPGRADE = "ALTER TABLE audit.alerts ADD COLUMN IF NOT EXISTS resolved_at timestamptz"

_STATE = """
SELECT untold, sent_at IS NULL OR resolved_at IS NOT NULL OR sent_at <= now() - %s
FROM audit.alerts WHERE key = %s FOR UPDATE
"""
_NOTE = """
UPDATE audit.alerts
SET last_at = now(), resolved_at = NULL,
    first_at = CASE WHEN resolved_at IS NULL THEN first_at ELSE now() END,
    files = CASE WHEN resolved_at IS NULL THEN files ELSE 0 END + %(files)s, reason = %(reason)s, alert = %(alert)s,
    untold = CASE WHEN %(due)s THEN 0 ELSE untold + %(files)s END,
    sent_at = CASE WHEN %(due)s THEN now() ELSE sent_at END
WHERE key = %(key)s
"""
_UNTOLD = """
SELECT key, alert, untold FROM audit.alerts
WHERE untold > 0 AND (sent_at IS NULL OR sent_at <= now() - %s) ORDER BY first_at FOR UPDATE
"""


@contextmanager
def _transaction(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    options = "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=10s"
    with psycopg.connect(dsn, connect_timeout=5, options=options, application_name="dataplatform-alerts") as connection:
        yield connection


def _ensure(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('audit.alerts')"
        " AND attname = 'resolved_at')"
    ).fetchone()
    if row and not row[0]:
        ledger.lock(connection, "ddl")
        ledger.ensure_schemas(connection)
        connection.execute(_DDL)
        connection.execute(_UPGRADE)


def claim(dsn: str, alert: Alert, window: dt.timedelta) -> int | None:
    """Note an alert, and return how many files to tell of: those of alerts kept back since the last message too.

    Returns:
        None where the same was told within the window.
    """
    with _transaction(dsn) as connection:
        _ensure(connection)
        connection.execute(
            "INSERT INTO audit.alerts (key, subject, stage, reason, owner, alert) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [alert.key, alert.subject, alert.stage, alert.reason, alert.owner, json.dumps(alert.to_dict())],
        )
        untold, due = connection.execute(_STATE, [window, alert.key]).fetchone() or (0, True)
        values = {"files": alert.files, "reason": alert.reason, "alert": json.dumps(alert.to_dict())}
        connection.execute(_NOTE, {**values, "due": due, "key": alert.key})
    return untold + alert.files if due else None


def release(dsn: str, alert: Alert, files: int) -> None:
    """Take a claim back: no channel took the message."""
    with _transaction(dsn) as connection:
        connection.execute(
            "UPDATE audit.alerts SET sent_at = NULL, untold = untold + %s WHERE key = %s", [files, alert.key]
        )


def claim_untold(dsn: str, window: dt.timedelta) -> list[tuple[Alert, int]]:
    """Claim the alerts kept back whose window has passed, each with the number of files to tell of."""
    with _transaction(dsn) as connection:
        _ensure(connection)
        due = connection.execute(_UNTOLD, [window]).fetchall()
        connection.execute(
            "UPDATE audit.alerts SET untold = 0, sent_at = now() WHERE key = ANY(%s)", [[key for key, _, _ in due]]
        )
    return [(Alert.from_dict(alert), untold) for _, alert, untold in due]


def open_alerts(dsn: str) -> list[tuple[Alert, dt.datetime]]:
    """Return the alerts that are not resolved, each with when it was last raised."""
    with _transaction(dsn) as connection:
        _ensure(connection)
        rows = connection.execute("SELECT alert, last_at FROM audit.alerts WHERE resolved_at IS NULL").fetchall()
    return [(Alert.from_dict(alert), last_at) for alert, last_at in rows]


def resolve(dsn: str, subject: str, stage: str, raised_before: dt.datetime | None = None) -> list[Alert]:
    """Note that what the alerts of a subject and stage tell of is over; return those that anybody had been told of.

    One that was raised after `raised_before` stays open.
    """
    with _transaction(dsn) as connection:
        _ensure(connection)
        rows = connection.execute(
            "UPDATE audit.alerts SET resolved_at = now(), untold = 0 WHERE subject = %s AND stage = %s"
            " AND resolved_at IS NULL AND last_at <= coalesce(%s, now()) RETURNING alert, sent_at IS NOT NULL",
            [subject, stage, raised_before],
        ).fetchall()
    return [Alert.from_dict(alert) for alert, told in rows if told]


def claim_on_disk(folder: Path, alert: Alert, window: dt.timedelta) -> bool:
    """Note an alert in a folder; whether it was not told within the window."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / alert.key
    if path.exists() and time.time() - path.stat().st_mtime < window.total_seconds():
        return False
    path.touch()
    return True


def release_on_disk(folder: Path, alert: Alert) -> None:
    """Take such a claim back."""
    (folder / alert.key).unlink(missing_ok=True)
