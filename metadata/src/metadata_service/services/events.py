"""OpenLineage events into runs, jobs, datasets and edges, many at a time.

The result depends on the set of events alone, not on their order, on how often each arrives or on how they fall into
batches: what a batch tells is put together first (`Told`), each part by a rule that has no order, and then merged into
what is known by the same rules. Rows are locked in the order jobs, runs, datasets, each by name, so that those who
write at the same time don't deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from metadata_service.column_lineage import column_sources, transformations
from metadata_service.openlineage import check_event
from metadata_service.repositories import aliases, datasets, jobs, quality_state, runs
from metadata_service.repositories.aliases import Claim
from metadata_service.repositories.bulk import ids_by_name
from metadata_service.repositories.datasets import DatasetName
from metadata_service.repositories.events import Stored
from metadata_service.repositories.facets import FacetKey, FacetOwner, load_facets, save_facets
from metadata_service.repositories.jobs import ColumnFlow, JobName
from metadata_service.repositories.schema_versions import save_versions
from metadata_service.services import quality
from metadata_service.services.projection import PROJECTED_FACETS, project
from metadata_service.services.told import Told

DIRECTIONS = ("input", "output")


def project_events(session: Session, batch: Sequence[Stored]) -> None:
    """Bring the graph up to date with events. Those that were projected before change nothing."""
    told = Told()
    for stored in batch:
        told.add(*check_event(msgspec.json.decode(stored.payload)))
    job_ids = jobs.merge_jobs(session, told.jobs)
    jobs_before = runs.jobs_of_runs(session, told.runs)
    runs.merge_runs(session, told.runs.values(), job_ids)
    ids = datasets.merge_datasets(session, told.datasets)
    affected = _claim_names(session, told, ids)
    changed = _save_facets(session, told, job_ids, ids)
    project(session, affected | changed)
    save_versions(session, ((ids[name], digest, seen) for (name, digest), seen in told.schemas.items()))
    runs.save_run_datasets(session, ((run, side, ids[name]) for run, side, name in told.run_datasets))
    quality.save_assertions(session, told.assertions, ids)
    _refresh_edges(session, told, jobs_before, job_ids, ids)
    asserted = {ids[item.name] for item in told.assertions if item.run_id is None}
    quality_state.refresh(session, told.runs, affected | asserted)


def _claim_names(session: Session, told: Told, ids: Mapping[DatasetName, UUID]) -> set[UUID]:
    claims = [Claim(ids[old], ids[name], name, at, until) for name, old, at, until in told.claims]
    written = [ids[name] for name, seen in told.datasets.items() if seen.written]
    return aliases.claim(session, claims, written)


def _save_facets(
    session: Session, told: Told, job_ids: Mapping[JobName, UUID], ids: Mapping[DatasetName, UUID]
) -> set[UUID]:
    """Store the facets that a batch tells; return the datasets that show something else now."""

    def owner_id(owner: Any) -> str:
        match owner:
            case ("job", name):
                return str(job_ids[name])
            case ("run", run_id):
                return str(run_id)
            case ("dataset" | "static", name):
                return str(ids[name])
            case (_, by, name):  # an input or output of a run, or of a job
                return f"{by if isinstance(by, str) else job_ids[by]}/{ids[name]}"
        raise TypeError(owner)

    changed: set[UUID] = set()
    layers: list[dict[FacetKey, Any]] = []
    for (owner, facet), (at, values) in told.facets.items():
        key = (FacetOwner(owner[0], owner_id(owner)), facet)
        for number, value in enumerate(values):  # of the same time: the store decides between them
            if number == len(layers):
                layers.append({})
            layers[number][key] = (at, value)
    for layer in layers:
        changed |= save_facets(session, layer, PROJECTED_FACETS)
    return changed


def _refresh_edges(
    session: Session,
    told: Told,
    jobs_before: Mapping[str, UUID],
    job_ids: Mapping[JobName, UUID],
    ids: Mapping[DatasetName, UUID],
) -> None:
    """Derive again the edges of the jobs, and of the datasets, that a batch tells of."""
    pairs = runs.directions_of_jobs(session, told.runs)
    jobs_now = runs.jobs_of_runs(session, jobs_before)
    left = {job for run, job in jobs_before.items() if jobs_now.get(run) != job}
    pairs |= {(job, direction) for job in left for direction in DIRECTIONS}
    jobs.refresh_run_edges(session, pairs)
    with_columns = {job for job, direction in pairs if direction == "output"}
    for name, at, sides in told.designs:
        if jobs.save_design_edges(session, job_ids[name], [(side, ids[dataset]) for side, dataset in sides], at):
            with_columns.add(job_ids[name])
    refresh_column_edges(session, with_columns, {ids[name] for name in told.described})


def refresh_column_edges(session: Session, job_ids: Iterable[UUID], dataset_ids: Iterable[UUID] = ()) -> None:
    """Derive the column edges of jobs from the facets of their current outputs, those of datasets from their own."""
    job_ids, dataset_ids = list(job_ids), list(dataset_ids)
    lineage: dict[tuple[UUID | None, UUID], dict[str, Any]] = {}
    lineage.update(jobs.current_column_lineage(session, job_ids).items())
    static = load_facets(session, "static", map(str, dataset_ids), ["columnLineage"]) if dataset_ids else {}
    lineage |= {(None, UUID(owner)): facets["columnLineage"] for owner, facets in static.items()}
    sources = [
        (job_id, dataset_id, field, source, item)
        for (job_id, dataset_id), facet in lineage.items()
        for field, source, item in column_sources(facet)
    ]
    ids = ids_by_name(session, "dataset", {source for *_, source, _ in sources})
    flows = set()
    for job_id, dataset_id, field, source, item in sources:
        for how in transformations(item):
            flows.add(ColumnFlow(job_id, dataset_id, field, ids[source], item["field"], *how))
    jobs.replace_column_edges(session, flows, jobs=job_ids, datasets=dataset_ids)
