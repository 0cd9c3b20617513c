"""The process' own clients, made of its settings when they are first needed."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from data_lineage_hub_sdk.client import HubClient
from data_lineage_hub_sdk.lineage.client import LineageHubClient
from data_lineage_hub_sdk.settings import Settings, change_settings, get_settings

if TYPE_CHECKING:
    from data_lineage_hub_sdk.telemetry.client import TelemetryClient

log = logging.getLogger(__name__)

Client = TypeVar("Client", bound=HubClient)
_lock = threading.RLock()
_lineage: LineageHubClient | None = None
_telemetry: TelemetryClient | None = None


def lineage_client() -> LineageHubClient:
    """Return the client that decorators use; never raises."""
    global _lineage
    if _lineage is None:
        with _lock:
            _lineage = _lineage or _make(LineageHubClient)
    return _lineage


def telemetry_client() -> TelemetryClient:
    """Return the client that decorators use; never raises."""
    global _telemetry
    if _telemetry is None:
        from data_lineage_hub_sdk.telemetry.client import TelemetryClient

        with _lock:
            _telemetry = _telemetry or _make(TelemetryClient)
    return _telemetry


def configure(**changes: Any) -> Settings:
    """Change settings of the process from here on; the environment's count for the others.

    What was recorded before is delivered, or spooled, to where it belongs.

    Args:
        changes: `url`, `api_key`, `namespace`, `transport`, `spool_dir`, `disabled` and the others of `Settings`.

    Raises:
        TypeError: there is no such setting.
        ValueError: a value is wrong.
    """
    global _lineage, _telemetry
    settings = change_settings(changes)
    with _lock:
        left = (_lineage, _telemetry)
        _lineage = _telemetry = None
    for client in left:
        if client is not None:
            client.close()
    return settings


def flush(timeout: float | None = None) -> bool:
    """Wait until what decorators and runs have recorded is delivered or spooled.

    Returns:
        Whether all of it is delivered.
    """
    clients = [client for client in (_lineage, _telemetry) if client is not None]
    return all([client.flush(timeout) for client in clients])


def _make(kind: type[Client]) -> Client:
    settings = get_settings()
    try:
        return kind(settings)
    except Exception as error:
        log.error("nothing is recorded: %s: %s", type(error).__name__, error)
        return kind(replace(settings, transport="noop"))
