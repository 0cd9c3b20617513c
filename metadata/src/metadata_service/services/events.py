"""OpenLineage events into runs, jobs, datasets and edges.

The result depends on the set of events alone, not on their order or on how often each arrives. Rows are locked in the
order jobs, runs, datasets, each by name, so that events handled at the same time don't deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.openlineage import (
    MAX_NAME_BYTES,
    MAX_RUN_ID_BYTES,
    DatasetEvent,
    EventDataset,
    JobEvent,
    ParsedEvent,
    RunEvent,
)
from metadata_service.repositories import datasets, jobs, runs
from metadata_service.repositories.datasets import DatasetName
from metadata_service.repositories.events import save_event
from metadata_service.repositories.facets import FacetOwner, load_facets, save_facets
from metadata_service.repositories.runs import TERMINAL_STATES, RunSeen
from metadata_service.services import quality
from metadata_service.services.projection import PROJECTED_FACETS, project

STATES = {"START": "RUNNING", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
# Facets that tell what a dataset is. The others may tell what a run did with it, so they are kept with the run too.
LASTING_FACETS = frozenset(
    {"schema", "documentation", "ownership", "tags", "dataSource", "symlinks", "hierarchy", "datasetType", "storage"}
)

FacetValues = dict[FacetOwner, dict[str, dict[str, Any]]]
Sided = list[tuple[Literal["input", "output"], EventDataset]]


def record_event(session: Session, parsed: ParsedEvent) -> bool:
    """Store an event and what it tells; return False, changing nothing, if it is stored already."""
    if not save_event(session, parsed):
        return False
    match parsed.event:
        case RunEvent() as event:
            _record_run(session, event)
        case JobEvent() as event:
            _record_job(session, event)
        case DatasetEvent() as event:
            _record_dataset(session, event)
    return True


def _record_run(session: Session, event: RunEvent) -> None:
    at = event.event_time
    own_job = (event.job.namespace, event.job.name)
    relatives = _relatives(event.run.facets)
    job_ids = jobs.upsert_jobs(session, {own_job: at} | {job: at for _, job in relatives.values()})
    run_id = event.run.run_id
    state = STATES.get(event.event_type or "", "NEW")
    seen = {
        relative: RunSeen(relative, at, job_id=job_ids[job], job_is_hint=True)
        for relative, job in relatives.values()
        if relative != run_id
    }
    seen[run_id] = RunSeen(
        run_id,
        at,
        state=state,
        job_id=job_ids[own_job],
        started_at=at if event.event_type == "START" else None,
        ended_at=at if state in TERMINAL_STATES else None,
        parent_run_id=relatives["parent"][0] if "parent" in relatives else None,
        root_run_id=relatives["root"][0] if "root" in relatives else None,
    )
    runs.upsert_runs(session, list(seen.values()))

    sides: Sided = [("input", item) for item in event.inputs]
    sides += [("output", item) for item in event.outputs]
    ids = _save_datasets(session, [item for _, item in sides], at)
    facets: FacetValues = {FacetOwner("run", run_id): event.run.facets}
    facets[FacetOwner("job", str(job_ids[own_job]))] = event.job.facets
    _save_sided_facets(session, run_id, sides, ids, facets, at)
    runs.save_run_datasets(session, run_id, [(side, ids[_name(item)]) for side, item in sides])
    for _, item in sides:
        quality.save_assertions(session, run_id, event.job.facets, ids[_name(item)], item, at)
    if sides or state in TERMINAL_STATES:
        jobs.refresh_run_edges(session, job_ids[own_job])
        _refresh_column_edges(session, job_ids[own_job])


def _record_job(session: Session, event: JobEvent) -> None:
    at = event.event_time
    name = (event.job.namespace, event.job.name)
    job_id = jobs.upsert_jobs(session, {name: at})[name]
    sides: Sided = [("input", item) for item in event.inputs]
    sides += [("output", item) for item in event.outputs]
    ids = _save_datasets(session, [item for _, item in sides], at)
    _save_sided_facets(session, str(job_id), sides, ids, {FacetOwner("job", str(job_id)): event.job.facets}, at)
    edges = [(side, ids[_name(item)]) for side, item in sides]
    if edges and jobs.save_design_edges(session, job_id, edges, at):
        _refresh_column_edges(session, job_id)


def _record_dataset(session: Session, event: DatasetEvent) -> None:
    dataset = event.dataset
    ids = _save_datasets(session, [dataset], event.event_time)
    dataset_id = ids[_name(dataset)]
    save_facets(session, {FacetOwner("dataset", str(dataset_id)): dataset.facets}, event.event_time)
    project(session, [dataset_id])
    quality.save_assertions(session, None, {}, dataset_id, dataset, event.event_time)
    facet = load_facets(session, "dataset", [str(dataset_id)], ["columnLineage"]).get(str(dataset_id), {})
    edges = _column_edges(session, None, {dataset_id: facet.get("columnLineage", {})})
    jobs.replace_column_edges(session, None, [dataset_id], edges)


def _name(dataset: EventDataset) -> DatasetName:
    return dataset.namespace, dataset.name


def _relatives(facets: dict[str, dict[str, Any]]) -> dict[str, tuple[str, jobs.JobName]]:
    """Return (run id, job) of the parent and the root that a run's facets name."""
    parent = facets.get("parent") or facets.get("parentRun") or {}
    found = {}
    for role, where in (("parent", parent), ("root", parent.get("root"))):
        run_id = _dig(where, "run", "runId")
        namespace, name = _dig(where, "job", "namespace"), _dig(where, "job", "name")
        if _usable(run_id, MAX_RUN_ID_BYTES) and _usable(namespace, MAX_NAME_BYTES) and _usable(name, MAX_NAME_BYTES):
            found[role] = (str(run_id), (str(namespace), str(name)))
    return found


