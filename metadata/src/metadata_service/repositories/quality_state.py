"""Which results of a dataset are current, and the state they make together: kept with the results, read as they are.

A check's newest result is current, unless the dataset's newest ended run of the same job left the check out. Runs with
the same parent, such as mapped tasks, count as one; a run that is still going has not left anything out yet.

`quality_run` has a row for each run that checked a dataset, so that which runs count is found without the results. What
depends on a change is worked out again from what is stored (`refresh`), so neither order nor repetition matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from metadata_service.models import QualityState
from metadata_service.repositories.bulk import Texts, Uuids, execute

# Those who refresh do it one after the other, at the end of their transactions: none misses what another stored.
_LOCK = 0x7175616C

_NOTE_RUNS = """
INSERT INTO quality_run AS k (dataset_id, run_id, job_id, execution, ended, checked_at)
SELECT q.dataset_id, r.id, r.job_id, coalesce(r.parent_run_id, r.id), r.state <> 'RUNNING', max(q.checked_at)
  FROM run r JOIN quality_result q ON q.run_id = r.id
 WHERE r.id = ANY(%s) AND q.dataset_id IS NOT NULL
 GROUP BY q.dataset_id, r.id
    ON CONFLICT (dataset_id, run_id) DO UPDATE
   SET job_id = excluded.job_id, execution = excluded.execution, ended = excluded.ended,
       checked_at = excluded.checked_at
RETURNING dataset_id
"""
_FORGET = "DELETE FROM quality_current WHERE dataset_id = ANY(%s)"
_COUNT = """
WITH named AS MATERIALIZED (
    SELECT d.id AS canonical, d.id FROM dataset d WHERE d.id = ANY(%s)
     UNION ALL SELECT d.canonical_id, d.id FROM dataset d WHERE d.canonical_id = ANY(%s)
), checked AS MATERIALIZED (
    SELECT n.canonical, n.id AS dataset_id, k.run_id, k.job_id, k.execution, k.ended, k.checked_at
      FROM named n JOIN quality_run k ON k.dataset_id = n.id
), newest AS (
    SELECT canonical, job_id, max(checked_at) FILTER (WHERE ended) AS at
      FROM checked WHERE job_id IS NOT NULL GROUP BY canonical, job_id
), counted AS (
    SELECT c.canonical, c.job_id, c.execution
      FROM checked c JOIN newest n ON n.canonical = c.canonical AND n.job_id = c.job_id
     GROUP BY c.canonical, c.job_id, c.execution, n.at HAVING n.at IS NULL OR max(c.checked_at) >= n.at
), runs AS MATERIALIZED (
    SELECT c.canonical, c.dataset_id, c.run_id FROM checked c JOIN counted USING (canonical, job_id, execution)
     UNION ALL SELECT canonical, dataset_id, run_id FROM checked WHERE job_id IS NULL
), results AS (
    SELECT r.canonical, q.id, q.check_name, q.column_name, q.ordinal, q.checked_at, q.run_id, q.status
      FROM runs r JOIN quality_result q ON q.run_id = r.run_id AND q.dataset_id = r.dataset_id
     UNION ALL
    SELECT n.canonical, q.id, q.check_name, q.column_name, q.ordinal, q.checked_at, q.run_id, q.status
      FROM named n JOIN quality_result q ON q.dataset_id = n.id AND q.run_id IS NULL
)
INSERT INTO quality_current (dataset_id, result_id)
SELECT DISTINCT ON (canonical, check_name, column_name, ordinal) canonical, id
  FROM results ORDER BY canonical, check_name, column_name, ordinal, checked_at DESC, run_id DESC, status DESC, id
"""
_FORGET_STATES = "DELETE FROM quality_state WHERE dataset_id = ANY(%s)"
_SUM_UP = """
INSERT INTO quality_state (dataset_id, state, passed, failed, errors, skipped, checked_at)
SELECT c.dataset_id,
       CASE WHEN bool_or(q.status = 'failed' AND q.severity <> 'warn') THEN 'failing'
            WHEN bool_or(q.status = 'error') THEN 'error'
            WHEN bool_or(q.status = 'failed') THEN 'warning'
            WHEN bool_or(q.status = 'passed') THEN 'passing'
            ELSE 'unknown' END,
       count(*) FILTER (WHERE q.status = 'passed'), count(*) FILTER (WHERE q.status = 'failed'),
       count(*) FILTER (WHERE q.status = 'error'), count(*) FILTER (WHERE q.status = 'skipped'), max(q.checked_at)
  FROM quality_current c JOIN quality_result q ON q.id = c.result_id
 WHERE c.dataset_id = ANY(%s) GROUP BY c.dataset_id
"""
_AT_ONCE = 1000


def refresh(session: Session, run_ids: Iterable[str] = (), dataset_ids: Iterable[UUID] = ()) -> None:
    """Bring up to date what depends on runs, or on the results and names of datasets. The last step of a transaction.

    Args:
        session: Of the transaction that stored or removed something.
        run_ids: Runs that have results that are new, or of which state, job or parent may have changed.
        dataset_ids: Datasets that lost results, or that got or lost other names.
    """
    runs, datasets = list(run_ids), set(dataset_ids)
    if not runs and not datasets:
        return
    checked = "SELECT 1 FROM quality_result WHERE run_id = ANY(%s) LIMIT 1"
    if runs and not datasets and not execute(session, checked, Texts(runs)):
        return
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    datasets |= {row[0] for row in execute(session, _NOTE_RUNS, Texts(runs))}
    standing = "SELECT DISTINCT coalesce(canonical_id, id) FROM dataset WHERE id = ANY(%s)"
    canonical = [row[0] for row in execute(session, standing, Uuids(datasets))]
    everything = sorted(datasets | set(canonical))
    for first in range(0, len(everything), _AT_ONCE):
        ids = Uuids(everything[first : first + _AT_ONCE])
        execute(session, _FORGET, ids)
        execute(session, _FORGET_STATES, ids)
    for first in range(0, len(canonical), _AT_ONCE):
        ids = Uuids(canonical[first : first + _AT_ONCE])
        execute(session, _COUNT, ids, ids)
        execute(session, _SUM_UP, ids)


def load_states(session: Session, dataset_ids: Iterable[UUID]) -> dict[UUID, QualityState]:
    """Return the states of those of the datasets that have one."""
    query = select(QualityState).where(QualityState.dataset_id.in_(list(dataset_ids)))
    return {state.dataset_id: state for state in session.scalars(query.execution_options(populate_existing=True))}
