"""What is too old: what is still taken, and what becomes of the figures of times whose spans are gone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from metadata_service.problems import UnprocessableError
from metadata_service.settings import ConsumerSettings
from metadata_service.streaming.consumer import PoisonError
from metadata_service.streaming.handlers import TelemetryHandler
from metadata_service.telemetry.clickhouse import ClickHouseStore
from metadata_service.telemetry.model import Batch, Bounds, Span, read_span, to_nanoseconds
from metadata_service.telemetry.store import open_store


def span(at: datetime) -> Span:
    time = to_nanoseconds(at)
    return Span(trace_id=uuid.uuid4().hex, span_id=uuid.uuid4().hex[:16], name="load", start_time=time, end_time=time)


def test_what_was_taken_in_time_may_wait_for_its_consumer() -> None:
    settings = ConsumerSettings(database_url="postgresql://nobody@127.0.0.1:1/none", telemetry_retention_days=30)
    handler = TelemetryHandler(settings, open_store(settings))

    def consume(aged: timedelta) -> Batch:
        sent = Batch("t", spans=[span(datetime.now(UTC) - timedelta(days=30) - aged)])
        return handler.read({"namespace": "t"}, msgspec.json.encode(sent))

    with pytest.raises(UnprocessableError):  # the hub does not take it
        read_span(msgspec.to_builtins(span(datetime.now(UTC) - timedelta(days=30, seconds=1))), Bounds(30))
    assert len(consume(timedelta(hours=6))) == 1
    with pytest.raises(PoisonError, match="older than what is kept"):
        consume(timedelta(hours=18))


@pytest.mark.integration
def test_figures_of_minutes_whose_spans_were_dropped_stay(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(second=30)
    long_ago, lately = now - timedelta(days=20), now - timedelta(hours=1)
    rolled_up = "SELECT minute, sum(spans) FROM spans_by_minute FINAL GROUP BY minute ORDER BY minute"

    def write(retention_days: int, *spans: Span, after: str | None = None) -> list[int]:
        store = ClickHouseStore(f"chdb://{tmp_path}/telemetry", retention_days)
        try:
            store.write([Batch("t", spans=list(spans))])
            if after is not None:
                store.ask(after)
            return [number for _, number in store.ask(rolled_up).result_rows]
        finally:
            store.close()

    assert write(30, span(long_ago), span(long_ago), span(lately)) == [2, 1]
    # The engine drops what is too old when it likes to.
    assert write(7, after="TRUNCATE TABLE spans") == [2, 1]
    assert write(30, span(long_ago), span(lately)) == [2, 1]
    assert write(30, span(lately), span(lately + timedelta(minutes=5))) == [2, 2, 1]
