"""The graph as it was at a time: the edges of the runs that had ended by then, and of the design that stood then.

What counts of a job is what counts now (`repositories.jobs`): for each direction its newest completed run that has any
datasets there, without one its newest run; and its newest JobEvent. Names are joined as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from metadata_service.repositories.lineage import Way

_RUNS_AT = """
    SELECT r.id FROM run r
     WHERE r.job_id = j.id AND {condition}
       AND EXISTS (SELECT FROM run_dataset x WHERE x.run_id = r.id AND x.direction = s.direction)
     ORDER BY r.updated_at DESC, r.id DESC LIMIT 1
"""
_ENDED = "r.state = 'COMPLETED' AND coalesce(r.ended_at, r.state_at, r.created_at) <= :at"
_BEGUN = "coalesce(r.started_at, r.created_at) <= :at"
_JOB_EDGES = text(
    f"""
    WITH chosen AS (
        SELECT j.id AS job_id, s.direction,
               coalesce(({_RUNS_AT.format(condition=_ENDED)}), ({_RUNS_AT.format(condition=_BEGUN)})) AS run_id
          FROM unnest(CAST(:jobs AS uuid[])) AS j (id)
         CROSS JOIN (VALUES ('input'), ('output')) AS s (direction)
    ), edges AS (
        SELECT c.job_id, c.direction, d.dataset_id, c.run_id
          FROM chosen c JOIN run_dataset d ON d.run_id = c.run_id AND d.direction = c.direction
         UNION ALL
        SELECT g.job_id, g.direction, g.dataset_id, NULL
          FROM unnest(CAST(:jobs AS uuid[])) AS j (id)
          JOIN job_design g ON g.job_id = j.id
         WHERE g.designed_at = (SELECT max(n.designed_at) FROM job_design n
                                 WHERE n.job_id = j.id AND n.designed_at <= :at)
    )
    SELECT e.job_id::text, e.direction, coalesce(d.canonical_id, d.id)::text, e.run_id, d.id::text
      FROM edges e JOIN dataset d ON d.id = e.dataset_id
    """
)
_NEAR = text(
    f"""
    WITH names AS MATERIALIZED (
        SELECT id, id AS root FROM unnest(CAST(:datasets AS uuid[])) AS d (id)
         UNION ALL
        SELECT d.id, n.id FROM unnest(CAST(:datasets AS uuid[])) AS n (id) JOIN dataset d ON d.canonical_id = n.id
    ), candidates AS MATERIALIZED (
        SELECT r.job_id AS id FROM names n JOIN run_dataset x ON x.dataset_id = n.id AND x.direction = :direction
          JOIN run r ON r.id = x.run_id WHERE r.job_id > :beyond AND r.created_at <= :at
         UNION
        SELECT g.job_id FROM names n JOIN job_design g ON g.dataset_id = n.id AND g.direction = :direction
         WHERE g.job_id > :beyond AND g.designed_at <= :at
    ), near AS (
        SELECT j.id, n.root
          FROM (SELECT id FROM candidates WHERE id <> ALL (CAST(:known AS uuid[])) ORDER BY id) j
         CROSS JOIN LATERAL (SELECT CAST(:direction AS text) AS direction) s
         CROSS JOIN LATERAL (
            SELECT x.dataset_id FROM run_dataset x
             WHERE x.direction = :direction
               AND x.run_id = coalesce(({_RUNS_AT.format(condition=_ENDED)}), ({_RUNS_AT.format(condition=_BEGUN)}))
             UNION ALL
            SELECT g.dataset_id FROM job_design g
             WHERE g.job_id = j.id AND g.direction = :direction
               AND g.designed_at = (SELECT max(m.designed_at) FROM job_design m
                                     WHERE m.job_id = j.id AND m.designed_at <= :at)) e
          JOIN names n ON n.id = e.dataset_id
    )
    SELECT id::text, array_agg(DISTINCT root::text) FROM near GROUP BY id ORDER BY id LIMIT :most
    """
)
_DIRECT = text(
    """
    SELECT DISTINCT coalesce(s.canonical_id, s.id)::text, c.input_field, coalesce(t.canonical_id, t.id)::text, c.field,
           NULL, c.type, c.subtype, c.description
      FROM (SELECT id FROM unnest(CAST(:datasets AS uuid[])) AS n (id)
             UNION ALL
            SELECT d.id FROM unnest(CAST(:datasets AS uuid[])) AS n (id) JOIN dataset d ON d.canonical_id = n.id) n
     CROSS JOIN LATERAL (
        SELECT e.*, e.dataset_id::text AS key FROM (
            SELECT * FROM column_edge WHERE :upstream AND job_id IS NULL AND dataset_id = n.id
             UNION ALL
            SELECT * FROM column_edge WHERE NOT :upstream AND job_id IS NULL AND input_dataset_id = n.id) e
        OFFSET 0) c  -- as in `repositories.lineage`: row-level security looks nothing up by a cast
      JOIN dataset s ON s.id = c.input_dataset_id
      JOIN dataset t ON t.id = c.dataset_id
      JOIN facet f ON f.owner_type = 'static' AND f.owner_id = c.key AND f.name = 'columnLineage'
     WHERE f.event_time <= :at
    """
)


@dataclass(frozen=True)
class EdgeThen:
    """An edge of a job at a time; `run_id` of the run that told it (None: a JobEvent), `told` the dataset's own id."""

    job: str
    direction: str
    dataset: str
    run_id: str | None
    told: str

    @property
    def ends(self) -> tuple[str, str]:
        """Source and target."""
        return (self.dataset, self.job) if self.direction == "input" else (self.job, self.dataset)


