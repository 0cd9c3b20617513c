"""Events for benchmarks: runs of a thousand jobs, each reading two tables and writing one, with their columns."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

JOBS = 1000
LINKED_NAMESPACE = "bench"
_PRODUCER = "https://example.org/pipelines"
_FACETS = "https://openlineage.io/spec/facets/1-0-0"


def event(number: int) -> dict[str, Any]:
    """Return the event of a number; each is the COMPLETE of a run of its own, of 2.4 KB."""
    chance = random.Random(number)  # noqa: S311  reproducible, not secret
    job = number % JOBS
    day, hour, minute, second = 1 + number // 86_400 % 28, number // 3600 % 24, number // 60 % 60, number % 60
    time = f"2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{number % 1000:03}Z"
    return {
        "eventType": "COMPLETE",
        "eventTime": time,
        "producer": _PRODUCER,
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {
            "runId": str(UUID(int=chance.getrandbits(128), version=4)),
            "facets": {"nominalTime": _facet("NominalTimeRunFacet", nominalStartTime="2026-01-01T00:00:00Z")},
        },
        "job": {
            "namespace": "bench",
            "name": f"job_{job}",
            "facets": {"sql": _facet("SQLJobFacet", query=f"INSERT INTO table_{JOBS + job} SELECT * FROM table_{job}")},
        },
        "inputs": [_table(job), _table(job * 7 % JOBS)],
        "outputs": [_table(JOBS + job)],
    }


def linked_event(number: int) -> dict[str, Any]:
    """Return the event of a number, in a graph in which each job's output is read by jobs further on."""
    made = event(number)
    job = number % JOBS
    for side, numbers in (("inputs", (job, job * 7 % (job + 1))), ("outputs", (job + 50,))):
        made[side] = [_table(n) | {"namespace": LINKED_NAMESPACE, "name": f"table_{n}"} for n in numbers]
    return made


def _table(number: int) -> dict[str, Any]:
    fields = [{"name": f"column_{column}", "type": "varchar"} for column in range(8)]
    return {
        "namespace": "postgres://db.example.org:5432",
        "name": f"warehouse.staging.table_{number}",
        "facets": {"schema": _facet("SchemaDatasetFacet", fields=fields)},
    }


def _facet(kind: str, **values: Any) -> dict[str, Any]:
    return {"_producer": _PRODUCER, "_schemaURL": f"{_FACETS}/{kind}.json", **values}
