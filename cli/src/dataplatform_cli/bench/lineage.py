"""`dp bench lineage`: lineage of tables and columns in a large graph, beside a SQL that gets the same by ids."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import httpx
import psycopg
from pydantic import SecretStr
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dataplatform_cli.bench import graph
from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from metadata_service.database import make_engine
from metadata_service.repositories import lineage
from metadata_service.repositories.lineage import Reach
from metadata_service.settings import ServiceSettings

DEPTH = 5
MAX_NODES = 500
P95_LIMIT = 0.05  # seconds, for answers of up to MAX_NODES nodes
RATIO_LIMIT = 3.0
_SIZES = ((1, 10), (11, 50), (51, 200), (201, 499), (500, 500))
_REPEATS = 3

_DATASETS = """
SELECT id::text, namespace, name, layer, type, owner, tags, deleted_at IS NOT NULL FROM dataset WHERE id = ANY (%s)
"""
_JOBS = """
SELECT j.id::text, j.namespace, j.name, k.value ->> 'integration', o.value -> 'owners', r.state,
       j.deleted_at IS NOT NULL
  FROM job j
  LEFT JOIN facet k ON k.owner_type = 'job' AND k.owner_id = j.id::text AND k.name = 'jobType'
  LEFT JOIN facet o ON o.owner_type = 'job' AND o.owner_id = j.id::text AND o.name = 'ownership'
  LEFT JOIN LATERAL (SELECT state FROM run WHERE run.job_id = j.id
                      ORDER BY run.updated_at DESC, run.id DESC LIMIT 1) r ON true
 WHERE j.id = ANY (%s)
"""
_EDGES = """
SELECT job_id::text, dataset_id::text, direction FROM job_dataset WHERE job_id = ANY (%s) AND dataset_id = ANY (%s)
"""
_COLUMN_EDGES = """
SELECT c.input_dataset_id::text, c.input_field, c.dataset_id::text, c.field, c.job_id::text, c.type, c.subtype,
       c.description
  FROM unnest(%s::uuid[], %s::text[]) AS t (id, field)
  JOIN column_edge c ON c.dataset_id = t.id AND c.field = t.field
  JOIN unnest(%s::uuid[], %s::text[]) AS s (id, field) ON s.id = c.input_dataset_id AND s.field = c.input_field