def edges_of_jobs(session: Session, jobs: Iterable[str], at: datetime) -> list[EdgeThen]:
    """Return all edges that jobs had at a time."""
    return [EdgeThen(*row) for row in session.execute(_JOB_EDGES, {"jobs": list(jobs), "at": at})]


def jobs_near(
    session: Session, datasets: Iterable[str], way: Way, at: datetime, beyond: UUID, known: Iterable[str], most: int
) -> list[tuple[str, list[str]]]:
    """Return (job, those of the datasets) of the jobs that wrote (upstream) or read (downstream) datasets at a time.

    The first `most` after the id `beyond`, but those that are `known`.
    """
    given = {
        "datasets": list(datasets),
        "direction": "output" if way == "upstream" else "input",
        "at": at,
        "beyond": beyond,
        "known": list(known),
        "most": most,
    }
    return [(job, roots) for job, roots in session.execute(_NEAR, given)]


def direct_edges(session: Session, datasets: Iterable[str], way: Way, at: datetime) -> list[tuple[Any, ...]]:
    """Return the column edges without a job into datasets (upstream) or out of them, told by a time.

    Each is (source dataset, column, target dataset, column, job, type, subtype, description). Only what DatasetEvents
    say now is known, and since when.
    """
    given = {"datasets": list(datasets), "upstream": way == "upstream", "at": at}
    return [tuple(row) for row in session.execute(_DIRECT, given)]


_COLUMN_LINEAGE = text(
    """
    SELECT o.dataset, f.value
      FROM unnest(CAST(:owners AS text[]), CAST(:datasets AS text[])) AS o (owner, dataset)
      JOIN facet f ON f.owner_type = 'output' AND f.owner_id = o.owner AND f.name = 'columnLineage'
    """
)


def column_lineage(session: Session, owners: Iterable[tuple[str, str]]) -> list[tuple[str, dict[str, Any]]]:
    """Return (key, columnLineage facet) of outputs, given as (owner of their facets, key)."""
    pairs = list(owners)
    given = {"owners": [owner for owner, _ in pairs], "datasets": [key for _, key in pairs]}
    return [(key, value) for key, value in session.execute(_COLUMN_LINEAGE, given) if not value.get("_deleted")]
