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

from metadata_service.problems import NotFoundError
from metadata_service.repositories import impact, lineage
from metadata_service.repositories.lineage import ColumnKey
from metadata_service.services import lineage as graphs

Answer = dict[str, Any]
DEPTH = 100
ALL = ""  # stands for a dataset's columns, all of them: no column has an empty name


class _Below:
    """The graph below a dataset, and how breakage passes through it."""

    def __init__(self, edges: Iterable[tuple[str, str]], column_edges: Iterable[tuple[Any, ...]]) -> None:
        self.next: dict[str, list[str]] = defaultdict(list)
        for source, target in edges:
            self.next[source].append(target)
        self.columns: dict[ColumnKey, list[tuple[str, str, str | None]]] = defaultdict(list)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.explained: set[tuple[str | None, str]] = set()  # (job, dataset it makes) with column lineage
        for source, column, target, made, job, *_ in column_edges:
            self.columns[source, column].append((target, made, job))
            self.sources[source].add(column)
            self.explained.add((job, target))

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
    start = str(graphs.canonical_id(session, dataset_id))
    if column is not None and not graphs.has_column(session, dataset_id, column):
        raise NotFoundError("column", f"{column!r} of dataset {start}")
    found = lineage.walk(session, UUID(start), "downstream", DEPTH, max_nodes)
    edges = lineage.edges_between(session, found.datasets, found.jobs)
    below = _Below(edges, lineage.column_edges(session, found.datasets))
    certain = _spread(below, (start, column or ALL), certain_only=True)
    broken, jobs = _spread(below, (start, column or ALL), certain_only=False)
    sure = {dataset for dataset, _ in certain[0]} | certain[1]
    if column is None:  # readers that make nothing, and direct successors, are below it as well
        jobs |= found.jobs.keys()
        broken |= {(dataset, ALL): None for dataset in found.datasets}
        sure |= found.datasets.keys() | found.jobs.keys()
    else:
        readers = {step for step in below.next.get(start, ()) if step in found.jobs}
        jobs |= {job for job in readers if not any((job, made) in below.explained for made in below.next.get(job, ()))}
    columns = sorted(key for key in broken if key[1] != ALL and key[0] != start)
    reached = dict.fromkeys(dataset for dataset, _ in broken if dataset != start)
    shown = [node | {"certain": node["id"] in sure} for node in graphs.nodes(session, reached, dict.fromkeys(jobs))]
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
        "truncated": found.truncated,
        "frontier": graphs.frontier(found),
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
