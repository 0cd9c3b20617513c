"""The graph of current edges. Datasets go by their canonical ids.

One statement walks and answers with nodes and edges as JSON: thousands of rows, each an object of Python, would cost
more than the walk does. The walks are functions of the database, made by `migrations/versions/v0004_lineage_walks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from metadata_service.models import Dataset

Way = Literal["upstream", "downstream"]

FIRST = UUID(int=0)


@dataclass(frozen=True)
class Reach:
    """How far a walk goes: which ways, over how many hops, to how many nodes, and which neighbours it leaves out.

    `after`: an earlier walk that was cut at the start had the neighbours with ids up to this one.
    """

    direction: Literal["both", "upstream", "downstream"]
    depth: int
    max_nodes: int
    after: UUID | None = None

    @property
    def ways(self) -> list[Way]:
        """The directions to walk."""
        return ["upstream", "downstream"] if self.direction == "both" else [self.direction]

    def share(self, place: int, used: int) -> int:
        """Return how many nodes the walk at a place among the ways may find, with the one it starts from.

        Half of all for the first of two, what is left for the last.
        """
        if place == 0:
            return -(-self.max_nodes // len(self.ways))
        return max(self.max_nodes - used + 1, 1)


@dataclass(frozen=True)
class Drawn:
    """A graph, its parts as JSON lists of what `metadata_service.schemas.lineage` calls them; `start` is canonical."""

    start: str
    datasets: msgspec.Raw
    jobs: msgspec.Raw
    edges: msgspec.Raw
    column_edges: msgspec.Raw
    frontier: msgspec.Raw
    columns: msgspec.Raw
    truncated: bool

    @property
    def nodes(self) -> msgspec.Raw:
        """Datasets, then jobs, each by name."""
        lists = (bytes(part)[1:-1] for part in (self.datasets, self.jobs))
        return msgspec.Raw(b"[" + b",".join(part for part in lists if part) + b"]")


# The parts of an answer, from the ids of datasets `d` and of jobs `j`, and from all `names` of the datasets.
_DATASETS = """
    (SELECT json_agg(row_to_json(n) ORDER BY n.namespace COLLATE "C", n.name COLLATE "C")
       FROM (SELECT s.id, 'dataset' AS type, s.namespace, s.name, s.layer, s.type AS kind, s.owner, s.tags,
                    coalesce(q.state, 'unknown') AS state, s.deleted_at IS NOT NULL AS deleted
               FROM d JOIN dataset s ON s.id = d.id LEFT JOIN quality_state q ON q.dataset_id = s.id) n)::text
"""
# OFFSET 0 keeps the cast out of the join, where row-level security would not look facets up by it: it is not leakproof.
_JOBS = """
    (SELECT json_agg(row_to_json(n) ORDER BY n.namespace COLLATE "C", n.name COLLATE "C")
       FROM (SELECT s.id, 'job' AS type, s.namespace, s.name, NULL AS layer, k.value ->> 'integration' AS kind,
                    (SELECT string_agg(owner ->> 'name', ', ') FROM jsonb_path_query(o.value, '$.owners[*]') AS owner
                      WHERE jsonb_typeof(owner -> 'name') = 'string') AS owner,
                    CAST('{}' AS text[]) AS tags, r.state, s.deleted_at IS NOT NULL AS deleted
               FROM (SELECT id, id::text AS key FROM j OFFSET 0) i JOIN job s ON s.id = i.id
               LEFT JOIN LATERAL (SELECT value FROM facet WHERE owner_type = 'job' AND owner_id = i.key
                                     AND name = 'jobType' LIMIT 1) k ON true
               LEFT JOIN LATERAL (SELECT value FROM facet WHERE owner_type = 'job' AND owner_id = i.key
                                     AND name = 'ownership' LIMIT 1) o ON true
               LEFT JOIN LATERAL (SELECT state FROM run WHERE run.job_id = s.id
                                   ORDER BY run.updated_at DESC, run.id DESC LIMIT 1) r ON true) n)::text
