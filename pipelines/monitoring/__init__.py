"""How the platform is: readings of every service, disk, queue and backlog, each held against its limits.

`observe` takes all readings, `record` keeps them in `audit.platform_health`, `alerts_of` makes alerts of those that are
errors. A reading that can't be taken is an error itself, so one service that is away hides no other.
"""

from __future__ import annotations

from pipelines.monitoring.alerting import alerts_of
from pipelines.monitoring.model import Limits, Reading, Targets, graded
from pipelines.monitoring.observing import observe
from pipelines.monitoring.record import record

__all__ = ["Limits", "Reading", "Targets", "alerts_of", "graded", "observe", "record"]
