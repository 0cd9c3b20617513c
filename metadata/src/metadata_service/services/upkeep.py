"""What the service does by itself now and then: learning new words, forgetting what is old."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.problems import first_line
from metadata_service.repositories import retention, search
from metadata_service.schemas.upkeep import Forgotten

log = structlog.get_logger(__name__)

LEARN_EVERY = 2.0  # seconds
FORGET_EVERY = 24 * 3600.0


def forget(sessions: sessionmaker[Session], days: int, *, dry_run: bool = False) -> Forgotten:
    """Delete events and runs older than some days, a part at a time so that nobody has to wait; the graph stays.

    Datasets, jobs and their edges stay, as do versions of columns, the newest run of each job, runs that still go on,
    and those that have the newest result of a check.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    if dry_run:
        with sessions() as session:
            events, runs = retention.count_old(session, before)
        return Forgotten(before=before, events=events, runs=runs, dry_run=True)
    counts = []
    for forget_some in (retention.forget_events, retention.forget_runs):
        total = 0
        while True:
            with sessions.begin() as session:
                count = forget_some(session, before)
            total += count
            if not count:
                break
        counts.append(total)
    return Forgotten(before=before, events=counts[0], runs=counts[1], dry_run=False)


class Upkeep:
    """A thread that keeps the store in order."""

    def __init__(self, sessions: sessionmaker[Session], retention_days: int) -> None:
        self._sessions = sessions
        self._retention_days = retention_days
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopped.set()
        self._thread.join(30)

    def _run(self) -> None:
        forgotten_at = -FORGET_EVERY
        while not self._stopped.wait(LEARN_EVERY):
            try:
                self._learn()
                if self._retention_days and time.monotonic() - forgotten_at >= FORGET_EVERY:
                    forgotten_at = time.monotonic()
                    done = forget(self._sessions, self._retention_days)
                    log.info("forgot_old", before=done.before.isoformat(), events=done.events, runs=done.runs)
            except SQLAlchemyError as error:  # the database is away; the next round tries again
                log.warning("upkeep_failed", reason=first_line(error))

    def _learn(self) -> None:
        while not self._stopped.is_set():
            with self._sessions.begin() as session:
                if not search.learn_words(session):
                    return
