"""Spans and metrics in ClickHouse, or in its engine embedded (chDB), which has the same tables.

Idempotent: a row that is written again replaces itself. The rollup is not fed by rows but computed from the table, for
the minutes that a write touched, so it is right however often that happens. Minutes of which spans were dropped before
the retention was raised stay as they are.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import structlog
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError
from clickhouse_connect.driver.query import QueryResult

from metadata_service.telemetry.model import Batch, Metric, Span, SpanEvent
from metadata_service.telemetry.store import PATIENCE, StoreAwayError, ValueRefusedError, error_line, held

log = structlog.get_logger(__name__)

_MINUTE = 60_000_000_000
_MINUTES_AT_ONCE = 5000  # a parameter of ClickHouse has at most 128 KiB
_DEFAULT_DATABASE = "telemetry"

_Row = tuple[str, Any]
_SPAN_COLUMNS: dict[str, Callable[[str, Span], Any]] = {
    "namespace": lambda namespace, _: namespace,
    "pipeline": lambda _, span: span.pipeline,
    "service_name": lambda _, span: span.service_name,
    "name": lambda _, span: span.name,
    "kind": lambda _, span: span.kind,
    "status": lambda _, span: span.status,
    "status_message": lambda _, span: span.status_message,
    "start_time": lambda _, span: span.start_time,
    "duration_ns": lambda _, span: span.end_time - span.start_time,
    "trace_id": lambda _, span: span.trace_id,
    "span_id": lambda _, span: span.span_id,
    "parent_span_id": lambda _, span: span.parent_span_id,
    "run_id": lambda _, span: span.run_id,
    "attributes": lambda _, span: span.attributes,
    "resource": lambda _, span: span.resource,
    "events.name": lambda _, span: [event.name for event in span.events],
    "events.time": lambda _, span: [event.time for event in span.events],
    "events.attributes": lambda _, span: [event.attributes for event in span.events],
}
_METRIC_COLUMNS: dict[str, Callable[[str, Metric], Any]] = {
    "namespace": lambda namespace, _: namespace,
    "name": lambda _, metric: metric.name,
    "type": lambda _, metric: metric.type,
    "temporality": lambda _, metric: metric.temporality,
    "unit": lambda _, metric: metric.unit,
    "service_name": lambda _, metric: metric.service_name,
    "time": lambda _, metric: metric.time,
    "value": lambda _, metric: metric.value,
    "count": lambda _, metric: metric.count,
    "bounds": lambda _, metric: metric.bounds,
    "bucket_counts": lambda _, metric: metric.bucket_counts,
    "attributes": lambda _, metric: metric.attributes,
    "resource": lambda _, metric: metric.resource,
    "series": lambda _, metric: _series(metric),
}
_ROLL_UP = """
INSERT INTO spans_by_minute
SELECT namespace, toStartOfMinute(start_time) AS minute, pipeline, service_name, name,
       count(), countIf(parent_span_id = ''), countIf(status = 'error'),
       countIf(status = 'error' AND parent_span_id = ''), sum(duration_ns), max(duration_ns),
       quantilesTDigestState(0.5, 0.95, 0.99)(duration_ns / 1e9), now64(6)
  FROM spans FINAL
 WHERE namespace = {namespace:String} AND toStartOfMinute(start_time) IN {minutes:Array(DateTime('UTC'))}
   AND toStartOfMinute(start_time) >= (SELECT max(since) FROM spans_kept)
 GROUP BY namespace, minute, pipeline, service_name, name
"""
_SPANS_OF_RUN = """
SELECT trace_id, span_id, parent_span_id, name, kind, status, status_message, service_name,
       toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, attributes, resource,
       events.name, arrayMap(t -> toUnixTimestamp64Nano(t), events.time) AS event_times, events.attributes
  FROM spans FINAL
 WHERE namespace = {namespace:String} AND trace_id IN (
       SELECT trace_id FROM spans WHERE namespace = {namespace:String} AND run_id = {run:String} AND run_id != '')
 ORDER BY start_time, span_id LIMIT {limit:UInt32}
