"""Walking the graph of current edges, one query a level. Datasets go by their canonical ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from metadata_service.models import ColumnEdge, Dataset, JobDataset

Way = Literal["upstream", "downstream"]
ColumnKey = tuple[UUID, str]  # dataset, column


@dataclass
class Graph:
    """Ids of the nodes and (source, target) pairs of ids."""

    datasets: set[UUID] = field(default_factory=set)
    jobs: set[UUID] = field(default_factory=set)
    edges: set[tuple[UUID, UUID]] = field(default_factory=set)
    truncated: bool = False


def walk(session: Session, start: UUID, way: Way, depth: int, max_nodes: int, graph: Graph) -> None:
    """Add to `graph` what lies up or down from a dataset, at most `depth` dataset-to-dataset hops away."""
    seen = {start}
    graph.datasets.add(start)
    frontier = {start}
    near, far = ("output", "input") if way == "upstream" else ("input", "output")
    visited_jobs: set[UUID] = set()
    for _ in range(depth):
        towards = _job_edges(session, near, datasets=frontier)
        _add_edges(graph, towards, near)
        jobs = {job for job, _ in towards} - visited_jobs
        visited_jobs |= jobs
        away = _job_edges(session, far, jobs=jobs)
        _add_edges(graph, away, far)
        direct = _direct_edges(session, way, frontier)
        graph.edges.update(direct)
        graph.jobs |= jobs
        reached = {dataset for _, dataset in away} | {pair[0 if way == "upstream" else 1] for pair in direct}
        frontier = reached - seen
        seen |= reached
        graph.datasets |= reached
        if len(graph.datasets) + len(graph.jobs) > max_nodes:
            graph.truncated = True
            return
        if not frontier:
            return


def neighbours(session: Session, datasets: set[UUID], way: Way) -> set[tuple[UUID, UUID]]:
    """Return (dataset, next dataset) for every dataset that is one hop up or down from one of these."""
    near, far = ("output", "input") if way == "upstream" else ("input", "output")
    towards = _job_edges(session, near, datasets=datasets)
    away: dict[UUID, set[UUID]] = {}
    for job, dataset in _job_edges(session, far, jobs={job for job, _ in towards}):
        away.setdefault(job, set()).add(dataset)
    found = {(dataset, other) for job, dataset in towards for other in away.get(job, ()) if other != dataset}
    for source, target in _direct_edges(session, way, datasets):
        found.add((target, source) if way == "upstream" else (source, target))
    return found


def whole_graph(session: Session, limit: int) -> Graph:
    """Return all current edges, at most `limit` of them."""
    graph = Graph()
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    query = (
        select(JobDataset.job_id, canonical, JobDataset.direction)
        .join(Dataset, Dataset.id == JobDataset.dataset_id)
        .order_by(JobDataset.job_id, JobDataset.direction, canonical)
        .limit(limit + 1)
    )
    rows = session.execute(query).all()
    graph.truncated = len(rows) > limit
    for job, dataset, direction in rows[:limit]:
        graph.jobs.add(job)
        graph.datasets.add(dataset)
        graph.edges.add((dataset, job) if direction == "input" else (job, dataset))
    direct = _direct_edges(session, "downstream", None)
    graph.edges |= direct
    graph.datasets |= {id_ for pair in direct for id_ in pair}
    return graph


def column_edges(session: Session, dataset_ids: Iterable[UUID]) -> list[tuple[UUID, UUID, ColumnEdge]]:
    """Return (source dataset, target dataset, edge) for every column edge between the datasets, in a stable order."""
    ids = list(dataset_ids)
    source, target = aliased(Dataset), aliased(Dataset)
    source_id, target_id = _canonical(source), _canonical(target)
    query = (
        select(source_id, target_id, ColumnEdge)
        .join(source, source.id == ColumnEdge.input_dataset_id)
        .join(target, target.id == ColumnEdge.dataset_id)
        .where(source_id.in_(ids), target_id.in_(ids))
        .order_by(target_id, ColumnEdge.field, source_id, ColumnEdge.input_field, ColumnEdge.type, ColumnEdge.subtype)
    )
    return [(a, b, edge) for a, b, edge in session.execute(query)]


def value_edges_into(session: Session, dataset_ids: Iterable[UUID]) -> list[tuple[ColumnKey, ColumnKey]]:
    """Return (source column, target column) of the edges by which values pass into these datasets.

    Those are the direct ones and those of unknown type, unless they mask what passes.
    """
    source, target = aliased(Dataset), aliased(Dataset)
    ids = list(dataset_ids)
    query = (
        select(_canonical(source), ColumnEdge.input_field, _canonical(target), ColumnEdge.field)
        .join(source, source.id == ColumnEdge.input_dataset_id)
        .join(target, target.id == ColumnEdge.dataset_id)
        .where(target.id.in_(ids) | target.canonical_id.in_(ids))
        .where(func.upper(func.coalesce(ColumnEdge.type, "DIRECT")) == "DIRECT", ~ColumnEdge.masking)
        .distinct()
    )
    return [((a, field_a), (b, field_b)) for a, field_a, b, field_b in session.execute(query)]


def _canonical(dataset: type[Dataset]) -> ColumnElement[UUID]:
    return func.coalesce(dataset.canonical_id, dataset.id)


def _job_edges(
    session: Session, direction: str, *, datasets: set[UUID] | None = None, jobs: set[UUID] | None = None
) -> set[tuple[UUID, UUID]]:
    """Return (job, canonical dataset) pairs of one direction, of these datasets or of these jobs."""
    query = (
        select(JobDataset.job_id, _canonical(Dataset))
        .join(Dataset, Dataset.id == JobDataset.dataset_id)
        .where(JobDataset.direction == direction)
    )
    if datasets is not None:
        query = query.where(Dataset.id.in_(datasets) | Dataset.canonical_id.in_(datasets))
    if jobs is not None:
        query = query.where(JobDataset.job_id.in_(jobs))
    return {(job, dataset) for job, dataset in session.execute(query)}


def _direct_edges(session: Session, way: Way, datasets: set[UUID] | None) -> set[tuple[UUID, UUID]]:
    """Return (source, target) of column edges that no job stands between."""
    source, target = aliased(Dataset), aliased(Dataset)
    source_id, target_id = _canonical(source), _canonical(target)
    query = (
        select(source_id, target_id)
        .join(ColumnEdge, ColumnEdge.input_dataset_id == source.id)
        .join(target, target.id == ColumnEdge.dataset_id)
        .where(ColumnEdge.job_id.is_(None), source_id != target_id)
        .distinct()
    )
    if datasets is not None:
        query = query.where((target_id if way == "upstream" else source_id).in_(datasets))
    return {(a, b) for a, b in session.execute(query)}


def _add_edges(graph: Graph, pairs: set[tuple[UUID, UUID]], direction: str) -> None:
    for job, dataset in pairs:
        graph.edges.add((dataset, job) if direction == "input" else (job, dataset))
