"""A large graph, made by the database itself: layers of datasets, each written by one job, with power-law degrees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err
from dataplatform_cli.settings import StackSettings

LAYERS = 20
COLUMNS = 10  # of a dataset
_LARGEST = 1000  # inputs of a job at most
# With this exponent half of the jobs have at most two inputs, whatever the mean.
_EXPONENT = 0.9
# Towards the first datasets of a layer: these are read by hundreds of jobs, most by a few.
_SKEW = 2.2

_STEPS = (
    "SELECT setseed(0.42)",
    """
    INSERT INTO dataset (id, namespace, name, type, owner, fields, created_at, updated_at)
    SELECT gen_random_uuid(), 'postgres://bench:5432', 'warehouse.layer' || i / {width} || '.table' || i, 'table',
           'team-' || i % 50, c.fields, now(), now()
      FROM generate_series(0, {datasets} - 1) AS i,
           (SELECT jsonb_agg(jsonb_build_object('name', 'column' || n, 'type', 'text', 'tags', '[]'::jsonb)) AS fields
              FROM generate_series(1, {columns}) AS n) AS c
    """,
    """
    INSERT INTO job (id, namespace, name, created_at, updated_at)
    SELECT gen_random_uuid(), 'bench', 'job' || i, now(), now() FROM generate_series(0, {datasets} - 1) AS i
    """,
    "CREATE TABLE bench_dataset AS SELECT id, substring(name FROM 'table(.*)$')::int AS i FROM dataset",
    "CREATE UNIQUE INDEX ON bench_dataset (i)",
    "CREATE TABLE bench_job AS SELECT id, substring(name FROM 'job(.*)$')::int AS i FROM job",
    """
    INSERT INTO job_dataset (job_id, direction, origin, dataset_id)
    SELECT j.id, 'output', 'run', d.id FROM bench_job j JOIN bench_dataset d USING (i)
    """,
    """
    CREATE TABLE bench_edge AS
    SELECT row_number() OVER (ORDER BY random()) AS place, p.job, p.source
      FROM (SELECT DISTINCT w.id AS job, (w.i / {width} - 1) * {width}
                            + floor({width} * power(random(), {skew}))::int AS source
              FROM (SELECT id, i, least(floor(power(1 - random(), -1 / {exponent})), {largest})::int AS degree
                      FROM bench_job WHERE i >= {width} OFFSET 0) w, generate_series(1, w.degree)) p
    """,
    """
    INSERT INTO job_dataset (job_id, direction, origin, dataset_id)
    SELECT e.job, 'input', 'run', d.id FROM bench_edge e JOIN bench_dataset d ON d.i = e.source
     WHERE e.place <= {edges} - {datasets}
    """,
    # Each column of a table comes from one or two columns of what its job reads.
    """
    INSERT INTO column_edge (job_id, dataset_id, field, input_dataset_id, input_field, type, subtype)
    SELECT DISTINCT s.job_id, o.dataset_id, 'column' || c, s.dataset_id, 'column' || f, 'DIRECT', 'TRANSFORMATION'
      FROM (SELECT job_id, array_agg(dataset_id ORDER BY dataset_id) AS inputs FROM job_dataset
             WHERE direction = 'input' GROUP BY job_id) r
      JOIN job_dataset o ON o.job_id = r.job_id AND o.direction = 'output'
     CROSS JOIN generate_series(1, {columns}) AS c
     CROSS JOIN generate_series(0, 1) AS n
     CROSS JOIN LATERAL (SELECT r.job_id, r.inputs[1 + (c * 7 + n * 3) % cardinality(r.inputs)] AS dataset_id,
                                1 + (c + n * 5) % {columns} AS f) s
     WHERE n = 0 OR c % 2 = 0
    """,
    """
    INSERT INTO run (id, job_id, job_namespace, state, state_at, started_at, ended_at, created_at, updated_at)
    SELECT gen_random_uuid()::text, id, namespace, 'COMPLETED', now(), now(), now(), now(), now() FROM job
    """,
    """
    INSERT INTO facet (owner_type, owner_id, name, value, event_time)
    SELECT 'job', id::text, 'jobType', '{{"processingType": "BATCH", "integration": "AIRFLOW"}}', now() FROM job
    """,
    "DROP TABLE bench_edge, bench_job",
    "VACUUM ANALYZE",
)


def fill(connection: psycopg.Connection[Any], datasets: int, edges: int) -> dict[str, int]:
    """Make a graph in an empty catalog and return how much of what there is.

    Args:
        connection: On autocommit.
        datasets: As many jobs are made, each of which writes one of them.
        edges: Between datasets and jobs, at most; a little less where chance gives less.
    """
    sizes = {
        "datasets": datasets, "edges": edges, "width": datasets // LAYERS, "columns": COLUMNS, "skew": _SKEW,
        "exponent": _EXPONENT, "largest": _LARGEST,
    }  # fmt: skip
    for step in _STEPS:
        connection.execute(step.format(**sizes))
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM dataset), (SELECT count(*) FROM job), (SELECT count(*) FROM job_dataset),
               (SELECT count(*) FROM column_edge), percentile_disc(0.5) WITHIN GROUP (ORDER BY n), max(n)
          FROM (SELECT count(*) AS n FROM job_dataset WHERE direction = 'input' GROUP BY job_id) d
        """
    ).fetchone()
    names = ("datasets", "jobs", "edges", "column_edges", "median_inputs", "most_inputs")
    return dict(zip(names, row or (), strict=True))


@dataclass(frozen=True)
class ServedGraph:
    """A metadata service of its own with a large graph: its settings, its database, a client, what `fill` returned."""

    settings: StackSettings
    connection: psycopg.Connection[Any]
    client: httpx.Client
    filled: dict[str, Any]


@contextmanager
def served_graph(settings: StackSettings, datasets: int, edges: int) -> Iterator[ServedGraph]:
    """Start a scratch metadata service and fill its database; the repository's stack is not touched."""
    with (
        scratch_stack(settings, ("postgres", "metadata")) as (scratch, _),
        psycopg.connect(scratch.dsn("metadata"), autocommit=True) as connection,
        httpx.Client(base_url=f"http://127.0.0.1:{scratch.metadata_port}", timeout=60) as client,
    ):
        began = time.monotonic()
        filled = fill(connection, datasets, edges)
        err.print(f"[dim]a graph of {filled['edges']:,} edges in {time.monotonic() - began:.0f} s[/]")
        yield ServedGraph(scratch, connection, client, filled)
