"""The graph of current edges: walks, nodes by their ids, the edges between them. Datasets go by their canonical ids.

Ids are text here, as answers have them: thousands of UUID objects would cost more than the walk. The walks themselves
are functions of the database, see `migrations/versions/v0004_lineage_walks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, JobDataset

Way = Literal["upstream", "downstream"]
ColumnKey = tuple[str, str]  # dataset id, column

FIRST = UUID(int=0)


@dataclass(frozen=True)
class OpenEnd:
    """A node at which a walk stopped though the graph goes on; `after`: the neighbours up to this id are known."""

    id: str
    is_job: bool
    way: Way
    after: str | None


@dataclass(frozen=True)
class OpenColumn:
    """A column at which a walk stopped though the graph goes on; `after`: the columns up to this one are known."""

    key: ColumnKey
    way: Way
    after: ColumnKey | None


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


_WALK = text(
    "SELECT id::text, is_job, is_open, resume::text "
    "FROM lineage_nodes(:start, :of_job, :upstream, :depth, :most, CAST(:after AS uuid))"
)


def walk(
    session: Session, start: UUID, way: Way, depth: int, most: int, *, of_job: bool = False, after: UUID | None = None
) -> Walk:
    """Return what lies up or down from a dataset or job, at most `depth` datasets away and at most `most` nodes.

    `after` leaves out the start's neighbours with ids up to it: those that an earlier walk, cut there, had.
    """
    given = {"start": start, "of_job": of_job, "upstream": way == "upstream", "depth": depth, "most": most}
    found = Walk()
    for id_, is_job, is_open, resume in session.execute(_WALK, given | {"after": after}):
        (found.jobs if is_job else found.datasets)[id_] = None
        if is_open:
            found.open.append(OpenEnd(id_, is_job, way, resume))
    found.truncated = len(found) >= most and bool(found.open)
    return found


_WALK_COLUMNS = text(
    "SELECT id::text, field, is_open, resume::text, resume_field FROM lineage_columns("
    ":start, :field, :upstream, :depth, :most, CAST(:after AS uuid), CAST(:after_field AS text))"
)


def walk_columns(
    session: Session, start: tuple[UUID, str], way: Way, depth: int, most: int, after: tuple[UUID, str] | None = None
) -> tuple[list[ColumnKey], list[OpenColumn]]:
    """Return the columns up or down from one, at most `depth` edges away, nearest first, and where the walk stopped."""
    after_id, after_field = after or (None, None)
    given = {"start": start[0], "field": start[1], "upstream": way == "upstream", "depth": depth, "most": most}
    keys: list[ColumnKey] = []
    stopped: list[OpenColumn] = []
    for id_, column, is_open, resume, resume_field in session.execute(
        _WALK_COLUMNS, given | {"after": after_id, "after_field": after_field}
    ):
        keys.append((id_, column))
        if is_open:
            stopped.append(OpenColumn((id_, column), way, (resume, resume_field) if resume else None))
    return keys, stopped


_DATASETS = text(
    """
    SELECT d.id::text, d.namespace, d.name, d.layer, d.type, d.owner, d.tags, d.deleted_at IS NOT NULL,
           EXISTS (SELECT FROM quality_result q WHERE q.dataset_id = d.id)
           OR EXISTS (SELECT FROM dataset a JOIN quality_result q ON q.dataset_id = a.id WHERE a.canonical_id = d.id)
      FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) JOIN dataset d ON d.id = wanted.id
    """
)


def dataset_rows(session: Session, ids: Iterable[str]) -> list[Any]:
    """Return (id, namespace, name, layer, type, owner, tags, deleted, whether it has check results) of datasets."""
    return list(session.execute(_DATASETS, {"ids": list(ids)}))


_JOBS = text(
    """
    SELECT j.id::text, j.namespace, j.name, k.value ->> 'integration',
           (SELECT string_agg(owner ->> 'name', ', ') FROM jsonb_path_query(o.value, '$.owners[*]') AS owner
             WHERE jsonb_typeof(owner -> 'name') = 'string'),
           r.state, j.deleted_at IS NOT NULL
      FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) JOIN job j ON j.id = wanted.id
      LEFT JOIN facet k ON k.owner_type = 'job' AND k.owner_id = j.id::text AND k.name = 'jobType'
      LEFT JOIN facet o ON o.owner_type = 'job' AND o.owner_id = j.id::text AND o.name = 'ownership'
      LEFT JOIN LATERAL (SELECT state FROM run WHERE run.job_id = j.id
                          ORDER BY run.updated_at DESC, run.id DESC LIMIT 1) r ON true
    """
)


def job_rows(session: Session, ids: Iterable[str]) -> list[Any]:
    """Return (id, namespace, name, integration, owner, state of the newest run, deleted) of jobs."""
    return list(session.execute(_JOBS, {"ids": list(ids)}))


_EDGES = text(
    """
    SELECT DISTINCT CASE WHEN e.direction = 'input' THEN d.id ELSE e.job_id END::text,
           CASE WHEN e.direction = 'input' THEN e.job_id ELSE d.id END::text
      FROM unnest(CAST(:jobs AS uuid[])) AS j (id)
      JOIN job_dataset e ON e.job_id = j.id
      LEFT JOIN dataset a ON a.id = e.dataset_id AND a.canonical_id IS NOT NULL
      JOIN unnest(CAST(:datasets AS uuid[])) AS d (id) ON d.id = coalesce(a.canonical_id, e.dataset_id)
     UNION ALL
    SELECT DISTINCT s.id::text, t.id::text
      FROM (SELECT id AS name, id FROM unnest(CAST(:datasets AS uuid[])) AS d (id)
             UNION ALL
            SELECT a.id, d.id
              FROM unnest(CAST(:datasets AS uuid[])) AS d (id) JOIN dataset a ON a.canonical_id = d.id) t
      JOIN column_edge c ON c.dataset_id = t.name AND c.job_id IS NULL
      LEFT JOIN dataset a ON a.id = c.input_dataset_id AND a.canonical_id IS NOT NULL
      JOIN unnest(CAST(:datasets AS uuid[])) AS s (id) ON s.id = coalesce(a.canonical_id, c.input_dataset_id)
     WHERE s.id <> t.id
    """
)


def edges_between(session: Session, datasets: Iterable[str], jobs: Iterable[str]) -> list[tuple[str, str]]:
    """Return the (source, target) pairs of ids of all current edges between these nodes, in a stable order."""
    rows = session.execute(_EDGES, {"datasets": list(datasets), "jobs": list(jobs)})
    return sorted((source, target) for source, target in rows)


_COLUMN_EDGE = "c.job_id::text, c.type, c.subtype, c.description"
_COLUMN_EDGES = text(
    f"""
    SELECT DISTINCT s.id::text, c.input_field, t.id::text, c.field, {_COLUMN_EDGE}
      FROM (SELECT id AS name, id FROM unnest(CAST(:datasets AS uuid[])) AS d (id)
             UNION ALL
            SELECT a.id, d.id
              FROM unnest(CAST(:datasets AS uuid[])) AS d (id) JOIN dataset a ON a.canonical_id = d.id) t
      JOIN column_edge c ON c.dataset_id = t.name
      LEFT JOIN dataset a ON a.id = c.input_dataset_id AND a.canonical_id IS NOT NULL
      JOIN unnest(CAST(:datasets AS uuid[])) AS s (id) ON s.id = coalesce(a.canonical_id, c.input_dataset_id)
    """
)
_EDGES_OF_COLUMNS = text(
    f"""
    SELECT DISTINCT s.id::text, c.input_field, t.id::text, c.field, {_COLUMN_EDGE}
      FROM (SELECT id AS name, id, field FROM unnest(CAST(:ids AS uuid[]), CAST(:fields AS text[])) AS d (id, field)
             UNION ALL
            SELECT a.id, d.id, d.field FROM unnest(CAST(:ids AS uuid[]), CAST(:fields AS text[])) AS d (id, field)
              JOIN dataset a ON a.canonical_id = d.id) t
      JOIN column_edge c ON c.dataset_id = t.name AND c.field = t.field
      LEFT JOIN dataset a ON a.id = c.input_dataset_id AND a.canonical_id IS NOT NULL
      JOIN unnest(CAST(:ids AS uuid[]), CAST(:fields AS text[])) AS s (id, field)
        ON s.id = coalesce(a.canonical_id, c.input_dataset_id) AND s.field = c.input_field
    """
)


def column_edges(session: Session, datasets: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return all current column edges between datasets, in a stable order.

    Each is (source dataset, column, target dataset, column, job, type, subtype, description).
    """
    return _in_order(session.execute(_COLUMN_EDGES, {"datasets": list(datasets)}))


