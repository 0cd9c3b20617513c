"""The process' log: to see what would be sent."""

from __future__ import annotations

import logging

from data_lineage_hub_sdk.batch import Batch, Outcome

log = logging.getLogger("data_lineage_hub_sdk.console")


class ConsoleTransport:
    """Writes each event, span and point as a line of JSON to standard error, or wherever its logger is told to."""

    otlp = False

    def __init__(self) -> None:
        if not log.handlers and not logging.getLogger().handlers:
            log.addHandler(logging.StreamHandler())
        if log.level == logging.NOTSET:
            log.setLevel(logging.INFO)

    def send(self, batch: Batch) -> Outcome:
        """Log a batch."""
        for item in batch.items:
            log.info("%s", item.decode("utf-8", "replace"))
        return Outcome("sent")

    def close(self) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing."""
