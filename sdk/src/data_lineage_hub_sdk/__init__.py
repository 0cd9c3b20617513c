"""Lineage and telemetry for a team's own pipelines, in two lines.

    from data_lineage_hub_sdk import lineage_track

    @lineage_track(inputs=["s3://raw/orders/{day}"], outputs=["s3://lake/orders"])
    def load(day): ...

`docs/lineage-hub.md` of the platform is the guide. Importing this package costs next to nothing: what a name needs is
imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_lineage_hub_sdk.defaults import configure, flush
    from data_lineage_hub_sdk.lineage.client import LineageHubClient
    from data_lineage_hub_sdk.lineage.runs import Run, current_run
    from data_lineage_hub_sdk.lineage.track import lineage_run, lineage_track
    from data_lineage_hub_sdk.settings import Settings, get_settings
    from data_lineage_hub_sdk.telemetry.client import TelemetryClient
    from data_lineage_hub_sdk.telemetry.track import telemetry_track

__version__ = "0.2.0"
__all__ = [
    "LineageHubClient",
    "Run",
    "Settings",
    "TelemetryClient",
    "configure",
    "current_run",
    "flush",
    "get_settings",
    "lineage_run",
    "lineage_track",
    "telemetry_track",
]
_HOMES = {
    "LineageHubClient": "lineage.client",
    "Run": "lineage.runs",
    "Settings": "settings",
    "TelemetryClient": "telemetry.client",
    "configure": "defaults",
    "current_run": "lineage.runs",
    "flush": "defaults",
    "get_settings": "settings",
    "lineage_run": "lineage.track",
    "lineage_track": "lineage.track",
    "telemetry_track": "telemetry.track",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
