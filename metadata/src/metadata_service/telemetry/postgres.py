"""Spans and metrics in the service's own database, for whoever runs no ClickHouse."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import structlog

from metadata_service.connecting import connect_arguments
from metadata_service.telemetry.model import Batch, Metric, Span, to_nanoseconds
from metadata_service.telemetry.store import PATIENCE, StoreAwayError, ValueRefusedError, error_line, held

log = structlog.get_logger(__name__)

# In the order of the keys, so that two writers of the same don't wait for each other in a ring.
_WRITE_SPANS = """
INSERT INTO telemetry_span (namespace, trace_id, span_id, run_id, start_time, content)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::json[])
ON CONFLICT DO NOTHING
"""
_WRITE_METRICS = """
INSERT INTO telemetry_metric (namespace, name, series, time, value, content)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::bigint[], %s::float8[], %s::json[])
ON CONFLICT DO NOTHING
"""
_SPANS_OF_RUN = """
SELECT content::text FROM telemetry_span
 WHERE namespace = %(namespace)s AND trace_id IN (
       SELECT trace_id FROM telemetry_span
        WHERE run_id = %(run)s AND run_id <> '' AND namespace = %(namespace)s)
 ORDER BY start_time, span_id LIMIT %(limit)s
"""
# Rows that another process is dropping at the moment are left to it.
_FORGET = """
DELETE FROM {table} WHERE ctid IN (
       SELECT ctid FROM {table} WHERE {time} < %(oldest)s LIMIT %(most)s FOR UPDATE SKIP LOCKED)
"""
_FORGET_SPANS = _FORGET.format(table="telemetry_span", time="start_time")
_FORGET_METRICS = _FORGET.format(table="telemetry_metric", time="time")
_FORGET_EVERY = 3600.0
_FORGET_AT_ONCE = 10_000


class PostgresStore:
    """A store in tables of the service's database, which its migrations make."""

    name = "postgres"

    def __init__(self, dsn: str, retention_days: int) -> None:
        self._dsn = dsn
        self._retention = timedelta(days=retention_days)
        self._forget_at = 0.0
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()

    def write(self, batches: Sequence[Batch]) -> None:
        """Keep spans and metrics in one transaction."""
        spans = sorted(
            ((batch.namespace, span) for batch in batches for span in batch.spans),
            key=lambda item: (item[0], item[1].trace_id, item[1].span_id),
        )
        metrics = sorted(
            ((batch.namespace, metric.name, _series(metric), metric) for batch in batches for metric in batch.metrics),
            key=lambda item: (item[0], item[1], item[2], item[3].time),
        )
        with self._session(patience=-1) as connection:
            with connection.transaction():
                if spans:
                    connection.execute(_WRITE_SPANS, _columns(_span_row(*item) for item in spans))
                if metrics:
                    connection.execute(_WRITE_METRICS, _columns(_metric_row(*item) for item in metrics))
            if time.monotonic() > self._forget_at:
                self._forget(connection)

    def spans_of_run(self, namespace: str, run_id: str, limit: int) -> list[Span]:
        """Return the spans of the traces that a run appears in, by start."""
        given = {"namespace": namespace, "run": run_id, "limit": limit}
        with self._session() as connection:
            rows = connection.execute(_SPANS_OF_RUN, given).fetchall()
        return [msgspec.json.decode(content, type=Span) for (content,) in rows]

    def reach(self) -> None:
        """Return if the database answers."""
        with self._session() as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    @contextmanager
    def _session(self, patience: float = PATIENCE) -> Iterator[psycopg.Connection[Any]]:
        """Give the connection, a new one if it broke since it was used last."""
        with held(self._lock, patience):
            try:
                if self._connection is None or not _is_alive(self._connection):
                    self._drop()
                    self._connection = psycopg.connect(
                        self._dsn, autocommit=True, **connect_arguments("metadata_service_telemetry")
                    )
                yield self._connection
            except psycopg.Error as error:
                # A value that doesn't fit (classes data, integrity, program limit, or what no client can send).
                if isinstance(error, psycopg.DataError) or (error.sqlstate or "")[:2] in ("22", "23", "54"):
                    raise ValueRefusedError(error_line(error)) from error
                self._drop()
                raise StoreAwayError(error_line(error)) from error

    def _forget(self, connection: psycopg.Connection[Any]) -> None:
        """Drop some of what is too old, and the rest after the next writes; what was written is safe in any case."""
        given = {"oldest": to_nanoseconds(datetime.now(UTC) - self._retention), "most": _FORGET_AT_ONCE}
        try:
            gone = [connection.execute(statement, given).rowcount for statement in (_FORGET_SPANS, _FORGET_METRICS)]
        except psycopg.Error as error:
            log.warning("telemetry_not_forgotten", reason=error_line(error))
        else:
            if max(gone) == _FORGET_AT_ONCE:
                return
        self._forget_at = time.monotonic() + _FORGET_EVERY

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_alive(connection: psycopg.Connection[Any]) -> bool:
    if connection.closed:
        return False
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _span_row(namespace: str, span: Span) -> tuple[Any, ...]:
    content = msgspec.json.encode(span).decode()
    return namespace, span.trace_id, span.span_id, span.run_id, span.start_time, content


def _metric_row(namespace: str, name: str, series: bytes, metric: Metric) -> tuple[Any, ...]:
    return namespace, name, series, metric.time, metric.value, msgspec.json.encode(metric).decode()


def _series(metric: Metric) -> bytes:
    """Return what tells a metric's series from others of its name: its service, resource and attributes."""
    told = msgspec.json.encode((metric.service_name, metric.resource, metric.attributes), order="sorted")
    return hashlib.blake2b(told, digest_size=16).digest()


def _columns(rows: Iterator[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