def edges_between_columns(session: Session, keys: Iterable[ColumnKey]) -> list[tuple[Any, ...]]:
    """Return all current column edges between columns, as `column_edges` does."""
    ids, fields = [], []
    for id_, column in keys:
        ids.append(id_)
        fields.append(column)
    return _in_order(session.execute(_EDGES_OF_COLUMNS, {"ids": ids, "fields": fields}))


def _in_order(rows: Iterable[Any]) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, rows), key=lambda row: (row[2], row[3], row[0], row[1], *(part or "" for part in row[4:])))


_NEIGHBOURS = text(
    """
    SELECT DISTINCT s.id, coalesce(f.id, n.id)
      FROM unnest(CAST(:ids AS uuid[])) AS s (id)
     CROSS JOIN LATERAL lineage_next(s.id, false, :upstream, :first, 2147483647) n
      LEFT JOIN LATERAL lineage_next(n.id, true, :upstream, :first, 2147483647) f ON n.is_job
     WHERE (f.id IS NOT NULL OR NOT n.is_job) AND coalesce(f.id, n.id) <> s.id
    """
)


def neighbours(session: Session, datasets: set[UUID], way: Way) -> set[tuple[UUID, UUID]]:
    """Return (dataset, next dataset) for every dataset that is one hop up or down from one of these."""
    given = {"ids": list(datasets), "upstream": way == "upstream", "first": FIRST}
    return {(dataset, other) for dataset, other in session.execute(_NEIGHBOURS, given)}


