"""What Marquez' API lists: namespaces, sources, tags, versions, events, and counts over time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from metadata_service.openlineage import DatasetEvent, ReadEvent, RunEvent
from metadata_service.repositories.tenancy import is_narrowed

# Names are found by jumping from one to the next in an index, so that millions of datasets cost as little as few.
_NAMES = """
    WITH RECURSIVE of_datasets AS (
        (SELECT namespace FROM dataset ORDER BY namespace LIMIT 1)
         UNION ALL
        SELECT (SELECT d.namespace FROM dataset d WHERE d.namespace > o.namespace ORDER BY d.namespace LIMIT 1)
          FROM of_datasets o WHERE o.namespace IS NOT NULL
    ), of_jobs AS (
        (SELECT namespace FROM job ORDER BY namespace LIMIT 1)
         UNION ALL
        SELECT (SELECT j.namespace FROM job j WHERE j.namespace > o.namespace ORDER BY j.namespace LIMIT 1)
          FROM of_jobs o WHERE o.namespace IS NOT NULL
    ), {names}
"""
_PAGE = """
    , page AS (SELECT name, count(*) OVER () AS total FROM names WHERE name = coalesce(:name, name)
                ORDER BY name LIMIT :limit OFFSET :offset)
"""
_NAMESPACES = text(
    _NAMES.format(
        names="""names AS (
        SELECT namespace AS name FROM of_datasets WHERE namespace IS NOT NULL
         UNION SELECT namespace FROM of_jobs WHERE namespace IS NOT NULL
         UNION SELECT name FROM namespace)"""
    )
    + _PAGE
    + """
    SELECT p.name, n.owner, n.description,
           least(n.created_at, (SELECT min(created_at) FROM dataset WHERE namespace = p.name),
                 (SELECT min(created_at) FROM job WHERE namespace = p.name)),
           greatest(n.updated_at, (SELECT max(updated_at) FROM dataset WHERE namespace = p.name),
                    (SELECT max(updated_at) FROM job WHERE namespace = p.name)),
           p.total
      FROM page p LEFT JOIN namespace n ON n.name = p.name ORDER BY p.name
    """
)
_SOURCE_ROWS = """
    SELECT p.name, s.type, s.connection_url, s.description, f.value ->> 'uri',
           coalesce(s.created_at, f.event_time, (SELECT min(created_at) FROM dataset WHERE namespace = p.name)),
           coalesce(s.updated_at, f.event_time, (SELECT max(updated_at) FROM dataset WHERE namespace = p.name)), p.total
      FROM page p LEFT JOIN source s ON s.name = p.name
      {told}
     ORDER BY p.name
    """
_SOURCES = text(
    _NAMES.format(
        names="""of_facets AS (
        (SELECT value ->> 'name' AS name FROM facet
          WHERE owner_type = 'dataset' AND name = 'dataSource' AND value ->> 'name' IS NOT NULL ORDER BY 1 LIMIT 1)
         UNION ALL
        SELECT (SELECT f.value ->> 'name' FROM facet f
                 WHERE f.owner_type = 'dataset' AND f.name = 'dataSource' AND f.value ->> 'name' > o.name
                 ORDER BY f.value ->> 'name' LIMIT 1)
          FROM of_facets o WHERE o.name IS NOT NULL
    ), names AS (
        SELECT namespace AS name FROM of_datasets WHERE namespace IS NOT NULL
         UNION SELECT name FROM of_facets WHERE name IS NOT NULL
         UNION SELECT name FROM source)"""
    )
    + _PAGE
    + _SOURCE_ROWS.format(
        told="""LEFT JOIN LATERAL (
        SELECT value, event_time FROM facet
         WHERE owner_type = 'dataset' AND name = 'dataSource' AND value ->> 'name' = p.name LIMIT 1) f ON true"""
    )
)
# Under row-level security the index of these facets is not used: they are looked up by the datasets that are seen.
_SEEN_SOURCES = text(
    _NAMES.format(
        names="""told AS MATERIALIZED (
        SELECT DISTINCT ON (f.value ->> 'name') f.value ->> 'name' AS name, f.value, f.event_time
          FROM (SELECT id::text AS key FROM dataset OFFSET 0) d
          JOIN facet f ON f.owner_type = 'dataset' AND f.owner_id = d.key AND f.name = 'dataSource'
         WHERE f.value ->> 'name' IS NOT NULL ORDER BY 1
    ), names AS (
        SELECT namespace AS name FROM of_datasets WHERE namespace IS NOT NULL
         UNION SELECT name FROM told
         UNION SELECT name FROM source)"""
    )
    + _PAGE
    + _SOURCE_ROWS.format(told="LEFT JOIN told f ON f.name = p.name")
)


Rows = tuple[list[tuple[Any, ...]], int]
"""A page of rows, and how many there are on all pages."""


def _paged(session: Session, query: TextClause, limit: int, offset: int, **given: Any) -> Rows:
    """Return a page of a query whose last column is how many rows there are, without that column."""
    found = session.execute(query, {**given, "limit": limit, "offset": offset}).all()
    counted = found or session.execute(query, {**given, "limit": 1, "offset": 0}).all()  # beyond the last page
    return [tuple(row[:-1]) for row in found], counted[0][-1] if counted else 0


def namespaces(session: Session, name: str | None, limit: int, offset: int) -> Rows:
    """Return (name, owner, description, created, updated) of namespaces by name, or of the one of a name."""
    return _paged(session, _NAMESPACES, limit, offset, name=name)


def sources(session: Session, name: str | None, limit: int, offset: int) -> Rows:
    """Return (name, type, connection, description, uri of a facet, created, updated) of sources, or of one."""
    return _paged(session, _SEEN_SOURCES if is_narrowed(session) else _SOURCES, limit, offset, name=name)


_TAGS = text(
    """
    WITH names AS (SELECT name FROM tag UNION SELECT unnest(tags) FROM dataset WHERE tags <> '{}'),
    page AS (SELECT name, count(*) OVER () AS total FROM names ORDER BY name LIMIT :limit OFFSET :offset)
    SELECT p.name, t.description, p.total FROM page p LEFT JOIN tag t ON t.name = p.name ORDER BY p.name
    """
)


def tags(session: Session, limit: int, offset: int) -> Rows:
    """Return (name, description) of tags by name."""
    return _paged(session, _TAGS, limit, offset)


_DESCRIBED = {
    "namespace": "owner, description",
    "source": "type, connection_url, description",
    "tag": "description",
}


def describe(
    session: Session, kind: Literal["namespace", "source", "tag"], name: str, now: datetime, **values: str | None
) -> None:
    """Say something of a namespace, source or tag."""
    columns = _DESCRIBED[kind].split(", ")
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns)
    statement = (
        f"INSERT INTO {kind} (name, {_DESCRIBED[kind]}, created_at, updated_at) "
        f"VALUES (:name, {', '.join(':' + column for column in columns)}, :now, :now) "
        f"ON CONFLICT (name) DO UPDATE SET {changed}, updated_at = excluded.updated_at"
    )
    session.execute(text(statement), {"name": name, "now": now, **{column: values.get(column) for column in columns}})


def note_tag(session: Session, name: str, now: datetime) -> None:
    """Make sure that a tag is known."""
    statement = "INSERT INTO tag (name, created_at, updated_at) VALUES (:name, :now, :now) ON CONFLICT DO NOTHING"
    session.execute(text(statement), {"name": name, "now": now})


_WRITERS = """
      FROM run_dataset x JOIN run r ON r.id = x.run_id
     WHERE x.direction = 'output' AND x.dataset_id IN (
           SELECT d.id FROM dataset d WHERE d.id = :dataset OR d.canonical_id = :dataset)
