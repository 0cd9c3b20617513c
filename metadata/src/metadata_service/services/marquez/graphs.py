"""Lineage and column lineage as Marquez draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job
from metadata_service.repositories import lineage, marquez
from metadata_service.repositories.datasets import get_many
from metadata_service.repositories.jobs import current_edges
from metadata_service.repositories.lineage import Reach
from metadata_service.services.marquez import shapes
from metadata_service.services.marquez.names import Node, dataset_node, field_node, find_node, job_node, version_of_run
from metadata_service.services.marquez.shapes import Shape

MAX_NODES = 1000
MAX_DEPTH = 100


def table_lineage(session: Session, node_id: str, depth: int) -> Shape:
    """Return the graph around a dataset or job, `depth` hops from dataset to dataset, the nearest MAX_NODES nodes.

    A job has the inputs and outputs that are in the graph: the others of a thousand would be most of the answer.
    """
    node = find_node(session, node_id)
    reach = Reach("both", min(depth, MAX_DEPTH), MAX_NODES)
    drawn = lineage.draw_around(session, node.id, reach, of_job=node.kind == "job", columns=False)
    if drawn is None:  # deleted since it was found
        return {"graph": []}
    datasets = get_many(session, (UUID(item["id"]) for item in msgspec.json.decode(drawn.datasets)))
    job_ids = [UUID(item["id"]) for item in msgspec.json.decode(drawn.jobs)]
    jobs = list(session.scalars(select(Job).where(Job.id.in_(job_ids))))
    found: dict[str, tuple[str, str, Shape]] = {}
    for dataset, shown in zip(datasets, shapes.datasets(session, datasets), strict=True):
        found[str(dataset.id)] = (dataset_node(dataset.namespace, dataset.name), "DATASET", shown)
    edges = msgspec.json.decode(drawn.edges)
    sides: dict[UUID, shapes.Edges] = {job_id: {"input": [], "output": []} for job_id in job_ids}
    names = {str(dataset.id): {"namespace": dataset.namespace, "name": dataset.name} for dataset in datasets}
    for edge in edges:
        if edge["source"] in names and edge["target"] not in names:
            sides[UUID(edge["target"])]["input"].append(names[edge["source"]])
        elif edge["target"] in names and edge["source"] not in names:
            sides[UUID(edge["source"])]["output"].append(names[edge["target"]])
    for job, shown in zip(jobs, shapes.jobs(session, jobs, sides, 1), strict=True):
        del shown["currentVersion"]  # it depends on all inputs and outputs
        found[str(job.id)] = (job_node(job.namespace, job.name), "JOB", shown)
    pairs = [(found[edge["source"]][0], found[edge["target"]][0]) for edge in edges]
    return {"graph": _nodes(found.values(), pairs)}


def column_lineage(session: Session, node_id: str, depth: int, downstream: bool) -> Shape:
    """Return the graph of the fields that a field, a dataset's or a job's fields come from, and flow into if wanted."""
    starts = _start_fields(session, find_node(session, node_id))
    edges = marquez.column_edges_around(session, starts, min(depth, MAX_DEPTH), downstream, MAX_NODES)
    ids = {id_ for edge in edges for id_ in (edge[0], edge[2])}
    known = {dataset.id: dataset for dataset in get_many(session, ids)}
    writers = marquez.last_writers(session, known)
    inputs: dict[tuple[UUID, str], list[Any]] = defaultdict(list)
    outputs: dict[tuple[UUID, str], list[Any]] = defaultdict(list)
    for edge in edges:
        target, source, how = (edge[0], edge[1]), (edge[2], edge[3]), edge[4:]
        inputs[target].append((source, how))
        outputs[source].append((target, how))

    def field(key: tuple[UUID, str]) -> Shape:
        dataset = known[key[0]]
        version = version_of_run(writers[key[0]]) if key[0] in writers else str(dataset.id)
        return {
            "namespace": dataset.namespace,
            "dataset": dataset.name,
            "datasetVersion": version,
            "field": key[1],
        }

    def linked(ends: list[Any]) -> list[Shape]:
        return [
            field(key) | {"transformationDescription": how[2], "transformationType": how[1] or how[0]}
            for key, how in ends
        ]

    found: dict[tuple[UUID, str], tuple[str, str, Shape]] = {}
    for key in sorted(inputs.keys() | outputs.keys()):
        dataset = known[key[0]]
        first = inputs[key][0][1] if inputs[key] else (None, None, None)
        types = {item["name"]: item.get("type") for item in dataset.fields}
        data = field(key) | {
            "fieldType": types.get(key[1]),
            "transformationDescription": first[2],
            "transformationType": first[1] or first[0],
            "inputFields": linked(inputs[key]),
            "outputFields": linked(outputs[key]),
        }
        found[key] = (field_node(dataset.namespace, dataset.name, key[1]), "DATASET_FIELD", data)
    pairs = sorted({(found[source][0], found[target][0]) for target, ends in inputs.items() for source, _ in ends})
    return {"graph": _nodes(found.values(), pairs)}


def _start_fields(session: Session, node: Node) -> list[tuple[UUID, str]]:
    if node.kind == "field" and node.field is not None:
        return [(node.id, node.field)]
    ids = {node.id}
    if node.kind == "job":
        edges = current_edges(session, [node.id]).get(node.id, [])
        ids = {edge.dataset_id for edge in edges if edge.direction == "output"}
    canonical = {UUID(root) for root in lineage.canonical_ids(session, ids).values()}
    found = session.scalars(select(Dataset).where(Dataset.id.in_(canonical)))
    return [(dataset.id, field["name"]) for dataset in found for field in dataset.fields]


def _nodes(found: Iterable[tuple[str, str, Shape]], pairs: list[tuple[str, str]]) -> list[Shape]:
    into: dict[str, list[Shape]] = defaultdict(list)
    out_of: dict[str, list[Shape]] = defaultdict(list)
    for origin, destination in pairs:
        edge = {"origin": origin, "destination": destination}
        into[destination].append(edge)
        out_of[origin].append(edge)
    return [
        {"id": id_, "type": kind, "data": data, "inEdges": into[id_], "outEdges": out_of[id_]}
        for id_, kind, data in sorted(found, key=lambda node: node[0])
    ]
