"""Graphs of datasets and the jobs between them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.problems import NotFoundError
from metadata_service.repositories import datasets, jobs, lineage
from metadata_service.repositories.lineage import Graph
from metadata_service.schemas.lineage import (
    ColumnLineageEdge,
    ColumnRef,
    DatasetLineage,
    LineageEdge,
    LineageGraph,
    LineageNode,
)
from metadata_service.services import quality
from metadata_service.services.catalog import jobs_out

MAX_NODES = 2000


def around_dataset(
    session: Session, dataset_id: UUID, direction: Literal["both", "upstream", "downstream"], depth: int
) -> DatasetLineage:
    """Return what lies upstream and downstream of a dataset, up to `depth` hops from dataset to dataset."""
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    graph = Graph()
    if direction != "downstream":
        lineage.walk(session, dataset.id, "upstream", depth, MAX_NODES, graph)
    if direction != "upstream":
        lineage.walk(session, dataset.id, "downstream", depth, MAX_NODES, graph)
    drawn = _draw(session, graph)
    return DatasetLineage(**dict(drawn), dataset_id=dataset.id, direction=direction, depth=depth)


def everything(session: Session, limit: int) -> LineageGraph:
    """Return the whole graph, at most `limit` edges of it. Jobs without datasets are no part of it."""
    return _draw(session, lineage.whole_graph(session, limit))


def _draw(session: Session, graph: Graph) -> LineageGraph:
    states = quality.states(session, graph.datasets)
    nodes = [
        LineageNode(
            id=dataset.id,
            type="dataset",
            namespace=dataset.namespace,
            name=dataset.name,
            layer=dataset.layer,
            kind=dataset.type,
            owner=dataset.owner,
            tags=dataset.tags,
            state=states[dataset.id].state,
        )
        for dataset in datasets.get_many(session, graph.datasets)
    ]
    nodes += [
        LineageNode(
            id=job.id,
            type="job",
            namespace=job.namespace,
            name=job.name,
            layer=None,
            kind=job.integration,
            owner=job.owner,
            tags=[],
            state=job.state,
        )
        for job in jobs_out(session, jobs.get_many(session, graph.jobs))
    ]
    return LineageGraph(
        nodes=sorted(nodes, key=lambda node: (node.type, node.namespace, node.name)),
        edges=[LineageEdge(source=source, target=target) for source, target in sorted(graph.edges)],
        column_edges=[
            ColumnLineageEdge(
                source=ColumnRef(dataset_id=source, column=edge.input_field),
                target=ColumnRef(dataset_id=target, column=edge.field),
                job_id=edge.job_id,
                type=edge.type,
                subtype=edge.subtype,
                description=edge.description,
            )
            for source, target, edge in lineage.column_edges(session, graph.datasets)
        ],
        truncated=graph.truncated,
    )
