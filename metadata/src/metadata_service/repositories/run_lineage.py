"""Steps of the graph of runs. Datasets go by their canonical ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from metadata_service.repositories.lineage import Way

_DATASETS = text(
    """
    SELECT DISTINCT x.run_id, coalesce(d.canonical_id, d.id)::text
      FROM run_dataset x JOIN dataset d ON d.id = x.dataset_id
     WHERE x.run_id = ANY(:runs) AND x.direction = :direction
    """
)
_NAMES = "(SELECT p.dataset UNION ALL SELECT d.id FROM dataset d WHERE d.canonical_id = p.dataset) n (id)"
_PAIRS = "unnest(CAST(:runs AS text[]), CAST(:datasets AS uuid[])) AS p (run, dataset)"
_BEGAN = "coalesce({0}.started_at, {0}.created_at)"
_WRITERS = text(
    f"""
    SELECT p.run, p.dataset::text, w.id
      FROM {_PAIRS} JOIN run r ON r.id = p.run
     CROSS JOIN LATERAL (
        SELECT o.id FROM {_NAMES}
          JOIN run_dataset x ON x.dataset_id = n.id AND x.direction = 'output'
          JOIN run o ON o.id = x.run_id
         WHERE o.id <> r.id AND o.state = 'COMPLETED' AND o.ended_at <= {_BEGAN.format("r")}
         ORDER BY o.ended_at DESC, o.id DESC LIMIT 1) w
    """
)
_READERS = text(
    f"""
    SELECT p.run, p.dataset::text, w.id
      FROM {_PAIRS} JOIN run r ON r.id = p.run
     CROSS JOIN LATERAL (
        SELECT o.id FROM {_NAMES}
          JOIN run_dataset x ON x.dataset_id = n.id AND x.direction = 'input'
          JOIN run o ON o.id = x.run_id
         WHERE o.id <> r.id AND {_BEGAN.format("o")} >= coalesce(r.ended_at, r.updated_at)
           AND {_BEGAN.format("o")} < coalesce((
                SELECT min(l.ended_at) FROM {_NAMES.replace("n (id)", "m (id)")}
                  JOIN run_dataset y ON y.dataset_id = m.id AND y.direction = 'output'
                  JOIN run l ON l.id = y.run_id
                 WHERE l.id <> r.id AND l.state = 'COMPLETED' AND l.ended_at > coalesce(r.ended_at, r.updated_at)
                ), 'infinity')
         ORDER BY o.id LIMIT :most) w
    """
)
_RUNS = text(
    """
    SELECT r.id, j.namespace, j.name, r.state, r.started_at, r.ended_at
      FROM run r LEFT JOIN job j ON j.id = r.job_id WHERE r.id = ANY(:runs)
    """
)


def datasets_of(session: Session, runs: Iterable[str], direction: str) -> list[tuple[str, str]]:
    """Return the (run, dataset) pairs of what runs read (`input`) or wrote (`output`)."""
    rows = session.execute(_DATASETS, {"runs": list(runs), "direction": direction})
    return sorted((run, dataset) for run, dataset in rows)


def next_runs(session: Session, pairs: Iterable[tuple[str, str]], way: Way, most: int) -> list[tuple[str, str, str]]:
    """Return (run, dataset, other run) of those that wrote what runs read (upstream), or read what they wrote."""
    pairs = list(pairs)
    given: dict[str, Any] = {"runs": [run for run, _ in pairs], "datasets": [dataset for _, dataset in pairs]}
    if way == "downstream":
        given["most"] = most
    return sorted(tuple(row) for row in session.execute(_WRITERS if way == "upstream" else _READERS, given))


def run_rows(session: Session, runs: Iterable[str]) -> list[Any]:
    """Return (id, namespace and name of the job, state, start, end) of runs."""
    return list(session.execute(_RUNS, {"runs": list(runs)}))
