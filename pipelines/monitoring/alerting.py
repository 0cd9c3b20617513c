"""Alerts of readings that are errors."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.alerts import Alert
from pipelines.monitoring.model import Reading


def alerts_of(readings: Iterable[Reading], owner: str, run_id: str = "", link: str = "") -> list[Alert]:
    """Return an alert for each reading that is an error; each check is a matter of its own."""
    return [
        Alert(subject=item.check, stage="health", reason=_reason(item), owner=owner, run_id=run_id, link=link)
        for item in readings
        if item.status == "error"
    ]


def _reason(item: Reading) -> str:
    if item.value is None:
        return item.detail or "it does not answer"
    limit = f" (an error from {item.threshold:g} {item.unit} on)" if item.threshold is not None else ""
    return f"{item.value:g} {item.unit}{limit}" + (f": {item.detail}" if item.detail else "")