"""
_NAMES = "names AS MATERIALIZED (SELECT id FROM d UNION ALL SELECT a.id FROM d JOIN dataset a ON a.canonical_id = d.id)"
# Both ends as arrays: the index is searched for pairs, however many edges each node has beyond the graph.
_EDGES = """
    (SELECT '[' || string_agg('{"source":"' || e.source || '","target":"' || e.target || '"}', ','
                              ORDER BY e.source, e.target) || ']'
       FROM (SELECT CASE WHEN e.direction = 'input' THEN n.id ELSE e.job_id END AS source,
                    CASE WHEN e.direction = 'input' THEN e.job_id ELSE n.id END AS target
               FROM job_dataset e
               LEFT JOIN dataset a ON a.id = e.dataset_id AND a.canonical_id IS NOT NULL
              CROSS JOIN LATERAL (SELECT coalesce(a.canonical_id, e.dataset_id) AS id) n
              WHERE e.job_id = ANY (ARRAY(SELECT id FROM j)) AND e.dataset_id = ANY (ARRAY(SELECT id FROM names))
              UNION
             SELECT coalesce(s.canonical_id, c.input_dataset_id), coalesce(t.canonical_id, c.dataset_id)
               FROM column_edge c
               LEFT JOIN dataset s ON s.id = c.input_dataset_id AND s.canonical_id IS NOT NULL
               LEFT JOIN dataset t ON t.id = c.dataset_id AND t.canonical_id IS NOT NULL
              WHERE c.job_id IS NULL
                AND c.dataset_id = ANY (ARRAY(SELECT id FROM names))
                AND c.input_dataset_id = ANY (ARRAY(SELECT id FROM names))) e
      WHERE e.source <> e.target)
"""
_COLUMN_EDGE_LIST = """
    (SELECT json_agg(json_build_object(
                'source', json_build_object('dataset_id', e.source, 'column', e.input_field),
                'target', json_build_object('dataset_id', e.target, 'column', e.field),
                'job_id', e.job_id, 'type', e.type, 'subtype', e.subtype, 'description', e.description)
            ORDER BY e.target, e.field COLLATE "C", e.source, e.input_field COLLATE "C", e.job_id, e.type, e.subtype)
       FROM (SELECT DISTINCT coalesce(s.canonical_id, c.input_dataset_id) AS source, c.input_field,
                    coalesce(t.canonical_id, c.dataset_id) AS target, c.field,
                    c.job_id, c.type, c.subtype, c.description
               FROM {edges}
               LEFT JOIN dataset s ON s.id = c.input_dataset_id AND s.canonical_id IS NOT NULL
               LEFT JOIN dataset t ON t.id = c.dataset_id AND t.canonical_id IS NOT NULL
              WHERE {where}) e)::text
"""
_COLUMN_EDGES = _COLUMN_EDGE_LIST.format(
    edges="column_edge c",
    where="""CAST(:columns AS boolean) AND c.dataset_id = ANY (ARRAY(SELECT id FROM names))
                AND c.input_dataset_id = ANY (ARRAY(SELECT id FROM names))""",
)
_FRONTIER = """
    (SELECT json_agg(json_build_object('id', w.id, 'type', CASE WHEN w.is_job THEN 'job' ELSE 'dataset' END,
                                       'direction', w.way, 'after', w.resume) ORDER BY w.way DESC, w.id)
       FROM (SELECT up.*, 'upstream' AS way FROM up UNION ALL SELECT down.*, 'downstream' FROM down) w
      WHERE w.is_open)::text
"""
_TRUNCATED = """
    (SELECT count(*) >= :share AND bool_or(is_open) FROM up) IS TRUE
    OR (SELECT count(*) >= CASE WHEN :up THEN greatest(:most - (SELECT count(*) FROM up) + 1, 1) ELSE :most END
               AND bool_or(is_open) FROM down) IS TRUE
