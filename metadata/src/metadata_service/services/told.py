"""What events tell, put together by names: each part by a rule that does not depend on the order of events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from metadata_service.column_lineage import column_sources
from metadata_service.openlineage import (
    MAX_NAME_BYTES,
    MAX_RUN_ID_BYTES,
    AnyEvent,
    DatasetEvent,
    EventDataset,
    FacetMap,
    JobEvent,
    RunEvent,
    given,
)
from metadata_service.repositories.datasets import DatasetName, DatasetSeen
from metadata_service.repositories.jobs import JobName
from metadata_service.repositories.runs import TERMINAL_STATES, RunSeen
from metadata_service.repositories.schema_versions import SchemaSeen, columns_of
from metadata_service.services.quality import Asserted

STATES = {"START": "RUNNING", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
# Facets that tell what a dataset is. The others may tell what a run did with it, so they are kept with the run too.
LASTING_FACETS = frozenset(
    {"schema", "documentation", "ownership", "tags", "dataSource", "symlinks", "hierarchy", "datasetType", "storage"}
)

Side = Literal["input", "output"]
# ("job", job), ("run", run id), ("dataset" or "static", dataset), ("input" or "output", run id or job, dataset)
Owner = tuple[Any, ...]


class Told:
    """What a batch of events tells."""

    def __init__(self) -> None:
        self.jobs: dict[JobName, tuple[datetime, datetime]] = {}
        self.runs: dict[str, RunSeen] = {}
        self.datasets: dict[DatasetName, DatasetSeen] = {}
        # dataset, its other name, since when, whether only until that is written again
        self.claims: list[tuple[DatasetName, DatasetName, datetime, bool]] = []
        # the newest value of each facet; several where several have the same time
        self.facets: dict[tuple[Owner, str], tuple[datetime, list[dict[str, Any]]]] = {}
        self.run_datasets: set[tuple[str, Side, DatasetName]] = set()
        self.designs: list[tuple[JobName, datetime, list[tuple[Side, DatasetName]]]] = []
        self.assertions: list[Asserted] = []
        self.schemas: dict[tuple[DatasetName, bytes], SchemaSeen] = {}
        self.described: set[DatasetName] = set()
        """Datasets of DatasetEvents: these tell of column lineage without a job."""

    def add(self, event: AnyEvent, at: datetime) -> None:
        """Add what an event tells."""
        match event:
            case RunEvent():
                self._add_run(event, at)
            case JobEvent():
                self._add_job(event, at)
            case DatasetEvent():
                self._add_dataset(event, at)

    def _add_run(self, event: RunEvent, at: datetime) -> None:
        run_id, job = event.run.run_id, (event.job.namespace, event.job.name)
        run_facets, job_facets = given(event.run.facets), given(event.job.facets)
        self._see_job(job, at)
        relatives = _relatives(run_facets)
        for relative, relative_job in relatives.values():
            self._see_job(relative_job, at)
            if relative != run_id:
                self._see_run(RunSeen.at(relative, at, job=relative_job))
        state = STATES.get(event.event_type or "", "NEW")
        self._see_run(
            RunSeen.at(
                run_id,
                at,
                state=state,
                job=job,
                job_at=at,
                started_at=at if event.event_type == "START" else None,
                ended_at=at if state in TERMINAL_STATES else None,
                parent_run_id=relatives["parent"][0] if "parent" in relatives else None,
                root_run_id=relatives["root"][0] if "root" in relatives else None,
            )
        )
        self._add_facets(("run", run_id), run_facets, at)
        self._add_facets(("job", job), job_facets, at)
        for side, item in _sides(event):
            name = self._see_dataset(item, at, written=side == "output")
            self.run_datasets.add((run_id, side, name))
            self._add_sided_facets(side, run_id, item, at)
            self.assertions.append(Asserted(run_id, job_facets, name, item, at))

    def _add_job(self, event: JobEvent, at: datetime) -> None:
        job = (event.job.namespace, event.job.name)
        self._see_job(job, at)
        self._add_facets(("job", job), given(event.job.facets), at)
        edges = []
        for side, item in _sides(event):
            edges.append((side, self._see_dataset(item, at)))
            self._add_sided_facets(side, job, item, at)
        if edges:
            self.designs.append((job, at, edges))

    def _add_dataset(self, event: DatasetEvent, at: datetime) -> None:
        facets = given(event.dataset.facets)
        name = self._see_dataset(event.dataset, at, written="lifecycleStateChange" in facets)
        self._add_facets(("dataset", name), facets, at)
        if "columnLineage" in facets:
            self._add_facets(("static", name), {"columnLineage": facets["columnLineage"]}, at)
        self.described.add(name)
        self.assertions.append(Asserted(None, {}, name, event.dataset, at))

    def _see_job(self, job: JobName, at: datetime) -> None:
        first, last = self.jobs.get(job, (at, at))
        self.jobs[job] = (min(first, at), max(last, at))

    def _see_run(self, run: RunSeen) -> None:
        known = self.runs.get(run.id)
        if known is None:
            self.runs[run.id] = run
        else:
            known.absorb(run)

    def _see_name(self, name: DatasetName, at: datetime) -> DatasetSeen:
        return self.datasets.setdefault(name, DatasetSeen(at, at))

    def _see_dataset(self, item: EventDataset, at: datetime, *, written: bool = False) -> DatasetName:
        """Add a dataset, its other names and the sources of its columns."""
        name = (item.namespace, item.name)
        facets = item.facets or {}
        change = facets.get("lifecycleStateChange") or {}
        dropped = change.get("lifecycleStateChange") == "DROP"
        self._see_name(name, at).absorb(at, written=written and not dropped, dropped=dropped)
        identifiers = (facets.get("symlinks") or {}).get("identifiers")
        others = [(other, False) for other in identifiers] if isinstance(identifiers, list) else []
        if change.get("lifecycleStateChange") == "RENAME":
            others.append((change.get("previousIdentifier"), True))
        for other, until_written in others:
            alias = (dig(other, "namespace"), dig(other, "name"))
            if _usable(alias[0]) and _usable(alias[1]):
                self._see_name(alias, at).absorb(at)  # type: ignore[arg-type]
                self.claims.append((name, alias, at, until_written))  # type: ignore[arg-type]
        for _, source, _ in column_sources(facets.get("columnLineage") or {}):
            self._see_name(source, at).absorb(at)
        return name

    def _add_sided_facets(self, side: Side, by: str | JobName, item: EventDataset, at: datetime) -> None:
        """Add the facets of a dataset, and with the run (or job) those that tell what it did with it."""
        name, facets = (item.namespace, item.name), given(item.facets)
        self._add_facets(("dataset", name), facets, at)
        of_run = {key: facet for key, facet in facets.items() if key not in LASTING_FACETS}
        of_run |= given(item.input_facets if side == "input" else item.output_facets)
        self._add_facets((side, by, name), of_run, at)

    def _add_schema(self, name: DatasetName, facets: FacetMap, at: datetime) -> None:
        found = columns_of(facets["schema"].get("fields")) if "schema" in facets else None
        if found is not None:
            digest, columns = found
            self.schemas.setdefault((name, digest), SchemaSeen(columns, at, at)).absorb(at)

    def _add_facets(self, owner: Owner, facets: FacetMap, at: datetime) -> None:
        if owner[0] == "dataset":
            self._add_schema(owner[1], facets, at)
        for name, value in facets.items():
            key = (owner, name)
            known = self.facets.get(key)
            if known is None or known[0] < at:
                self.facets[key] = (at, [value])
            elif known[0] == at and value not in known[1]:
                known[1].append(value)


def _sides(event: RunEvent | JobEvent) -> Iterator[tuple[Side, EventDataset]]:
    for item in event.inputs or ():
        yield "input", item
    for item in event.outputs or ():
        yield "output", item


def _relatives(facets: FacetMap) -> dict[str, tuple[str, JobName]]:
    """Return (run id, job) of the parent and the root that a run's facets name."""
    parent = facets.get("parent") or facets.get("parentRun") or {}
    found = {}
    for role, where in (("parent", parent), ("root", parent.get("root"))):
        run_id = dig(where, "run", "runId")
        namespace, name = dig(where, "job", "namespace"), dig(where, "job", "name")
        if _usable(run_id, MAX_RUN_ID_BYTES) and _usable(namespace) and _usable(name):
            found[role] = (str(run_id), (str(namespace), str(name)))
    return found


def dig(value: object, *keys: str) -> object:
    """Return what lies under keys one within another, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _usable(value: object, limit: int = MAX_NAME_BYTES) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= limit
