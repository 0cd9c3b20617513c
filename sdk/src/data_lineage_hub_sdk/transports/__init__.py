"""Where batches go: one module a transport, chosen by `LINEAGE_HUB_TRANSPORT`.

A transport is small: `send` delivers a batch and says what became of it, never raising for what the other side does;
`close` lets go of connections; `after_fork` makes it usable in a child process. One thread at a time uses it.
`otlp` says whether it takes OTLP requests; the others get spans and metrics as JSON.
"""

from __future__ import annotations

from typing import Protocol

from data_lineage_hub_sdk.batch import Batch, Outcome
from data_lineage_hub_sdk.settings import Settings


class Transport(Protocol):
    """Delivers batches."""

    otlp: bool

    def send(self, batch: Batch) -> Outcome:
        """Deliver a batch; wait until it is known what became of it."""

    def close(self) -> None:
        """Let go of connections."""

    def after_fork(self) -> None:
        """Forget, in a child process, what belongs to its parent."""


def make_transport(settings: Settings) -> Transport:
    """Return the transport that the settings choose.

    Raises:
        ValueError: its settings are wrong.
        ImportError: its package is not installed.
    """
    kind = settings.chosen_transport
    if kind == "http":
        from data_lineage_hub_sdk.transports.http import HttpTransport

        return HttpTransport(settings.url, settings.api_key, settings.timeout)
    if kind == "kafka":
        from data_lineage_hub_sdk.transports.kafka import KafkaTransport

        return KafkaTransport(settings)
    if kind == "file":
        from data_lineage_hub_sdk.transports.file import FileTransport

        return FileTransport(settings.file)
    if kind == "console":
        from data_lineage_hub_sdk.transports.console import ConsoleTransport

        return ConsoleTransport()
    from data_lineage_hub_sdk.transports.noop import NoopTransport

    return NoopTransport()
