"""Where spans and metrics are kept: ClickHouse, its engine embedded, or the service's own database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from metadata_service.problems import first_line
from metadata_service.settings import HubSettings
from metadata_service.telemetry.model import Batch, Span


class StoreAwayError(Exception):
    """The store does not answer. What was to be written may be there or not; writing it again does no harm."""


class ValueRefusedError(Exception):
    """The store answers, and does not take a value. Trying again does not help; nothing of a write counts as kept."""


PATIENCE = 5.0  # seconds that a reader waits for a write that is under way


class TelemetryStore(Protocol):
    """A store, which makes its tables when it is used first.

    Writing the same again changes nothing. Methods block, and may be called from any thread.
    """

    name: str

    def write(self, batches: Sequence[Batch]) -> None:
        """Keep spans and metrics; they are safe when this returns.

        Raises:
            StoreAwayError: the store does not answer.
            ValueRefusedError: it does not take one of them.
        """
        ...

    def spans_of_run(self, namespace: str, run_id: str, limit: int) -> list[Span]:
        """Return the spans of the traces that a run of a namespace's job appears in, by start.

        Raises:
            StoreAwayError: the store does not answer.
        """
        ...

    def reach(self) -> None:
        """Return if the store answers.

        Raises:
            StoreAwayError: it doesn't, or is still at something else.
        """
        ...

    def close(self) -> None:
        """Give up its connections."""
        ...


def open_store(settings: HubSettings) -> TelemetryStore:
    """Return the store of the settings; nothing is connected yet."""
    if settings.telemetry_url is None:
        from metadata_service.telemetry.postgres import PostgresStore

        return PostgresStore(settings.libpq_url, settings.telemetry_retention_days)
    from metadata_service.telemetry.clickhouse import ClickHouseStore

    return ClickHouseStore(settings.telemetry_url.get_secret_value(), settings.telemetry_retention_days)


@contextmanager
def held(lock: threading.Lock, seconds: float) -> Iterator[None]:
    """Hold a store's lock, waited for so many seconds; -1, for as long as it takes.

    Raises:
        StoreAwayError: others held it all the time.
    """
    if not lock.acquire(timeout=seconds):
        raise StoreAwayError(f"it was busy for {seconds:.0f} s")
    try:
        yield
    finally:
        lock.release()


def write_apart(store: TelemetryStore, groups: Sequence[Sequence[Batch]]) -> dict[int, str]:
    """Write groups together, or each by itself if the store refuses a value; return by place which it refuses and why.

    Raises:
        StoreAwayError: the store does not answer.
    """
    try:
        store.write([batch for group in groups for batch in group])
    except ValueRefusedError as error:
        if len(groups) == 1:
            return {0: str(error)}
        return {place: reason for place, group in enumerate(groups) for reason in write_apart(store, [group]).values()}
    return {}


def error_line(error: BaseException) -> str:
    """Return type and first line of an error."""
    return f"{type(error).__name__}: {first_line(error)}"
