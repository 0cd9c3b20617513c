"""Graphs of datasets and the jobs between them, as they are now.

Answers are plain dictionaries of the shapes in `metadata_service.schemas.lineage`: models would cost more than the
walk does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import Job
from metadata_service.problems import FieldError, NotFoundError, UnprocessableError
from metadata_service.repositories import datasets, lineage
from metadata_service.repositories.lineage import ColumnKey, Walk, Way
from metadata_service.schemas.lineage import Direction
from metadata_service.services import quality

Answer = dict[str, Any]


@dataclass(frozen=True)
class Reach:
    """How far a walk goes: which way, over how many hops, to how many nodes, and which neighbours to leave out."""

    direction: Direction
    depth: int
    max_nodes: int
    after: UUID | None = None

    @property
    def ways(self) -> list[Way]:
        """The directions to walk."""
        return ["upstream", "downstream"] if self.direction == "both" else [self.direction]


def around_dataset(session: Session, dataset_id: UUID, reach: Reach, columns: bool = True) -> Answer:
    """Return what lies upstream and downstream of a dataset."""
    start = canonical_id(session, dataset_id)
    found = walk_both(reach, lambda way, most: lineage.walk(session, start, way, reach.depth, most, after=reach.after))
    return {"dataset_id": str(start)} | describe_walk(reach) | draw(session, found, columns)


def around_job(session: Session, job_id: UUID, reach: Reach, columns: bool = True) -> Answer:
    """Return what lies upstream and downstream of a job."""
    require_job(session, job_id)

    def walk(way: Way, most: int) -> Walk:
        return lineage.walk(session, job_id, way, reach.depth, most, of_job=True, after=reach.after)

    return {"job_id": str(job_id)} | describe_walk(reach) | draw(session, walk_both(reach, walk), columns)


def around_column(session: Session, dataset_id: UUID, column: str, reach: Reach, after: str | None) -> Answer:
    """Return the columns that a column comes from and flows into."""
    start = canonical_id(session, dataset_id)
    resume = _column_key(after) if after else None
    keys: dict[ColumnKey, None] = {}
    ends: list[Answer] = []
    truncated = False
    for place, way in enumerate(reach.ways):
        most = _share(reach, place, len(keys))
        found, stopped = lineage.walk_columns(session, (start, column), way, reach.depth, most, resume)
        keys |= dict.fromkeys(found)
        truncated |= len(found) >= most and bool(stopped)
        ends += [
            {
                "dataset_id": end.key[0],
                "column": end.key[1],
                "direction": end.way,
                "after": end.after and "/".join(end.after),
            }
            for end in stopped
        ]
    edges = lineage.edges_between_columns(session, keys)
    if not edges and not has_column(session, start, column):
        raise NotFoundError("column", f"{column!r} of dataset {start}")
    return {
        "dataset_id": str(start),
        "column": column,
        **describe_walk(reach),
        "nodes": nodes(session, dict.fromkeys(id_ for id_, _ in keys), ()),
        "columns": [{"dataset_id": id_, "column": name} for id_, name in keys],
        "column_edges": [column_edge(edge) for edge in edges],
        "truncated": truncated,
        "frontier": ends,
    }


def everything(session: Session, limit: int) -> Answer:
    """Return the whole graph, at most `limit` edges of it. Jobs without datasets are no part of it."""
    found = draw(session, lineage.whole_graph(session, limit), True)
    del found["frontier"]
    return found


def canonical_id(session: Session, dataset_id: UUID) -> UUID:
    """Return the id of the dataset that this one stands for or is another name of; a deleted one counts."""
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    return dataset.id


def require_job(session: Session, job_id: UUID) -> Job:
    """Return a job; a deleted one counts."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError("job", job_id)
    return job


def has_column(session: Session, dataset_id: UUID, column: str) -> bool:
    """Return whether a dataset is known to have a column."""
    dataset = datasets.get_dataset(session, dataset_id)
    return dataset is not None and any(field["name"] == column for field in dataset.fields)


def describe_walk(reach: Reach, at: datetime | None = None) -> Answer:
    """Return what an answer says of how it was found."""
    return {"direction": reach.direction, "depth": reach.depth, "at": at}


def walk_both(reach: Reach, walk: Callable[[Way, int], Walk]) -> Walk:
    """Walk the ways that are asked for, and put together what is found."""
    found = Walk()
    for place, way in enumerate(reach.ways):
        one = walk(way, _share(reach, place, len(found)))
        found.datasets |= one.datasets
        found.jobs |= one.jobs
        found.open += one.open
        found.truncated |= one.truncated
    return found


def _share(reach: Reach, place: int, used: int) -> int:
    """Return how many nodes a walk may find with the one it starts from.

    Half of all for the first of two ways, what is left for the last.
    """
    if place == 0:
        return -(-reach.max_nodes // len(reach.ways))
    return max(reach.max_nodes - used + 1, 1)


def draw(session: Session, found: Walk, columns: bool) -> Answer:
    """Return nodes, edges and frontier of a walk."""
    edges = lineage.edges_between(session, found.datasets, found.jobs)
    return {
        "nodes": nodes(session, found.datasets, found.jobs),
        "edges": [{"source": source, "target": target} for source, target in edges],
        "column_edges": [column_edge(e) for e in lineage.column_edges(session, found.datasets)] if columns else [],
        "truncated": found.truncated,
        "frontier": frontier(found),
    }


def frontier(found: Walk) -> list[Answer]:
    """Return where a graph goes on beyond what was found."""
    return [
        {"id": end.id, "type": "job" if end.is_job else "dataset", "direction": end.way, "after": end.after}
        for end in found.open
    ]


def nodes(session: Session, dataset_ids: Iterable[str], job_ids: Iterable[str]) -> list[Answer]:
    """Return datasets and jobs as nodes, datasets first, by name."""
    rows = lineage.dataset_rows(session, dataset_ids)
    checked = [UUID(row[0]) for row in rows if row[8]]
    states = {str(id_): state.state for id_, state in quality.states(session, checked).items()} if checked else {}
    shown = [
        {
            "id": id_,
            "type": "dataset",
            "namespace": namespace,
            "name": name,
            "layer": layer,
            "kind": kind,
            "owner": owner,
            "tags": tags,
            "state": states.get(id_, "unknown"),
            "deleted": deleted,
        }
        for id_, namespace, name, layer, kind, owner, tags, deleted, _ in rows
    ]
    shown += [
        {
            "id": id_,
            "type": "job",
            "namespace": namespace,
            "name": name,
            "layer": None,
            "kind": integration,
            "owner": owner,
            "tags": [],
            "state": state,
            "deleted": deleted,
        }
        for id_, namespace, name, integration, owner, state, deleted in (
            lineage.job_rows(session, job_ids) if job_ids else ()
        )
    ]
    return sorted(shown, key=lambda node: (node["type"], node["namespace"], node["name"]))


def column_edge(edge: tuple[Any, ...]) -> Answer:
    """Return a row of `repositories.lineage.column_edges` as answers have it."""
    source, source_column, target, target_column, job, kind, subtype, description = edge
    return {
        "source": {"dataset_id": source, "column": source_column},
        "target": {"dataset_id": target, "column": target_column},
        "job_id": job,
        "type": kind,
        "subtype": subtype,
        "description": description,
    }


def _column_key(value: str) -> tuple[UUID, str]:
    id_, _, column = value.partition("/")
    try:
        return UUID(id_), column
    except ValueError:
        error = FieldError("after", "is no <dataset id>/<column>, as an answer's frontier has it")
        raise UnprocessableError("The request is not valid.", [error]) from None