"""
_DOWN_SHARE = "CAST(CASE WHEN :up THEN greatest(:most - (SELECT count(*) FROM up) + 1, 1) ELSE :most END AS integer)"


def _walk(start: str, of_job: str) -> str:
    return f"""
    WITH start AS MATERIALIZED ({start}),
    up AS MATERIALIZED (
        SELECT w.* FROM start, lineage_nodes(
            start.id, {of_job}, true, :depth, CAST(:share AS integer), CAST(:after AS uuid)) w WHERE :up),
    down AS MATERIALIZED (
        SELECT w.* FROM start, lineage_nodes(
            start.id, {of_job}, false, :depth, {_DOWN_SHARE}, CAST(:after AS uuid)) w WHERE :down),
    d AS MATERIALIZED (SELECT id FROM up WHERE NOT is_job UNION SELECT id FROM down WHERE NOT is_job),
    j AS MATERIALIZED (SELECT id FROM up WHERE is_job UNION SELECT id FROM down WHERE is_job),
    {_NAMES}
    SELECT start.id::text, {_DATASETS}, {_JOBS}, {_EDGES}, {_COLUMN_EDGES}, {_FRONTIER}, NULL, {_TRUNCATED} FROM start
    """


_CANONICAL = "SELECT coalesce(canonical_id, id) AS id FROM dataset WHERE id = :start"
_AROUND = {False: text(_walk(_CANONICAL, "false")), True: text(_walk("SELECT id FROM job WHERE id = :start", "true"))}


# Planning such a statement takes longer than most walks; the indexes give its plan, whatever the values.
_PLAN_ONCE = text("SET LOCAL plan_cache_mode = force_generic_plan")


def draw_around(
    session: Session, start: UUID, reach: Reach, *, of_job: bool = False, columns: bool = True
) -> Drawn | None:
    """Return the graph around a dataset or job, or None if there is no such thing."""
    given = _given(start, reach) | {"columns": columns, "after": reach.after}
    session.execute(_PLAN_ONCE)
    row = session.execute(_AROUND[of_job], given).first()
    return None if row is None else _drawn(row)


def _given(start: UUID, reach: Reach) -> dict[str, Any]:
    return {
        "start": start,
        "depth": reach.depth,
        "most": reach.max_nodes,
        "share": reach.share(0, 0),
        "up": "upstream" in reach.ways,
        "down": "downstream" in reach.ways,
    }


def _drawn(row: Any) -> Drawn:
    lists = (msgspec.Raw((part or "[]").encode()) for part in row[1:-1])
    datasets, jobs, edges, column_edges, frontier, columns = lists
    return Drawn(row[0], datasets, jobs, edges, column_edges, frontier, columns, row[-1])


_PARTS = text(
    f"""
    WITH d AS MATERIALIZED (SELECT unnest(CAST(:datasets AS uuid[])) AS id),
    j AS MATERIALIZED (SELECT unnest(CAST(:jobs AS uuid[])) AS id),
    {_NAMES}
    SELECT '', {_DATASETS}, {_JOBS}, {_EDGES}, {_COLUMN_EDGES}, NULL, NULL, false
    """
)
_NODES = text(
    f"""
    WITH d AS MATERIALIZED (SELECT unnest(CAST(:datasets AS uuid[])) AS id),
    j AS MATERIALIZED (SELECT unnest(CAST(:jobs AS uuid[])) AS id)
    SELECT '', {_DATASETS}, {_JOBS}, NULL, NULL, NULL, NULL, false
    """
)


def draw_between(session: Session, datasets: Iterable[str], jobs: Iterable[str]) -> Drawn:
    """Return the graph of some datasets and jobs: all current edges between them."""
    given = {"datasets": _array(datasets), "jobs": _array(jobs), "columns": True}
    return _drawn(session.execute(_PARTS, given).one())


def draw_nodes(session: Session, datasets: Iterable[str], jobs: Iterable[str]) -> Drawn:
    """Return some datasets and jobs, without edges."""
    return _drawn(session.execute(_NODES, {"datasets": _array(datasets), "jobs": _array(jobs)}).one())


def _array(ids: Iterable[str]) -> str:
    """Return ids as the text of an array: as a list, psycopg would look at every one of them."""
    return "{" + ",".join(ids) + "}"


_EDGES_OF_COLUMNS = _COLUMN_EDGE_LIST.format(
    edges="""names n JOIN column_edge c ON c.dataset_id = n.name AND c.field = n.field
               JOIN names o ON o.name = c.input_dataset_id AND o.field = c.input_field""",
    where="true",
)
_AROUND_COLUMN = text(
    f"""
    WITH start AS MATERIALIZED ({_CANONICAL}),
    up AS MATERIALIZED (
        SELECT w.* FROM start, lineage_columns(
            start.id, :field, true, :depth, CAST(:share AS integer), CAST(:after AS uuid), CAST(:after_field AS text)) w
         WHERE :up),
    down AS MATERIALIZED (
        SELECT w.* FROM start, lineage_columns(
            start.id, :field, false, :depth, {_DOWN_SHARE}, CAST(:after AS uuid), CAST(:after_field AS text)) w
         WHERE :down),
    k AS MATERIALIZED (SELECT id, field FROM up UNION SELECT id, field FROM down),
    d AS MATERIALIZED (SELECT DISTINCT id FROM k),
    names AS MATERIALIZED (
        SELECT id AS name, id, field FROM k
         UNION ALL
        SELECT a.id, k.id, k.field FROM k JOIN dataset a ON a.canonical_id = k.id)
    SELECT start.id::text, {_DATASETS}, NULL, NULL,
        {_EDGES_OF_COLUMNS},
        (SELECT json_agg(json_build_object('dataset_id', w.id, 'column', w.field, 'direction', w.way,
                                           'after', w.resume || '/' || w.resume_field)
                         ORDER BY w.way DESC, w.id, w.field)
           FROM (SELECT up.*, 'upstream' AS way FROM up UNION ALL SELECT down.*, 'downstream' FROM down) w
          WHERE w.is_open)::text,
        (SELECT json_agg(json_build_object('dataset_id', k.id, 'column', k.field) ORDER BY k.id, k.field COLLATE "C")
           FROM k)::text,
        {_TRUNCATED}
      FROM start
    """
)


def draw_around_column(
    session: Session, start: UUID, column: str, reach: Reach, after: tuple[UUID, str] | None
) -> Drawn | None:
    """Return the columns around one, and the datasets they are of; None if there is no such dataset."""
    after_id, after_field = after or (None, None)
    given = _given(start, reach) | {"field": column, "after": after_id, "after_field": after_field}
    session.execute(_PLAN_ONCE)
    row = session.execute(_AROUND_COLUMN, given).first()
    return None if row is None else _drawn(row)


_NEIGHBOURS = text(
    """
    SELECT DISTINCT s.id, coalesce(f.id, n.id)
      FROM unnest(CAST(:ids AS uuid[])) AS s (id)
     CROSS JOIN LATERAL lineage_next(s.id, false, :upstream, :first, 2147483647) n
      LEFT JOIN LATERAL lineage_next(n.id, true, :upstream, :first, 2147483647) f ON n.is_job
     WHERE (f.id IS NOT NULL OR NOT n.is_job) AND coalesce(f.id, n.id) <> s.id
    """
)


def neighbours(session: Session, datasets: Iterable[UUID], way: Way) -> set[tuple[UUID, UUID]]:
    """Return (dataset, next dataset) for every dataset that is one hop up or down from one of these."""
    given = {"ids": _array(map(str, datasets)), "upstream": way == "upstream", "first": FIRST}
    return {(dataset, other) for dataset, other in session.execute(_NEIGHBOURS, given)}


# From job to job, so that it ends at the limit: edges looked at together are, under row-level security, compared with
# all jobs and datasets that are seen.
_WHOLE = text(
    """
    SELECT NULL AS job, coalesce(d.canonical_id, d.id)::text
      FROM (SELECT dataset_id, input_dataset_id FROM column_edge WHERE job_id IS NULL LIMIT :most) c
      JOIN dataset d ON d.id IN (c.dataset_id, c.input_dataset_id)
     UNION ALL
    (SELECT j.id::text, e.stands_for::text
       FROM (SELECT id FROM job ORDER BY id OFFSET 0) j
      CROSS JOIN LATERAL (
            SELECT o.direction, o.dataset_id, coalesce(d.canonical_id, d.id) AS stands_for
              FROM job_dataset o JOIN dataset d ON d.id = o.dataset_id WHERE o.job_id = j.id OFFSET 0) e
      ORDER BY j.id, e.direction, e.dataset_id LIMIT :most)
    """
)


def whole_graph(session: Session, limit: int) -> tuple[set[str], set[str], bool]:
    """Return the datasets and jobs of at most `limit` current edges, and whether there are more edges."""
    rows = session.execute(_WHOLE, {"most": limit + 1}).all()
    of_jobs = [(job, dataset) for job, dataset in rows if job is not None]
    datasets = {dataset for job, dataset in rows if job is None} | {dataset for _, dataset in of_jobs[:limit]}
    return datasets, {job for job, _ in of_jobs[:limit]}, len(of_jobs) > limit


def canonical_ids(session: Session, ids: Iterable[UUID]) -> dict[str, str]:
    """Return for each dataset that exists the id of the one that it stands for."""
    query = select(Dataset.id, func.coalesce(Dataset.canonical_id, Dataset.id)).where(Dataset.id.in_(list(ids)))
    return {str(id_): str(root) for id_, root in session.execute(query)}