"""

Answer = dict[str, Any]
_Connection = psycopg.Connection[Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Kind:
    """A kind of question: its path, the query that the service carries out, and the SQL that gets the same by ids."""

    name: str
    path: str
    extra: dict[str, str]
    query: Callable[[Session, UUID, Reach], object]
    fetch: Callable[[_Connection, Answer], int]


def bench_lineage(settings: StackSettings, datasets: int, edges: int, queries: int) -> dict[str, Any]:
    """Fill a catalog with a graph, ask for lineage and return the figures.

    Each question is asked three times over HTTP, then the service's query of it is carried out by itself three times,
    and so is the SQL that gets the same nodes and edges given their ids; of each the median counts.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        datasets: Datasets, and as many jobs.
        edges: Between them.
        queries: Questions of each kind.
    """
    with graph.served_graph(settings, datasets, edges) as served:
        scratch, connection, client = served.settings, served.connection, served.client
        # The start is anywhere but in the first layers, which have hardly anything upstream.
        found = connection.execute(
            "SELECT id FROM bench_dataset WHERE i >= %s ORDER BY md5(i::text) LIMIT %s", [datasets // 4, queries]
        ).fetchall()
        engine = make_engine(ServiceSettings(api_key=SecretStr("-"), database_url=SecretStr(scratch.dsn("metadata"))))
        measured: list[dict[str, Any]] = []
        for kind in (_TABLES, _COLUMNS):
            for direction in ("upstream", "downstream", "both"):
                reach = Reach(direction, DEPTH, MAX_NODES)
                measured += _measure(kind, reach, [start for (start,) in found], client, engine, connection)
        engine.dispose()
    return {
        "graph": served.filled,
        "queries": queries,
        "depth": DEPTH,
        "max_nodes": MAX_NODES,
        "results": _by_size(measured),
    }


def _measure(
    kind: _Kind, reach: Reach, starts: list[UUID], client: httpx.Client, engine: Engine, connection: _Connection
) -> list[dict[str, Any]]:
    """Return for each question the size of its answer, and the seconds that it took in each way."""
    query = {"direction": reach.direction, "depth": reach.depth, "max_nodes": reach.max_nodes, **kind.extra}
    for start in starts[:10]:  # connections, plans
        client.get(kind.path.format(start), params=query).raise_for_status()
    measured = []
    for start in starts:
        asked, answer = _timed(partial(client.get, kind.path.format(start), params=query))
        body = answer.raise_for_status().json()
        # Committed: with a transaction that is rolled back go the statements that its connection has prepared.
        with Session(engine) as session, session.begin():
            queried, _ = _timed(partial(kind.query, session, start, reach))
        by_ids, edges = _timed(partial(kind.fetch, connection, body))
        told = len(body.get("edges", body["column_edges"]))
        if edges != told:
            raise PlatformError(f"of {start} the service told {told} edges and the SQL {edges}: nothing was measured")
        nodes = len(body.get("columns", body["nodes"]))
        times = {"http": asked, "query": queried, "by_ids": by_ids}
        measured.append({"kind": kind.name, "direction": reach.direction, "nodes": nodes, "edges": edges, **times})
    return measured


def _timed(do: Callable[[], _T]) -> tuple[float, _T]:
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        result = do()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def _fetch_tables(connection: _Connection, answer: Answer) -> int:
    ids: dict[str, list[UUID]] = {"dataset": [], "job": []}
    for node in answer["nodes"]:
        ids[node["type"]].append(UUID(node["id"]))
    connection.execute(_DATASETS, [ids["dataset"]]).fetchall()
    connection.execute(_JOBS, [ids["job"]]).fetchall()
    return len(connection.execute(_EDGES, [ids["job"], ids["dataset"]]).fetchall())


def _fetch_columns(connection: _Connection, answer: Answer) -> int:
    datasets = [UUID(column["dataset_id"]) for column in answer["columns"]]
    fields = [column["column"] for column in answer["columns"]]
    connection.execute(_DATASETS, [list(set(datasets))]).fetchall()
    return len(connection.execute(_COLUMN_EDGES, [datasets, fields, datasets, fields]).fetchall())


_TABLES = _Kind(
    "tables",
    "/datasets/{}/lineage",
    {"columns": "false"},
    lambda session, start, reach: lineage.draw_around(session, start, reach, columns=False),
    _fetch_tables,
)
_COLUMNS = _Kind(
    "columns",
    "/datasets/{}/columns/column1/lineage",
    {},
    lambda session, start, reach: lineage.draw_around_column(session, start, "column1", reach, None),
    _fetch_columns,
)


def _by_size(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results = []
    for kind, direction in dict.fromkeys((item["kind"], item["direction"]) for item in measured):
        for low, high in _SIZES:
            group = [
                item
                for item in measured
                if (item["kind"], item["direction"]) == (kind, direction) and low <= item["nodes"] <= high
            ]
            if not group:
                continue
            figures: dict[str, Any] = {
                "kind": kind,
                "direction": direction,
                "nodes": f"{low}-{high}" if low != high else f"{high} (cut)",
                "answers": len(group),
                "edges": statistics.median(item["edges"] for item in group),
            }
            for way in ("http", "query", "by_ids"):
                figures[f"{way}_p50"] = _at([item[way] for item in group], 0.5)
                figures[f"{way}_p95"] = _at([item[way] for item in group], 0.95)
            for way in ("http", "query"):
                figures[f"{way}_ratio"] = _at([item[way] / item["by_ids"] for item in group], 0.5)
                figures[f"{way}_ratio_p95"] = _at([item[way] / item["by_ids"] for item in group], 0.95)
            results.append(figures)
    return results


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    made = figures["graph"]
    out.print(
        f"{made['datasets']:,} datasets, {made['jobs']:,} jobs, {made['edges']:,} edges, "
        f"{made['column_edges']:,} column edges; a job reads {made['median_inputs']} datasets in the median and "
        f"{made['most_inputs']:,} at most"
    )
    table = Table(title=f"depth {figures['depth']}, milliseconds", box=None)
    for name in ("lineage of", "direction"):
        table.add_column(name)
    for name in ("nodes", "answers", "edges", "HTTP p50", "p95", "query p50", "by ids p50", "ratio p50", "p95"):
        table.add_column(name, justify="right")
    for item in figures["results"]:
        times = [f"{item[name] * 1000:.1f}" for name in ("http_p50", "http_p95", "query_p50", "by_ids_p50")]
        ratios = [f"{item[name]:.2f}" for name in ("query_ratio", "query_ratio_p95")]
        counts = [item["nodes"], str(item["answers"]), f"{item['edges']:.0f}"]
        table.add_row(item["kind"], item["direction"], *counts, *times, *ratios)
    out.print(table)
    slowest = max(item["http_p95"] for item in figures["results"])
    out.print(f"slowest p95 over HTTP {slowest * 1000:.1f} ms (should be below {P95_LIMIT * 1000:.0f})")
    out.print(f"ratio: the service's query to the SQL that gets the same by ids (should be at most {RATIO_LIMIT:.0f})")