def whole_graph(session: Session, limit: int) -> Walk:
    """Return the nodes of at most `limit` current edges, and of those that no job stands between."""
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    query = (
        select(JobDataset.job_id, canonical)
        .join(Dataset, Dataset.id == JobDataset.dataset_id)
        .order_by(JobDataset.job_id, JobDataset.direction, canonical)
        .limit(limit + 1)
    )
    rows = session.execute(query).all()
    found = Walk(truncated=len(rows) > limit)
    for job, dataset in rows[:limit]:
        found.jobs[str(job)] = None
        found.datasets[str(dataset)] = None
    direct = text("SELECT dataset_id, input_dataset_id FROM column_edge WHERE job_id IS NULL LIMIT :limit")
    names = {id_ for row in session.execute(direct, {"limit": limit}) for id_ in row}
    for id_ in session.scalars(select(canonical).where(Dataset.id.in_(names))):
        found.datasets[str(id_)] = None
    return found


_VALUE_EDGES = text(
    """
    SELECT DISTINCT coalesce(a.canonical_id, c.input_dataset_id)::text, c.input_field, t.id::text, c.field
      FROM (SELECT id AS name, id FROM unnest(CAST(:datasets AS uuid[])) AS d (id)
             UNION ALL
            SELECT a.id, d.id
              FROM unnest(CAST(:datasets AS uuid[])) AS d (id) JOIN dataset a ON a.canonical_id = d.id) t
      JOIN column_edge c ON c.dataset_id = t.name
      LEFT JOIN dataset a ON a.id = c.input_dataset_id AND a.canonical_id IS NOT NULL
     WHERE upper(coalesce(c.type, 'DIRECT')) = 'DIRECT' AND NOT c.masking
    """
)


def value_edges_into(session: Session, datasets: Iterable[str]) -> list[tuple[ColumnKey, ColumnKey]]:
    """Return (source column, target column) of the edges by which values pass into these datasets.

    Those are the direct ones and those of unknown type, unless they mask what passes.
    """
    rows = session.execute(_VALUE_EDGES, {"datasets": list(datasets)})
    return [((a, field_a), (b, field_b)) for a, field_a, b, field_b in rows]


def canonical_ids(session: Session, ids: Iterable[UUID]) -> dict[str, str]:
    """Return for each dataset that exists the id of the one that it stands for."""
    query = select(Dataset.id, func.coalesce(Dataset.canonical_id, Dataset.id)).where(Dataset.id.in_(list(ids)))
    return {str(id_): str(root) for id_, root in session.execute(query)}