"""
_VERSIONS = text(
    f"SELECT r.id, r.updated_at, count(*) OVER () {_WRITERS} GROUP BY r.id ORDER BY r.updated_at DESC, r.id DESC "
    "LIMIT :limit OFFSET :offset"
)


def writing_runs(session: Session, dataset_id: UUID, limit: int, offset: int) -> Rows:
    """Return (run, time) of the runs that wrote a dataset, newest first."""
    return _paged(session, _VERSIONS, limit, offset, dataset=dataset_id)


_CURRENT = text(
    """
    SELECT DISTINCT ON (w.id) w.id, e.run_id
      FROM unnest(CAST(:datasets AS uuid[])) AS w (id)
      JOIN dataset d ON d.id = w.id OR d.canonical_id = w.id
      JOIN job_dataset e ON e.dataset_id = d.id AND e.direction = 'output'
      JOIN run r ON r.id = e.run_id
     ORDER BY w.id, r.updated_at DESC, r.id DESC
    """
)


def last_writers(session: Session, datasets: Iterable[UUID]) -> dict[UUID, str]:
    """Return the current run that wrote each dataset that one has written."""
    ids = "{" + ",".join(map(str, datasets)) + "}"
    return {dataset: run for dataset, run in session.execute(_CURRENT, {"datasets": ids})}


_RUNS = text(
    """
    SELECT w.id, r.id
      FROM unnest(CAST(:jobs AS uuid[])) AS w (id)
     CROSS JOIN LATERAL (SELECT id, updated_at FROM run WHERE job_id = w.id
                          ORDER BY updated_at DESC, id DESC LIMIT :most) r
     ORDER BY w.id, r.updated_at DESC, r.id DESC
    """
)


def newest_runs(session: Session, jobs: Iterable[UUID], most: int) -> dict[UUID, list[str]]:
    """Return the newest runs of each job that has any."""
    found: dict[UUID, list[str]] = {}
    for job, run in session.execute(_RUNS, {"jobs": "{" + ",".join(map(str, jobs)) + "}", "most": most}):
        found.setdefault(job, []).append(run)
    return found


_JOB_VERSIONS = text(
    """
    WITH newest AS (SELECT id, created_at, updated_at FROM run WHERE job_id = :job
                     ORDER BY updated_at DESC, id DESC LIMIT 1000),
    told AS (
        SELECT n.id, n.created_at, n.updated_at,
               string_agg(x.direction || ' ' || x.dataset_id, ',' ORDER BY x.direction, x.dataset_id) AS edges
          FROM newest n JOIN run_dataset x ON x.run_id = n.id GROUP BY n.id, n.created_at, n.updated_at)
    SELECT min(created_at), (array_agg(id ORDER BY updated_at DESC, id DESC))[1], count(*) OVER ()
      FROM told GROUP BY edges ORDER BY max(updated_at) DESC, md5(edges) LIMIT :limit OFFSET :offset
    """
)


def versions_of_job(session: Session, job_id: UUID, limit: int, offset: int) -> Rows:
    """Return (first seen, newest run) of a job's versions, as its last 1,000 runs tell them, newest first."""
    return _paged(session, _JOB_VERSIONS, limit, offset, job=job_id)