def _dig(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _usable(value: object, limit: int) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= limit


def _save_datasets(session: Session, found: Iterable[EventDataset], at: datetime) -> dict[DatasetName, UUID]:
    """Make sure that the datasets, their other names and the sources of their columns exist."""
    found = list(found)
    seen = {_name(dataset) for dataset in found}
    aliases = {(_name(dataset), alias) for dataset in found for alias in _symlinks(dataset)}
    seen |= {alias for _, alias in aliases}
    for dataset in found:
        seen |= {source for _, source, _ in _column_sources(dataset.facets.get("columnLineage", {}))}
    ids = datasets.upsert_datasets(session, dict.fromkeys(seen, at))
    for name, alias in sorted(aliases):
        datasets.claim_alias(session, ids[name], ids[alias], at)
    return ids


def _symlinks(dataset: EventDataset) -> Iterator[DatasetName]:
    identifiers = dataset.facets.get("symlinks", {}).get("identifiers")
    for item in identifiers if isinstance(identifiers, list) else []:
        namespace, name = _dig(item, "namespace"), _dig(item, "name")
        if _usable(namespace, MAX_NAME_BYTES) and _usable(name, MAX_NAME_BYTES):
            yield str(namespace), str(name)


def _save_sided_facets(
    session: Session, owner: str, sides: Sided, ids: dict[DatasetName, UUID], facets: FacetValues, at: datetime
) -> None:
    """Store the facets of datasets, and with the run (or job) those that tell what it did with them."""
    described = set()
    for side, item in sides:
        dataset_id = ids[_name(item)]
        if not PROJECTED_FACETS.isdisjoint(item.facets):
            described.add(dataset_id)
        facets.setdefault(FacetOwner("dataset", str(dataset_id)), {}).update(item.facets)
        of_run = {name: facet for name, facet in item.facets.items() if name not in LASTING_FACETS}
        of_run |= item.input_facets if side == "input" else item.output_facets
        facets.setdefault(FacetOwner(side, f"{owner}/{dataset_id}"), {}).update(of_run)
    save_facets(session, facets, at)
    project(session, described)


def _refresh_column_edges(session: Session, job_id: UUID) -> None:
    """Derive a job's column edges from the columnLineage facets of its current outputs."""
    lineage = jobs.current_column_lineage(session, job_id)
    jobs.replace_column_edges(session, job_id, [], _column_edges(session, job_id, lineage))


def _column_edges(
    session: Session, job_id: UUID | None, lineage: dict[UUID, dict[str, Any]]
) -> list[dict[str, object]]:
    sources = [
        (dataset_id, field, source, item)
        for dataset_id, facet in lineage.items()
        for field, source, item in _column_sources(facet)
    ]
    ids = jobs.ids_by_name(session, {source for _, _, source, _ in sources}) if sources else {}
    edges: dict[tuple[object, ...], dict[str, object]] = {}
    for dataset_id, field, source, item in sources:
        transformations = item.get("transformations")
        for how in transformations if isinstance(transformations, list) and transformations else [{}]:
            edge = {
                "job_id": job_id,
                "dataset_id": dataset_id,
                "field": field,
                "input_dataset_id": ids[source],
                "input_field": item["field"],
                **{key: str(_dig(how, key)) if _dig(how, key) else None for key in ("type", "subtype", "description")},
                "masking": _dig(how, "masking") is True,
            }
            edges[tuple(edge.values())] = edge
    return list(edges.values())


def _column_sources(facet: dict[str, Any]) -> Iterator[tuple[str, DatasetName, dict[str, Any]]]:
    """Yield (column, source dataset, input field) of a columnLineage facet; what can't be used is passed over."""
    fields = facet.get("fields")
    for field, value in fields.items() if isinstance(fields, dict) else ():
        inputs = _dig(value, "inputFields")
        for item in inputs if isinstance(inputs, list) else []:
            names = [_dig(item, key) for key in ("namespace", "name", "field")]
            if all(_usable(name, MAX_NAME_BYTES) for name in (*names, field)):
                yield field, (item["namespace"], item["name"]), item
