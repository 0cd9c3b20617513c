"""The hub's own endpoints."""

from __future__ import annotations

from data_lineage_hub_sdk.batch import Batch, Outcome
from data_lineage_hub_sdk.delivery import Sender


class HttpTransport:
    """Posts batches over one connection that is kept open.

    A refused batch is divided until the item at fault is found, so that one bad event costs no good one.

    Raises:
        ValueError: `url` is no address.
    """

    otlp = True

    def __init__(self, url: str, api_key: str, timeout: float) -> None:
        self._arguments = (url, api_key, timeout)
        self._sender = Sender(*self._arguments)

    def send(self, batch: Batch) -> Outcome:
        """Post a batch."""
        outcome = self._sender.send(batch)
        if outcome.kind != "rejected" or outcome.refused or len(batch.items) < 2:
            return outcome
        refused: list[tuple[int, str]] = []
        offset = 0
        for half in batch.halves():
            part = self.send(half)
            if part.kind == "retry":
                return part
            if part.kind == "rejected" and not part.refused:
                refused.append((offset, part.reason))
            refused += [(offset + at, reason) for at, reason in part.refused]
            offset += len(half.items)
        return Outcome("sent", refused=tuple(refused))

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()

    def after_fork(self) -> None:
        """Leave the connection to the parent."""
        self._sender = Sender(*self._arguments)
