"""Forgetting what is old."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from metadata_service.repositories import quality_state

_BATCH = 2000

# Kept whatever its age: what still runs, the newest run of each job, the run that a job's edges are of, and runs with
# results that count for the state of a dataset.
_OLD_RUNS = """
SELECT r.id FROM run r
 WHERE r.updated_at < :before AND r.state NOT IN ('NEW', 'RUNNING')
   AND NOT EXISTS (SELECT FROM job_dataset e WHERE e.job_id = r.job_id AND e.run_id = r.id)
   AND (r.job_id IS NULL OR EXISTS (
       SELECT FROM run n WHERE n.job_id = r.job_id AND (n.updated_at, n.id) > (r.updated_at, r.id)))
   AND NOT EXISTS (
       SELECT FROM quality_result q JOIN quality_current c ON c.result_id = q.id WHERE q.run_id = r.id)
"""
_FORGET_RUNS = f"""
WITH gone AS (
    DELETE FROM run WHERE id IN ({_OLD_RUNS} LIMIT :batch) RETURNING id
), facets AS (
    DELETE FROM facet f USING gone g
     WHERE (f.owner_type = 'run' AND f.owner_id = g.id)
        OR (f.owner_type IN ('input', 'output') AND f.owner_id >= g.id || '/' AND f.owner_id < g.id || '0')
)
SELECT (SELECT count(*) FROM gone),
       ARRAY(SELECT DISTINCT q.dataset_id FROM quality_result q JOIN gone g ON g.id = q.run_id
              WHERE q.dataset_id IS NOT NULL)
"""
_OLD_EVENTS = """
SELECT e.id FROM event e
 WHERE e.event_time < :before AND e.received_at < :before
   AND NOT EXISTS (SELECT FROM event_queue q WHERE q.event_id = e.id)
"""
_FORGET_EVENTS = f"DELETE FROM event WHERE id IN ({_OLD_EVENTS} LIMIT :batch)"


def count_old(session: Session, before: datetime) -> tuple[int, int]:
    """Return how many (events, runs) are old enough to be forgotten."""
    given = {"before": before}
    events = session.scalar(text(f"SELECT count(*) FROM ({_OLD_EVENTS}) o"), given) or 0
    runs = session.scalar(text(f"SELECT count(*) FROM ({_OLD_RUNS}) o"), given) or 0
    return events, runs


def forget_events(session: Session, before: datetime) -> int:
    """Delete some old events; return how many."""
    done = session.execute(text(_FORGET_EVENTS), {"before": before, "batch": _BATCH})
    return int(done.rowcount)  # type: ignore[attr-defined]


def forget_runs(session: Session, before: datetime) -> int:
    """Delete some old runs with their facets, edges and results; return how many."""
    count, datasets = session.execute(text(_FORGET_RUNS), {"before": before, "batch": _BATCH}).one()
    quality_state.refresh(session, dataset_ids=datasets)
    return int(count)