MAX_COUNTED = 100_000


def _payload(session: Session) -> str:
    return "tenant_payload(e.id)" if is_narrowed(session) else "e.payload"


def events(
    session: Session,
    *,
    after: datetime | None,
    before: datetime | None,
    namespace: str | None,
    ascending: bool,
    limit: int,
    offset: int,
) -> tuple[list[str], int]:
    """Return a page of events as JSON and how many there are: exact up to MAX_COUNTED, an estimate beyond.

    Where a session is narrowed, events come without what they say of things elsewhere, and are not estimated.
    """
    where = "true"
    given: dict[str, Any] = {"limit": limit, "offset": offset, "most": MAX_COUNTED + 1}
    for name, value, condition in (
        ("after", after, "event_time >= :after"),
        ("before", before, "event_time < :before"),
        ("namespace", namespace, "job_namespace = :namespace"),
    ):
        if value is not None:
            where += f" AND {condition}"
            given[name] = value
    way = "ASC" if ascending else "DESC"
    page = text(
        f"SELECT {_payload(session)}::text FROM event e WHERE {where}"
        f" ORDER BY event_time {way}, id {way} LIMIT :limit OFFSET :offset"
    )
    found = [payload for (payload,) in session.execute(page, given)]
    counted = text(f"SELECT count(*) FROM (SELECT FROM event WHERE {where} LIMIT :most) e")
    total = session.scalar(counted, given) or 0
    if total > MAX_COUNTED and not is_narrowed(session):
        estimate = session.scalar(text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'event'::regclass")) or 0
        total = max(total, estimate)
    return found, total


def payloads_of_run(session: Session, run_id: str) -> list[dict[str, Any]]:
    """Return the events of a run, oldest first, at most 100."""
    query = text(f"SELECT {_payload(session)} FROM event e WHERE run_id = :run ORDER BY event_time, id LIMIT 100")
    return list(session.scalars(query, {"run": run_id}))


def event_counts(session: Session, bounds: list[datetime]) -> list[Any]:
    """Return (interval, event type, number) of the events of runs in the intervals between times."""
    query = text(
        """
        SELECT width_bucket(event_time, CAST(:bounds AS timestamptz[])) AS place, event_type, count(*)
          FROM event WHERE event_time >= :first AND event_time < :last AND event_type IS NOT NULL GROUP BY 1, 2
        """
    )
    return list(session.execute(query, {"bounds": bounds, "first": bounds[0], "last": bounds[-1]}))


_CREATED = {
    "jobs": "SELECT created_at FROM job WHERE deleted_at IS NULL",
    "datasets": "SELECT created_at FROM dataset WHERE deleted_at IS NULL AND canonical_id IS NULL",
    "sources": "SELECT min(created_at) AS created_at FROM dataset GROUP BY namespace",
}


def created_counts(session: Session, kind: Literal["jobs", "datasets", "sources"], bounds: list[datetime]) -> list[Any]:
    """Return (interval, number) of things made in the intervals between times; interval 0 is before the first."""
    query = text(
        "SELECT width_bucket(created_at, CAST(:bounds AS timestamptz[])), count(*) "
        f"FROM ({_CREATED[kind]}) c GROUP BY 1"
    )
    return list(session.execute(query, {"bounds": bounds}))


_FIELDS = text(
    """
    WITH starts AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:fields AS text[])) AS s (id, field)),
    k AS MATERIALIZED (
        SELECT w.id, w.field FROM starts s, lineage_columns(
            s.id, s.field, true, :depth, :most, CAST(NULL AS uuid), CAST(NULL AS text)) w
         UNION
        SELECT w.id, w.field FROM starts s, lineage_columns(
            s.id, s.field, false, :depth, :most, CAST(NULL AS uuid), CAST(NULL AS text)) w WHERE :downstream),
    names AS MATERIALIZED (
        SELECT id AS name, id, field FROM k
         UNION ALL
        SELECT a.id, k.id, k.field FROM k JOIN dataset a ON a.canonical_id = k.id)
    SELECT DISTINCT t.id, t.field, s.id, s.field, c.type, c.subtype, c.description
      FROM names t JOIN column_edge c ON c.dataset_id = t.name AND c.field = t.field
      JOIN names s ON s.name = c.input_dataset_id AND s.field = c.input_field
     LIMIT :edges
    """
)


def column_edges_around(
    session: Session, starts: list[tuple[UUID, str]], depth: int, downstream: bool, most: int
) -> list[Any]:
    """Return (dataset, column, source dataset, column, type, subtype, description) of the edges around columns."""
    given: dict[str, Any] = {"ids": [id_ for id_, _ in starts], "fields": [field for _, field in starts]}
    given |= {"depth": depth, "downstream": downstream, "most": most, "edges": most * 10}
    return list(session.execute(_FIELDS, given))


_APPEND = text(
    """
    INSERT INTO event (digest, kind, event_type, event_time, run_id, job_namespace, job_name, payload, key_name)
    VALUES (:digest, :kind, :event_type, :at, :run, :job_namespace, :job_name, CAST(:payload AS json), :key_name)
    ON CONFLICT (digest) DO NOTHING RETURNING id
    """
)


def append_event(session: Session, read: ReadEvent) -> int | None:
    """Store an event that the caller projects in the same transaction; return None if it is stored already."""
    event = read.event
    job = None if isinstance(event, DatasetEvent) else event.job
    given = {
        "digest": read.digest,
        "kind": event.kind,
        "event_type": event.event_type if isinstance(event, RunEvent) else None,
        "at": read.at,
        "run": event.run.run_id if isinstance(event, RunEvent) else None,
        "job_namespace": job and job.namespace,
        "job_name": job and job.name,
        "payload": read.payload.decode(),
        "key_name": read.key_name,
    }
    id_: int | None = session.scalar(_APPEND, given)
    return id_
