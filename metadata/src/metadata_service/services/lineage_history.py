"""The graph as it was at a time, and what became of it between two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.column_lineage import column_sources, transformations
from metadata_service.repositories import lineage as current
from metadata_service.repositories import lineage_history as history
from metadata_service.repositories.bulk import ids_by_name
from metadata_service.repositories.lineage import FIRST, Reach, Way
from metadata_service.repositories.lineage_history import EdgeThen
from metadata_service.services import lineage
from metadata_service.services.lineage import Answer

ColumnKey = tuple[str, str]  # dataset id, column
ColumnEdge = tuple[Any, ...]  # source dataset, column, target dataset, column, job, type, subtype, description


@dataclass(frozen=True)
class OpenEnd:
    """A node at which a walk stopped though the graph goes on; `after`: the neighbours up to this id are known."""

    id: str
    is_job: bool
    way: Way
    after: str | None


@dataclass
class Walk:
    """The ids of what a walk reached, nearest first, and where it stopped before the end."""

    datasets: dict[str, None] = field(default_factory=dict)
    jobs: dict[str, None] = field(default_factory=dict)
    open: list[OpenEnd] = field(default_factory=list)
    truncated: bool = False

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.datasets) + len(self.jobs)

    def add(self, other: Walk) -> None:
        """Add what another walk found."""
        self.datasets |= other.datasets
        self.jobs |= other.jobs
        self.open += other.open
        self.truncated |= other.truncated


@dataclass
class Then:
    """A graph at a time: what a walk reached, the edges of its jobs, and the column edges without a job."""

    found: Walk
    edges: dict[EdgeThen, None] = field(default_factory=dict)
    direct: dict[ColumnEdge, None] = field(default_factory=dict)

    def pairs(self) -> list[tuple[str, str]]:
        """Return (source, target) of the edges between the nodes of the graph."""
        pairs = {edge.ends for edge in self.edges if edge.dataset in self.found.datasets}
        pairs |= {(edge[0], edge[2]) for edge in self._inner_direct() if edge[0] != edge[2]}
        return sorted(pairs)

    def column_edges(self, session: Session) -> list[ColumnEdge]:
        """Return the column edges between the datasets of the graph."""
        found = dict.fromkeys(self._inner_direct())
        found |= dict.fromkeys(_told_columns(session, [e for e in self.edges if e.direction == "output"]))
        inner = [edge for edge in found if edge[0] in self.found.datasets and edge[2] in self.found.datasets]
        return sorted(inner, key=lambda edge: [part or "" for part in (edge[2], edge[3], *edge[:2], *edge[4:])])

    def _inner_direct(self) -> Iterable[ColumnEdge]:
        return [e for e in self.direct if e[0] in self.found.datasets and e[2] in self.found.datasets]


def around_dataset(session: Session, dataset_id: UUID, reach: Reach, at: datetime, columns: bool) -> Answer:
    """Return what lay upstream and downstream of a dataset at a time."""
    start = lineage.canonical_id(session, dataset_id)
    then = _walk_both(session, start, reach, at, of_job=False)
    return {"dataset_id": start} | lineage.describe_walk(reach, at) | _draw(session, then, columns)


def around_job(session: Session, job_id: UUID, reach: Reach, at: datetime, columns: bool) -> Answer:
    """Return what lay upstream and downstream of a job at a time."""
    lineage.require_job(session, job_id)
    then = _walk_both(session, str(job_id), reach, at, of_job=True)
    return {"job_id": str(job_id)} | lineage.describe_walk(reach, at) | _draw(session, then, columns)


def around_column(session: Session, dataset_id: UUID, column: str, reach: Reach, at: datetime) -> Answer:
    """Return the columns that a column came from and flowed into at a time.

    They are looked for among the columns of the datasets around its own.
    """
    start = lineage.canonical_id(session, dataset_id)
    then = _walk_both(session, start, reach, at, of_job=False)
    edges = then.column_edges(session)
    keys: dict[ColumnKey, None] = {}
    for way in reach.ways:
        keys |= dict.fromkeys(_follow(edges, (start, column), way, reach.depth))
    inner = [edge for edge in edges if (edge[0], edge[1]) in keys and (edge[2], edge[3]) in keys]
    return {
        "dataset_id": start,
        "column": column,
        **lineage.describe_walk(reach, at),
        "nodes": lineage.nodes(session, dict.fromkeys(id_ for id_, _ in keys), ()),
        "columns": [{"dataset_id": id_, "column": name} for id_, name in keys],
        "column_edges": [lineage.column_edge(edge) for edge in inner],
        "truncated": then.found.truncated,
        "frontier": [],
    }


def changes(
    session: Session, start: UUID, reach: Reach, since: datetime, until: datetime, *, of_job: bool
) -> dict[str, Any]:
    """Return the nodes and edges that came and went around a node between two times."""
    node = str(lineage.require_job(session, start).id) if of_job else lineage.canonical_id(session, start)
    before = _walk_both(session, node, reach, since, of_job=of_job)
    after = _walk_both(session, node, reach, until, of_job=of_job)
    return {
        "direction": reach.direction,
        "depth": reach.depth,
        "since": since,
        "until": until,
        "added": _difference(session, after, before),
        "removed": _difference(session, before, after),
        "truncated": before.found.truncated or after.found.truncated,
    }


def _draw(session: Session, then: Then, columns: bool) -> Answer:
    return {
        "nodes": lineage.nodes(session, then.found.datasets, then.found.jobs),
        "edges": [{"source": source, "target": target} for source, target in then.pairs()],
        "column_edges": [lineage.column_edge(edge) for edge in then.column_edges(session)] if columns else [],
        "truncated": then.found.truncated,
        "frontier": [
            {"id": end.id, "type": "job" if end.is_job else "dataset", "direction": end.way, "after": end.after}
            for end in then.found.open
        ],
    }


def _difference(session: Session, one: Then, other: Then) -> Answer:
    gone = set(other.pairs())
    known = set(other.column_edges(session))
    return {
        "nodes": lineage.nodes(
            session,
            [id_ for id_ in one.found.datasets if id_ not in other.found.datasets],
            [id_ for id_ in one.found.jobs if id_ not in other.found.jobs],
        ),
        "edges": [{"source": a, "target": b} for a, b in one.pairs() if (a, b) not in gone],
        "column_edges": [lineage.column_edge(edge) for edge in one.column_edges(session) if edge not in known],
    }


def _walk_both(session: Session, start: str, reach: Reach, at: datetime, *, of_job: bool) -> Then:
    at = at.astimezone(UTC)
    then = Then(Walk())
    for place, way in enumerate(reach.ways):
        most = reach.share(place, len(then.found))
        then.found.add(_walk(session, start, way, reach, most, at, then, of_job=of_job))
    return then


def _walk(
    session: Session, start: str, way: Way, reach: Reach, most: int, at: datetime, then: Then, *, of_job: bool
) -> Walk:
    """Walk as `repositories.lineage.walk` does, over the edges at a time, which are added to `then`."""
    found = Walk(datasets={} if of_job else {start: None}, jobs={start: None} if of_job else {})
    far = "input" if way == "upstream" else "output"
    beyond = reach.after or FIRST
    leaving, passing = list(found.datasets), list(found.jobs)
    for _ in range(reach.depth):
        reached: dict[str, None] = {}
        if leaving:
            room = max(most - len(found), 0)
            near = history.jobs_near(session, leaving, way, at, beyond, found.jobs, room + 1)
            passing = [job for job, _ in near[:room]]
            found.jobs |= dict.fromkeys(passing)
            if len(near) > room:
                cut = passing[-1] if passing else str(beyond)
                found.open += [OpenEnd(id_, False, way, cut) for id_ in leaving]
                found.open += [OpenEnd(id_, True, way, None) for id_ in passing]
                _keep(then, history.edges_of_jobs(session, passing, at), found)
                break
            direct = history.direct_edges(session, leaving, way, at)
            then.direct |= dict.fromkeys(direct)
            reached = {edge[0 if way == "upstream" else 2]: None for edge in direct}
        edges = history.edges_of_jobs(session, passing, at) if passing else []
        _keep(then, edges, found)
        away = [e for e in edges if e.direction == far and e.dataset not in found.datasets]
        reached |= dict.fromkeys(edge.dataset for edge in away)
        wanted = {id_ for id_ in reached if id_ not in found.datasets and (not of_job or id_ > str(beyond))}
        new, last = _nearest(wanted, most - len(found))
        found.datasets |= dict.fromkeys(new)
        if last is not None:
            found.open += [OpenEnd(id_, True, way, last) for id_ in sorted({e.job for e in away if e.dataset > last})]
            break
        leaving, passing, beyond = new, [], FIRST
        if not leaving:
            break
    found.truncated = bool(found.open)
    return found


def _keep(then: Then, edges: Iterable[EdgeThen], found: Walk) -> None:
    then.edges |= dict.fromkeys(edge for edge in edges if edge.job in found.jobs)


def _nearest(ids: set[str], room: int) -> tuple[list[str], str | None]:
    """Return the first ids that there is room for, and the last of them if there are more."""
    ordered = sorted(ids)
    if len(ordered) <= room:
        return ordered, None
    kept = ordered[: max(room, 0)]
    return kept, kept[-1] if kept else ""


def _told_columns(session: Session, outputs: list[EdgeThen]) -> list[ColumnEdge]:
    """Return the column edges that the outputs of jobs had."""
    keys = {str(place): edge for place, edge in enumerate(outputs)}
    facets = history.column_lineage(
        session, ((f"{edge.run_id or edge.job}/{edge.told}", key) for key, edge in keys.items())
    )
    told = [(keys[key], *item) for key, facet in facets for item in column_sources(facet)]
    ids = ids_by_name(session, "dataset", {source for _, _, source, _ in told})
    roots = current.canonical_ids(session, ids.values())
    edges: dict[ColumnEdge, None] = {}
    for output, column, source, item in told:
        if source not in ids:
            continue
        for how in transformations(item):
            kinds = how.type, how.subtype, how.description
            edges[roots[str(ids[source])], item["field"], output.dataset, column, output.job, *kinds] = None
    return list(edges)


def _follow(edges: list[ColumnEdge], start: ColumnKey, way: Way, depth: int) -> list[ColumnKey]:
    """Return the columns up or down from one along edges, nearest first."""
    near: dict[ColumnKey, list[ColumnKey]] = {}
    for edge in edges:
        source, target = (edge[0], edge[1]), (edge[2], edge[3])
        near.setdefault(target if way == "upstream" else source, []).append(source if way == "upstream" else target)
    seen = {start: None}
    frontier = [start]
    for _ in range(depth):
        frontier = sorted({other for key in frontier for other in near.get(key, ()) if other not in seen})
        seen |= dict.fromkeys(frontier)
    return list(seen)