"""


class ClickHouseStore:
    """A store in a database of ClickHouse, which is made where it is missing.

    Args:
        url: `http://user:password@host:8123/database`, or `chdb:///folder` for the embedded engine.
        retention_days: after how many days spans and metrics are forgotten.
    """

    name = "clickhouse"

    def __init__(self, url: str, retention_days: int) -> None:
        self._url = urlsplit(url)
        embedded = self._url.scheme == "chdb"
        self.database = (not embedded and self._url.path.strip("/")) or _DEFAULT_DATABASE
        # A day longer than what is taken, so that a minute is never computed from a part of its spans.
        self._days = retention_days + 1
        self._client: Client | None = None
        self._lock = threading.Lock()

    def write(self, batches: Sequence[Batch]) -> None:
        """Keep spans and metrics, and compute the rollup of the minutes that they lie in."""
        spans = [(batch.namespace, span) for batch in batches for span in batch.spans]
        metrics = [(batch.namespace, metric) for batch in batches for metric in batch.metrics]
        with self._session(patience=-1) as client:
            _insert(client, "spans", _SPAN_COLUMNS, spans)
            _insert(client, "metrics", _METRIC_COLUMNS, metrics)
            minutes: dict[str, set[int]] = {}
            for namespace, span in spans:
                minutes.setdefault(namespace, set()).add(span.start_time // _MINUTE * 60)
            for namespace, found in minutes.items():
                ordered = sorted(found)
                for start in range(0, len(ordered), _MINUTES_AT_ONCE):
                    part = ordered[start : start + _MINUTES_AT_ONCE]
                    client.command(_ROLL_UP, parameters={"namespace": namespace, "minutes": part})

    def spans_of_run(self, namespace: str, run_id: str, limit: int) -> list[Span]:
        """Return the spans of the traces that a run appears in, by start."""
        given = {"namespace": namespace, "run": run_id, "limit": limit}
        with self._session() as client:
            return [_span(row) for row in client.query(_SPANS_OF_RUN, parameters=given).result_rows]

    def ask(self, query: str) -> QueryResult:
        """Return what ClickHouse answers to a query that only reads."""
        with self._session() as client:
            return client.query(query)

    def reach(self) -> None:
        """Return if ClickHouse answers."""
        with self._session() as client:
            client.command("SELECT 1")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    @contextmanager
    def _session(self, patience: float = PATIENCE) -> Iterator[Client]:
        with held(self._lock, patience):
            try:
                if self._client is None:
                    self._client = self._connect()
                yield self._client
            except DataError as error:  # it does not fit the column, and never left the client
                raise ValueRefusedError(error_line(error)) from error
            # urllib3's errors come through as they are where a connection breaks in the middle.
            except (ClickHouseError, OSError) as error:
                self._drop()
                raise StoreAwayError(error_line(error)) from error

    def _connect(self) -> Client:
        if self._url.scheme == "chdb":
            client = get_client(interface="chdb", path=self._url.path)
        else:
            client = get_client(
                interface=self._url.scheme,
                host=self._url.hostname,
                port=self._url.port or 0,
                username=unquote(self._url.username or "default"),
                password=unquote(self._url.password or ""),
                connect_timeout=3,
                send_receive_timeout=60,
                autogenerate_session_id=False,
            )
        self._migrate(client)
        return client

    def _migrate(self, client: Client) -> None:
        """Make the database and its tables, or bring them up to date; any number of processes may do so at once."""
        client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
        client.database = self.database
        client.command(
            "CREATE TABLE IF NOT EXISTS schema_migration (name String, applied_at DateTime DEFAULT now())"
            " ENGINE = ReplacingMergeTree ORDER BY name"
        )
        applied = {name for (name,) in client.query("SELECT DISTINCT name FROM schema_migration").result_rows}
        for name, script in _migrations():
            if name not in applied:
                for statement in script.replace("{days}", str(self._days)).split(";\n"):
                    if statement.strip():
                        client.command(statement)
                client.insert("schema_migration", [[name]], column_names=["name"])
        self._set_retention(client)

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _set_retention(self, client: Client) -> None:
        for table, column in (("spans", "start_time"), ("metrics", "time")):
            ttl = f"toDateTime({column}) + toIntervalDay({self._days})"
            made = client.command(
                "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
                parameters={"database": self.database, "table": table},
            )
            if ttl not in str(made):
                log.info("telemetry_retention_changed", table=table, days=self._days - 1)
                before = re.search(r"toIntervalDay\((\d+)\)", str(made))
                if table == "spans" and before is not None:
                    client.command(f"INSERT INTO spans_kept SELECT now('UTC') - toIntervalDay({before[1]})")
                client.command(f"ALTER TABLE {table} MODIFY TTL {ttl}")


def _migrations() -> Iterator[tuple[str, str]]:
    """Yield name and statements of each step of the schema, in order."""
    folder = files("metadata_service.telemetry") / "schema"
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".sql"):
            yield file.name.removesuffix(".sql"), file.read_text()


def _insert(client: Client, table: str, columns: dict[str, Callable[..., Any]], rows: Sequence[_Row]) -> None:
    if rows:
        data = [[value(*row) for row in rows] for value in columns.values()]
        client.insert(table, data, column_names=list(columns), column_oriented=True)


def _series(metric: Metric) -> int:
    told = msgspec.json.encode((metric.service_name, metric.resource, metric.attributes), order="sorted")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")


def _span(row: Iterable[Any]) -> Span:
    trace, span, parent, name, kind, status, message, service, start, duration, attributes, resource, *events = row
    return Span(
        trace_id=trace,
        span_id=span,
        parent_span_id=parent,
        name=name,
        kind=kind,
        status=status,
        status_message=message,
        service_name=service,
        start_time=start,
        end_time=start + duration,
        attributes=attributes,
        resource=resource,
        events=[SpanEvent(*event) for event in zip(*events, strict=True)],
    )
