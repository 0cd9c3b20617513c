"""What becomes of messages: lineage goes into the metadata store, and to Marquez; telemetry into its store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpx
import msgspec
import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.openlineage import DatasetEvent, ReadEvent, RunEvent, read_event
from metadata_service.problems import ProblemError, reason_of
from metadata_service.repositories import access
from metadata_service.services.intake import Intake, is_fault_of_data
from metadata_service.settings import ConsumerSettings
from metadata_service.streaming.consumer import PoisonError, RetryError
from metadata_service.telemetry.model import (
    GRACE,
    Batch,
    Bounds,
    FieldFaultError,
    check_metric,
    check_span,
    read_metric,
    read_name,
    read_span,
)
from metadata_service.telemetry.store import StoreAwayError, TelemetryStore, error_line, write_apart

ATTEMPTS = 5  # at an event that Marquez fails at


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a message; `is_bound`: its sender's key is bound to namespaces."""

    event: ReadEvent
    is_bound: bool


def _read_told(headers: dict[str, str], value: bytes) -> Told:
    try:
        event = read_event(value, headers.get("sender"))
    except ProblemError as error:
        raise PoisonError(reason_of(error)) from None
    told = event.event
    namespace = told.dataset.namespace if isinstance(told, DatasetEvent) else told.job.namespace
    if headers.get("namespace", namespace) != namespace:
        raise PoisonError(f"The header says namespace {headers['namespace']!r}, the event {namespace!r}.")
    return Told(event, headers.get("bound") == "1")


class LineageHandler:
    """Stores events as the service does; its projector brings the graph up to date."""

    name = "lineage"
    batch_items = 1
    batch_seconds = 0.0
    fetch = 500

    def __init__(self, settings: ConsumerSettings, sessions: sessionmaker[Session]) -> None:
        self.topics = [settings.kafka_topic_lineage]
        self._sessions = sessions
        self._runner = asyncio.Runner()
        self._intake = Intake(settings.libpq_url, 1, lambda _: None, keep_order=True)
        self._runner.run(self._intake.start())

    def read(self, headers: dict[str, str], value: bytes) -> Told:
        """Return the event that a message is."""
        return _read_told(headers, value)

    def size(self, item: Told) -> int:
        """Return 1: a message is an event."""
        return 1

    def write(self, items: Sequence[Told]) -> dict[int, str]:
        """Store events; refuse those of runs that belong to another namespace than their sender's."""
        try:
            refused = self._foreign(items)
        except SQLAlchemyError as error:
            raise RetryError(error_line(error)) from error
        places = [place for place in range(len(items)) if place not in refused]
        outcomes = self._runner.run(self._intake.store([items[place].event for place in places]))
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, psycopg.Error):
                if not is_fault_of_data(outcome):
                    raise RetryError(error_line(outcome))
                refused[place] = f"The store refused it: {error_line(outcome)}"
        return refused

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._intake.stop())
        self._runner.close()

    def _foreign(self, items: Sequence[Told]) -> dict[int, str]:
        told = {place: item.event.event for place, item in enumerate(items) if item.is_bound}
        runs = {
            place: (event.run.run_id, event.job.namespace)
            for place, event in told.items()
            if isinstance(event, RunEvent)
        }
        if not runs:
            return {}
        owners: dict[str, set[str]] = {}
        with self._sessions() as session:
            for run_id, namespace in access.namespaces_of_runs(session, {run_id for run_id, _ in runs.values()}):
                owners.setdefault(run_id, set()).add(namespace)
        refused = {}
        for place, (run_id, namespace) in runs.items():
            if namespace not in owners.setdefault(run_id, {namespace}):
                refused[place] = f"Run {run_id} belongs to another namespace than {namespace!r}."
        return refused


