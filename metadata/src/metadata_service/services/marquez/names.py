"""Node ids (`dataset:<namespace>:<name>`, `job:…`, `datasetField:…:<field>`) and versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job
from metadata_service.problems import FieldError, NotFoundError, UnprocessableError
from metadata_service.repositories import datasets
from metadata_service.repositories.bulk import ids_by_name

VERSIONS = UUID("0c0f5d1e-9a55-5a0c-8a5b-6f5b1b9c7a11")
_KINDS: dict[str, Literal["dataset", "job", "field"]] = {"dataset": "dataset", "job": "job", "datasetField": "field"}


@dataclass(frozen=True)
class Node:
    """What a node id stands for. `version` stands after `#`; `field` of a datasetField only."""

    kind: Literal["dataset", "job", "field"]
    id: UUID
    field: str | None = None
    version: str | None = None


def find_node(session: Session, node_id: str) -> Node:
    """Return what a node id stands for. Names may hold colons, and may be percent-encoded.

    Raises:
        UnprocessableError: it is no node id.
        NotFoundError: there is no such dataset, field or job.
    """
    prefix, _, rest = node_id.partition(":")
    kind = _KINDS.get(prefix)
    if kind is None or ":" not in rest:
        error = FieldError("nodeId", "is no dataset:<namespace>:<name>, datasetField:<…>:<field> or job:<…>")
        raise UnprocessableError("The request is not valid.", [error])
    for text, version in ((rest, None), _without_version(rest)):
        found = _find(session, kind, text) if text else None
        if found is not None:
            return Node(kind, *found, version)
    raise NotFoundError("node", node_id)


def _without_version(text: str) -> tuple[str, str | None]:
    name, _, version = text.rpartition("#")
    return name, version


def _find(session: Session, kind: str, text: str) -> tuple[UUID, str | None] | None:
    parts = text.split(":")
    tried: dict[tuple[str, str], tuple[str, str, str | None]] = {}
    for end in range(len(parts), 0, -1) if kind != "field" else range(len(parts) - 1, 0, -1):
        field = ":".join(parts[end:]) or None
        if kind != "field" and field:
            break
        for cut in range(end - 1, 0, -1):
            raw = ":".join(parts[:cut]), ":".join(parts[cut:end])
            for namespace, name in (raw, (unquote(raw[0]), unquote(raw[1]))):
                tried.setdefault((namespace, name), (namespace, name, field and unquote(field)))
    known = ids_by_name(session, "job" if kind == "job" else "dataset", tried)
    for key, (_, _, field) in tried.items():
        if key in known:
            return known[key], field
    return None


def dataset_node(namespace: str, name: str) -> str:
    """Return the node id of a dataset."""
    return f"dataset:{namespace}:{name}"


def job_node(namespace: str, name: str) -> str:
    """Return the node id of a job."""
    return f"job:{namespace}:{name}"


def field_node(namespace: str, name: str, field: str) -> str:
    """Return the node id of a dataset's field."""
    return f"datasetField:{namespace}:{name}:{field}"


def find_dataset(session: Session, namespace: str, name: str) -> Dataset:
    """Return a dataset by any of its names; a deleted one is not there."""
    ids = ids_by_name(session, "dataset", [(namespace, name)])
    dataset = datasets.get_dataset(session, ids[namespace, name]) if ids else None
    if dataset is None or dataset.deleted_at is not None:
        raise NotFoundError("dataset", f"{name!r} in {namespace!r}")
    return dataset


def find_job(session: Session, namespace: str, name: str) -> Job:
    """Return a job; a deleted one is not there."""
    ids = ids_by_name(session, "job", [(namespace, name)])
    job = session.get(Job, ids[namespace, name]) if ids else None
    if job is None or job.deleted_at is not None:
        raise NotFoundError("job", f"{name!r} in {namespace!r}")
    return job


def version_of_run(run_id: str) -> str:
    """Return the version that a run makes of what it writes: the run's id, made a UUID where it is none."""
    try:
        return str(UUID(run_id))
    except ValueError:
        return str(uuid5(VERSIONS, run_id))


def version_of_edges(edges: str) -> str:
    """Return the version of a job with certain inputs and outputs, given as a hash in hexadecimal."""
    return str(UUID(edges))
