"""What breaks if a dataset or a column goes: everything below it.

Of a job that tells no column lineage it is not known which columns it uses; what it makes may break with any of its
inputs' columns, and everything below that, too: `certain` is false for what is reached in this way only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.repositories import impact
from metadata_service.repositories.lineage import Reach
from metadata_service.services import lineage as graphs

Answer = dict[str, Any]
ColumnKey = tuple[str, str]  # dataset id, column
DEPTH = 100
ALL = ""  # stands for a dataset's columns, all of them: no column has an empty name


class _Below:
    """The graph below a dataset, and how breakage passes through it."""

    def __init__(self, edges: Iterable[Answer], column_edges: Iterable[Answer]) -> None:
        self.next: dict[str, list[str]] = defaultdict(list)
        for edge in edges:
            self.next[edge["source"]].append(edge["target"])
        self.columns: dict[ColumnKey, list[tuple[str, str, str | None]]] = defaultdict(list)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.explained: set[tuple[str | None, str]] = set()  # (job, dataset it makes) with column lineage
        for edge in column_edges:
            (source, column), (target, made) = (edge[end].values() for end in ("source", "target"))
            self.columns[source, column].append((target, made, edge["job_id"]))
            self.sources[source].add(column)
            self.explained.add((edge["job_id"], target))

    def broken_by(self, key: ColumnKey) -> Iterable[tuple[ColumnKey, str | None, bool]]:
        """Yield (column, job in between, whether that is certain) of what a broken column breaks at once.

        All columns of a dataset break what any of them does.
        """
        dataset, column = key
        for name in sorted(self.sources[dataset]) if column == ALL else [column]:
            for target, made, job in self.columns.get((dataset, name), ()):
                yield (target, made), job, True
        for step in self.next.get(dataset, ()):
            for target in self.next.get(step, ()):
                if (step, target) not in self.explained:
                    yield (target, ALL), step, column == ALL


def of(session: Session, dataset_id: UUID, column: str | None, max_nodes: int) -> Answer:
    """Return the datasets, columns, jobs, products, dashboards and owners below a dataset or one of its columns."""
    drawn = graphs.draw_around(session, dataset_id, Reach("downstream", DEPTH, max_nodes))
    start = drawn.start
    if column is not None:
        graphs.require_column(session, dataset_id, column)
    nodes = graphs.decoded(drawn.nodes)
    below = _Below(graphs.decoded(drawn.edges), graphs.decoded(drawn.column_edges))
    certain = _spread(below, (start, column or ALL), certain_only=True)
    broken, jobs = _spread(below, (start, column or ALL), certain_only=False)
    sure = {dataset for dataset, _ in certain[0]} | certain[1]
    known = {node["id"]: node for node in nodes}
    if column is None:  # readers that make nothing, and direct successors, are below it as well
        jobs |= {node["id"] for node in nodes if node["type"] == "job"}
        broken |= {(node["id"], ALL): None for node in nodes if node["type"] == "dataset"}
        sure |= known.keys()
    else:
        readers = {step for step in below.next[start] if known[step]["type"] == "job"}
        jobs |= {job for job in readers if not any((job, made) in below.explained for made in below.next[job])}
    columns = sorted(key for key in broken if key[1] != ALL and key[0] != start)
    reached = {dataset for dataset, _ in broken} - {start}
    shown = [node | {"certain": node["id"] in sure} for node in nodes if node["id"] in reached | jobs]
    made = [node for node in shown if node["type"] == "dataset"]
    products = [
        dict(zip(("name", "domain", "owner", "status", "version", "datasets"), row, strict=True))
        for row in impact.products_on(session, [*reached, *([start] if column is None else [])])
    ]
    owners = {str(one["owner"]) for one in (*shown, *products) if one["owner"]}
    return {
        "dataset_id": start,
        "column": column,
        "datasets": made,
        "columns": [{"dataset_id": dataset, "column": name} for dataset, name in columns],
        "jobs": [node for node in shown if node["type"] == "job"],
        "dashboards": [node for node in made if node["kind"] == "dashboard"],
        "products": products,
        "owners": sorted(owners),
        "truncated": drawn.truncated,
        "frontier": drawn.frontier,
    }


def _spread(below: _Below, start: ColumnKey, *, certain_only: bool) -> tuple[dict[ColumnKey, None], set[str]]:
    """Return the columns that break with one, itself included, and the jobs in between."""
    broken: dict[ColumnKey, None] = {start: None}
    jobs: set[str] = set()
    waiting = [start]
    while waiting:
        for key, job, certain in below.broken_by(waiting.pop()):
            if certain_only and not certain:
                continue
            if job is not None:
                jobs.add(job)
            if key not in broken:
                broken[key] = None
                waiting.append(key)
    return broken, jobs
