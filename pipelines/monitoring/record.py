"""Readings in the warehouse: `audit.platform_health` (infrastructure/postgres/warehouse.sql), one row a reading."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import psycopg

from pipelines.ingestion import ledger
from pipelines.monitoring.model import Reading

_INSERT = """
INSERT INTO audit.platform_health (checked_at, component, check_name, status, value, unit, threshold, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (check_name, checked_at) DO NOTHING
"""


def record(readings: Iterable[Reading], dsn: str, keep: dt.timedelta) -> tuple[int, int]:
    """Keep readings, and remove those older than `keep`. Recording the same again changes nothing.

    Returns:
        How many rows were written and how many removed.
    """
    rows = [
        (item.checked_at, item.component, item.check, item.status, item.value, item.unit, item.threshold, item.detail)
        for item in readings
    ]
    with psycopg.connect(dsn, connect_timeout=10, options="-c timezone=UTC") as connection:
        # The dashboard also shows the ledger, which is made with the first file otherwise.
        ledger.ensure_ledger(connection)
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)
            written = cursor.rowcount
        removed = connection.execute("DELETE FROM audit.platform_health WHERE checked_at < now() - %s", [keep]).rowcount
    return written, removed
