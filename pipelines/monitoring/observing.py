"""All readings, one after the other, and those that failed once more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from pipelines.monitoring import services, work
from pipelines.monitoring.model import Limits, Reading, Targets

log = logging.getLogger(__name__)

Look = Callable[[Targets, Limits], Iterator[Reading]]
# What a look is called where it can't be taken: the reading that is missed most.
LOOKS: Mapping[str, tuple[str, Look]] = {
    "airflow api-server": ("airflow", services.airflow),
    "tasks in the queue": ("airflow", work.queue),
    "metadata service": ("metadata", services.metadata),
    "superset": ("superset", services.superset),
    "object store": ("object store", services.object_store),
    "postgres": ("postgres", services.postgres),
    "files waiting": ("ingestion", work.backlog),
    "files failed in a day": ("ingestion", work.failures),
    "lineage events waiting": ("metadata", work.spool),
    "disk": ("host", work.disk),
}


# Seconds before looks that failed are taken again: a service that restarts is no alert.
PAUSES = (5.0, 15.0, 20.0)


def observe(targets: Targets, limits: Limits | None = None) -> list[Reading]:
    """Take every reading. Never raises: one that can't be taken, also a little later, is an error with its reason."""
    readings: list[Reading] = []
    left, pauses = dict(LOOKS), iter(PAUSES)
    while True:
        failed: dict[str, str] = {}
        for check, (_, look) in left.items():
            try:
                readings += list(look(targets, limits or Limits()))
            except Exception as error:
                failed[check] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        left = {check: left[check] for check in failed}
        pause = next(pauses, None)
        if not failed or pause is None:
            break
        log.info("%s: looking again in %g s", ", ".join(failed), pause)
        time.sleep(pause)
    readings += [Reading(left[check][0], check, "error", detail=reason) for check, reason in failed.items()]
    for item in readings:
        value = "" if item.value is None else f"{item.value:g} {item.unit}"
        log.info("%-6s %-26s %-14s %s", item.status, item.check, value, item.detail)
    return readings
