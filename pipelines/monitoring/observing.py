"""All readings, one after the other."""

from __future__ import annotations

import logging
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


def observe(targets: Targets, limits: Limits | None = None) -> list[Reading]:
    """Take every reading. Never raises: one that can't be taken is an error with its reason."""
    readings: list[Reading] = []
    for check, (component, look) in LOOKS.items():
        try:
            readings += look(targets, limits or Limits())
        except Exception as error:
            log.warning("%s could not be looked at", check, exc_info=True)
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            readings.append(Reading(component, check, "error", detail=reason))
    for item in readings:
        value = "" if item.value is None else f"{item.value:g} {item.unit}"
        log.info("%-6s %-26s %-14s %s", item.status, item.check, value, item.detail)
    return readings
