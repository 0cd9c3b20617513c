"""Nowhere."""

from __future__ import annotations

from data_lineage_hub_sdk.batch import Batch, Outcome


class NoopTransport:
    """Takes everything and keeps nothing."""

    otlp = False

    def send(self, batch: Batch) -> Outcome:
        """Forget a batch."""
        return Outcome("sent")

    def close(self) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing."""
