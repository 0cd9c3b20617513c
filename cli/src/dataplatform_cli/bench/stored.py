"""A store that has millions of events: what they and the runs they tell of take, made by the database itself."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from dataplatform_cli.bench.event_data import JOBS, event
from dataplatform_cli.display import err

_AT_ONCE = 500_000

_THINGS = """
INSERT INTO job (id, namespace, name, created_at, updated_at)
SELECT gen_random_uuid(), 'bench', 'job_' || i, now(), now() FROM generate_series(0, {jobs} - 1) AS i;
INSERT INTO dataset (id, namespace, name, type, layer, created_at, updated_at)
SELECT gen_random_uuid(), 'postgres://db.example.org:5432', 'warehouse.staging.table_' || i, 'table', 'staging',
       now(), now()
  FROM generate_series(0, 2 * {jobs} - 1) AS i;
CREATE TABLE bench_edge AS
SELECT i AS number, j.id AS job_id, e.direction, d.id AS dataset_id
  FROM generate_series(0, {jobs} - 1) AS i
  JOIN job j ON j.namespace = 'bench' AND j.name = 'job_' || i
 CROSS JOIN LATERAL (VALUES ('input', i), ('input', i * 7 % {jobs}), ('output', {jobs} + i)) AS e (direction, number)
  JOIN dataset d ON d.name = 'warehouse.staging.table_' || e.number
 GROUP BY 1, 2, 3, 4;
CREATE INDEX ON bench_edge (number);
"""

# The digest is not that of the payload, but as good as one for an index; times go on through a year.
_EVENTS = """
INSERT INTO event (digest, kind, event_type, event_time, received_at, run_id, job_namespace, job_name, payload)
SELECT sha256(int8send(i)), 'run', 'COMPLETE', at, at, run_id, 'bench', 'job_' || i %% {jobs},
       replace(replace(%(payload)s, '@run@', run_id), '@job@', (i %% {jobs})::text)::json
  FROM (SELECT i, gen_random_uuid()::text AS run_id, timestamptz '2025-01-01' + i * interval '3 seconds' AS at
          FROM generate_series(%(first)s::bigint, %(last)s) AS i) AS n
"""
_RUNS = """
INSERT INTO run (id, job_id, job_namespace, job_at, state, state_at, started_at, ended_at, created_at, updated_at)
SELECT e.run_id, j.id, j.namespace, e.event_time, 'COMPLETED', e.event_time, e.event_time, e.event_time, e.event_time,
       e.event_time
  FROM event e JOIN job j ON j.namespace = 'bench' AND j.name = e.job_name
 WHERE e.id > %(after)s
"""
_RUN_DATASETS = """
INSERT INTO run_dataset (run_id, direction, dataset_id)
SELECT e.run_id, b.direction, b.dataset_id
  FROM event e JOIN bench_edge b ON b.number = substr(e.job_name, 5)::int
 WHERE e.id > %(after)s
"""
_FACETS = """
INSERT INTO facet (owner_type, owner_id, name, value, event_time)
SELECT 'run', e.run_id, 'nominalTime', %(facet)s::jsonb, e.event_time FROM event e WHERE e.id > %(after)s
"""
_EDGES = """
INSERT INTO job_dataset (job_id, direction, origin, dataset_id, run_id)
SELECT b.job_id, b.direction, 'run', b.dataset_id,
       (SELECT r.id FROM run r WHERE r.job_id = b.job_id ORDER BY r.updated_at DESC, r.id DESC LIMIT 1)
  FROM bench_edge b
"""


def fill(connection: psycopg.Connection[Any], events: int) -> None:
    """Put events into an empty store, with their runs, what these read and wrote, a facet of each, and edges.

    Args:
        connection: Autocommits; of the database's owner.
        events: How many, from number 0 on.
    """
    sample = event(0)
    run_id, job = sample["run"]["runId"], sample["job"]["name"]
    payload = json.dumps(sample).replace(run_id, "@run@").replace(f'"{job}"', '"job_@job@"')
    facet = json.dumps(sample["run"]["facets"]["nominalTime"])
    connection.execute(_THINGS.format(jobs=JOBS))
    for first in range(0, events, _AT_ONCE):
        last = min(first + _AT_ONCE, events) - 1
        row = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        given = {"first": first, "last": last, "payload": payload, "facet": facet, "after": row[0] if row else 0}
        with connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            for statement in (_EVENTS, _RUNS, _RUN_DATASETS, _FACETS):
                connection.execute(statement.format(jobs=JOBS), given)
        err.print(f"[dim]{last + 1:,} events[/]")
    connection.execute(_EDGES)
    connection.execute("DROP TABLE bench_edge")
    connection.execute("VACUUM ANALYZE")
