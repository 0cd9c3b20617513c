"""The services: whether each answers, how fast, and when Airflow's parts last gave a sign of life."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg

from pipelines.monitoring.model import Limits, Reading, Targets, graded

SECONDS = 10.0
COMPONENTS = ("scheduler", "dag_processor", "triggerer")


class _Clock:
    seconds = 0.0


@contextmanager
def _timed() -> Iterator[_Clock]:
    clock, began = _Clock(), time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - began


def airflow(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield the api-server's answer and the heartbeats of scheduler, dag-processor and triggerer."""
    with _timed() as clock:
        answer = httpx.get(f"{targets.airflow_url}/api/v2/monitor/health", timeout=SECONDS).raise_for_status().json()
    yield graded("airflow", "airflow api-server", clock.seconds, limits.answer, "s", "answers")
    metadatabase = answer["metadatabase"]["status"]
    yield Reading("airflow", "airflow database", "ok" if metadatabase == "healthy" else "error", detail=metadatabase)
    now = dt.datetime.now(dt.UTC)
    for component in COMPONENTS:
        name = f"airflow {component.replace('_', '-')}"
        beat = answer[component].get(f"latest_{component}_heartbeat")
        if beat is None:
            yield Reading("airflow", name, "error", detail="it has never given a sign of life")
            continue
        age = max(0.0, (now - dt.datetime.fromisoformat(beat)).total_seconds())
        yield graded("airflow", name, age, limits.heartbeat, "s", "since its last heartbeat")


def metadata(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield whether the metadata service answers."""
    with _timed() as clock:
        httpx.get(f"{targets.metadata_url}/health", timeout=SECONDS).raise_for_status()
    yield graded("metadata", "metadata service", clock.seconds, limits.answer, "s", "answers")


def superset(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield whether Superset answers."""
    with _timed() as clock:
        httpx.get(f"{targets.superset_url}/health", timeout=SECONDS).raise_for_status()
    yield graded("superset", "superset", clock.seconds, limits.answer, "s", "answers")


def object_store(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield whether the object store answers and has the platform's buckets."""
    with _timed() as clock:
        there = {bucket["Name"] for bucket in targets.s3.list_buckets()["Buckets"]}
    missing = sorted({"raw", "staging", "curated"} - there)
    if missing:
        yield Reading("object store", "object store", "error", detail=f"there is no bucket {', '.join(missing)}")
    else:
        yield graded("object store", "object store", clock.seconds, limits.answer, "s", "answers")


def postgres(targets: Targets, limits: Limits) -> Iterator[Reading]:
    """Yield whether the warehouse answers, how many of Postgres' connections are taken, and its size."""
    query = """
        SELECT (SELECT sum(numbackends) FROM pg_stat_database),
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
               pg_database_size(current_database())
    """
    with _timed() as clock:
        row: Any = None
        with psycopg.connect(targets.warehouse_dsn, connect_timeout=int(SECONDS)) as connection:
            row = connection.execute(query).fetchone()
    taken, most, size = row
    yield graded("postgres", "postgres", clock.seconds, limits.answer, "s", "answers")
    share = 100 * float(taken) / most
    yield graded("postgres", "postgres connections", share, limits.connections, "%", f"{taken} of {most} are taken")
    yield Reading("postgres", "warehouse size", "ok", round(size / 1024**2, 1), "MB")
