"""Graphs of datasets and the jobs between them, as they are now.

Answers are plain dictionaries of the shapes in `metadata_service.schemas.lineage`, with parts that are JSON already:
models of every node and edge would cost more than the walk does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from metadata_service.models import Job
from metadata_service.problems import FieldError, NotFoundError, UnprocessableError
from metadata_service.repositories import datasets, lineage
from metadata_service.repositories.lineage import Drawn, Reach

Answer = dict[str, Any]


def around_dataset(session: Session, dataset_id: UUID, reach: Reach, columns: bool = True) -> Answer:
    """Return what lies upstream and downstream of a dataset."""
    drawn = draw_around(session, dataset_id, reach, columns=columns)
    return {"dataset_id": drawn.start, **describe_walk(reach), **_graph(drawn), "frontier": drawn.frontier}


def around_job(session: Session, job_id: UUID, reach: Reach, columns: bool = True) -> Answer:
    """Return what lies upstream and downstream of a job."""
    drawn = draw_around(session, job_id, reach, of_job=True, columns=columns)
    return {"job_id": drawn.start, **describe_walk(reach), **_graph(drawn), "frontier": drawn.frontier}


def around_column(session: Session, dataset_id: UUID, column: str, reach: Reach, after: str | None) -> Answer:
    """Return the columns that a column comes from and flows into."""
    drawn = lineage.draw_around_column(session, dataset_id, column, reach, _column_key(after) if after else None)
    if drawn is None:
        raise NotFoundError("dataset", dataset_id)
    if bytes(drawn.column_edges) == b"[]":
        require_column(session, dataset_id, column)
    return {
        "dataset_id": drawn.start,
        "column": column,
        **describe_walk(reach),
        "nodes": drawn.nodes,
        "columns": drawn.columns,
        "column_edges": drawn.column_edges,
        "truncated": drawn.truncated,
        "frontier": drawn.frontier,
    }


def everything(session: Session, limit: int) -> Answer:
    """Return the whole graph, at most `limit` edges of it. Jobs without datasets are no part of it."""
    found, jobs, truncated = lineage.whole_graph(session, limit)
    return _graph(lineage.draw_between(session, found, jobs)) | {"truncated": truncated}


def draw_around(session: Session, start: UUID, reach: Reach, *, of_job: bool = False, columns: bool = True) -> Drawn:
    """Return the graph around a dataset or job.

    Raises:
        NotFoundError: there is no such thing; a deleted one keeps its place.
    """
    drawn = lineage.draw_around(session, start, reach, of_job=of_job, columns=columns)
    if drawn is None:
        raise NotFoundError("job" if of_job else "dataset", start)
    return drawn


def canonical_id(session: Session, dataset_id: UUID) -> str:
    """Return the id of the dataset that this one stands for or is another name of; a deleted one counts."""
    found = lineage.canonical_ids(session, [dataset_id])
    if not found:
        raise NotFoundError("dataset", dataset_id)
    return found[str(dataset_id)]


def require_job(session: Session, job_id: UUID) -> Job:
    """Return a job; a deleted one counts."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError("job", job_id)
    return job


def require_column(session: Session, dataset_id: UUID, column: str) -> None:
    """Raise NotFoundError unless a dataset is known to have a column."""
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None or all(field["name"] != column for field in dataset.fields):
        raise NotFoundError("column", f"{column!r} of dataset {dataset_id}")


def describe_walk(reach: Reach, at: datetime | None = None) -> Answer:
    """Return what an answer says of how it was found."""
    return {"direction": reach.direction, "depth": reach.depth, "at": at}


def _graph(drawn: Drawn) -> Answer:
    return {
        "nodes": drawn.nodes,
        "edges": drawn.edges,
        "column_edges": drawn.column_edges,
        "truncated": drawn.truncated,
    }


def nodes(session: Session, dataset_ids: Iterable[str], job_ids: Iterable[str]) -> list[Answer]:
    """Return datasets and jobs as nodes: datasets first, by name."""
    return decoded(lineage.draw_nodes(session, dataset_ids, job_ids).nodes)


def decoded(part: msgspec.Raw) -> list[Answer]:
    """Return a part of a graph as objects."""
    found: list[Answer] = msgspec.json.decode(part)
    return found


def column_edge(edge: tuple[Any, ...]) -> Answer:
    """Return (source dataset, column, target dataset, column, job, type, subtype, description) as answers have it."""
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