class MarquezHandler:
    """Tells a Marquez every event."""

    name = "marquez"
    batch_items = 1
    batch_seconds = 0.0
    fetch = 20  # it takes events one by one

    def __init__(self, settings: ConsumerSettings) -> None:
        if not settings.marquez_url:
            raise ValueError("no Marquez is configured: set MARQUEZ_URL")
        self.topics = [settings.kafka_topic_lineage]
        key = settings.marquez_api_key.get_secret_value() if settings.marquez_api_key else ""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(base_url=settings.marquez_url, headers=headers, timeout=30)
        self._failure = b"", 0  # the event that it failed at, and how often in a row

    def read(self, headers: dict[str, str], value: bytes) -> bytes:
        """Return the event that a message is."""
        return _read_told(headers, value).event.payload

    def size(self, item: bytes) -> int:
        """Return 1: a message is an event."""
        return 1

    def write(self, items: Sequence[bytes]) -> dict[int, str]:
        """Post events one after the other; what Marquez refuses for good is a dead letter."""
        refused = {}
        for place, event in enumerate(items):
            try:
                answer = self._client.post("/api/v1/lineage", content=event)
                is_refused = answer.status_code in (400, 413, 422) or self._fails_at(event, answer)
            except httpx.HTTPError as error:
                raise RetryError(f"Marquez: {error_line(error)}") from error
            if is_refused:
                refused[place] = f"Marquez refused it: HTTP {answer.status_code} {answer.text[:500]}"
            elif not answer.is_success:
                raise RetryError(f"Marquez: HTTP {answer.status_code}")
        return refused

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _fails_at(self, event: bytes, answer: httpx.Response) -> bool:
        """Tell whether Marquez, well otherwise, fails at an event again and again: 500 is what it says then."""
        if answer.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        failed, times = self._failure
        self._failure = event, times + 1 if failed == event else 1
        if self._failure[1] < ATTEMPTS:
            return False
        return self._client.get("/api/v1/namespaces", params={"limit": 1}).is_success


class TelemetryHandler:
    """Writes spans and metrics into the telemetry store, a batch at a time."""

    name = "telemetry"
    fetch = 500

    def __init__(self, settings: ConsumerSettings, store: TelemetryStore) -> None:
        self.topics = [settings.kafka_topic_spans, settings.kafka_topic_metrics]
        self.batch_items = settings.telemetry_batch_items
        self.batch_seconds = settings.telemetry_batch_seconds
        self._retention_days = settings.telemetry_retention_days
        self._store = store

    def read(self, headers: dict[str, str], value: bytes) -> Batch:
        """Return the spans and metrics that a message is, in the namespace of its header."""
        if "namespace" not in headers:
            raise PoisonError("The header namespace is missing.")
        bounds = Bounds(self._retention_days, GRACE)
        try:
            namespace = read_name("namespace", headers["namespace"])
            batch = msgspec.json.decode(value, type=Batch)
            for span in batch.spans:
                check_span(span, bounds)
            for metric in batch.metrics:
                check_metric(metric, bounds)
        except FieldFaultError as fault:
            raise PoisonError(str(fault)) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            batch = _read_leniently(value, bounds)
        batch.namespace = namespace
        return batch

    def size(self, item: Batch) -> int:
        """Return how many spans and metrics a message has."""
        return len(item)

    def write(self, items: Sequence[Batch]) -> dict[int, str]:
        """Write spans and metrics; refuse messages with a value that the store does not take."""
        try:
            refused = write_apart(self._store, [[item] for item in items])
        except StoreAwayError as error:
            raise RetryError(str(error)) from error
        return {place: f"The store refused it: {reason}" for place, reason in refused.items()}

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _read_leniently(value: bytes, bounds: Bounds) -> Batch:
    """Read a message of somebody else than the hub: times and attributes may be written as in requests."""
    try:
        whole = msgspec.json.decode(value)
        if not isinstance(whole, dict):
            raise PoisonError("The message is not an object.")
        return Batch(
            spans=[read_span(item, bounds) for item in whole.get("spans") or ()],
            metrics=[read_metric(item, bounds) for item in whole.get("metrics") or ()],
        )
    except ProblemError as error:
        raise PoisonError(reason_of(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise PoisonError(f"The message can't be read: {error}") from None
