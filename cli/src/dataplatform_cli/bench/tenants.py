"""`dp bench tenants`: what a team's view costs: the same questions with a key that sees all, and with a bound one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
from rich.table import Table

from dataplatform_cli.bench import graph
from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

RATIO_LIMIT = 3.0
NAMESPACES = ["postgres://bench:5432", "bench"]  # of the graph
_WALK = {"direction": "both", "depth": 5, "max_nodes": 500}

Question = Callable[[str, int], tuple[str, dict[str, Any]]]
"""A path and its parameters, by a dataset's id and number."""

QUESTIONS: dict[str, Question] = {
    "lineage of tables": lambda id_, _: (f"/datasets/{id_}/lineage", {**_WALK, "columns": "false"}),
    "with columns": lambda id_, _: (f"/datasets/{id_}/lineage", {**_WALK, "depth": 3}),
    "lineage of a column": lambda id_, _: (f"/datasets/{id_}/columns/column1/lineage", _WALK),
    "impact": lambda id_, _: (f"/datasets/{id_}/impact", {}),
    "search by name": lambda _, number: ("/search", {"q": f"table{number}"}),
    "search by words": lambda _, number: ("/search", {"q": f"warehouse layer{number % graph.LAYERS}"}),
    "search with a typo": lambda _, number: ("/search", {"q": f"wraehouse table{number}"}),
    "a dataset's page": lambda id_, _: (f"/ui/datasets/{id_}", {}),
    "list of datasets": lambda *_: ("/datasets", {}),
    "list of runs": lambda *_: ("/runs", {}),
    "whole graph": lambda *_: ("/graph", {}),
    "Marquez's jobs": lambda *_: ("/api/v1/jobs", {}),
}


def bench_tenants(settings: StackSettings, datasets: int, edges: int, queries: int) -> dict[str, Any]:
    """Fill a catalog with a graph and ask the same of it with both keys, in turn.

    The bound key's namespaces are all there are, so the answers are the same: what differs is what row-level security
    costs where it has most to let through.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        datasets: Datasets, and as many jobs.
        edges: Between them.
        queries: Questions of each kind.

    Raises:
        PlatformError: the answers differ.
    """
    with graph.served_graph(settings, datasets, edges) as served:
        scratch, connection, client = served.settings, served.connection, served.client
        admin = {"Authorization": f"Bearer {scratch.metadata_api_key.get_secret_value()}"}
        made = client.post("/keys", json={"name": "bound", "namespaces": NAMESPACES}, headers=admin).raise_for_status()
        bound = {"Authorization": f"Bearer {made.json()['key']}"}
        found = connection.execute(
            "SELECT id, i FROM bench_dataset WHERE i >= %s ORDER BY md5(i::text) LIMIT %s", [datasets // 4, queries]
        ).fetchall()
        client.get("/search", params={"q": "wraehouse"}).raise_for_status()  # which takes in the vocabulary
        results = [_measure(kind, ask, found, client, admin, bound) for kind, ask in QUESTIONS.items()]
    return {"graph": served.filled, "queries": queries, "results": results}


def _measure(
    kind: str, ask: Question, found: list[Any], client: httpx.Client, admin: dict[str, str], bound: dict[str, str]
) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"all": [], "bound": []}
    sizes = []
    for place, (id_, number) in enumerate([*found[:10], *found]):  # the first for connections and plans
        path, query = ask(id_, number)
        answers = []
        for name, key in (("all", admin), ("bound", bound)):
            began = time.perf_counter()
            answer = client.get(path, params=query, headers=key).raise_for_status()
            if place >= 10:
                seconds[name].append(time.perf_counter() - began)
            answers.append(answer)
        if _told(path, answers[0]) != _told(path, answers[1]):
            raise PlatformError(f"{path} was answered differently to the bound key: nothing was measured")
        sizes.append(len(answers[0].content))
    figures: dict[str, Any] = {"kind": kind, "bytes": statistics.median(sizes)}
    for name, times in seconds.items():
        figures |= {f"{name}_p50": statistics.median(times), f"{name}_p95": statistics.quantiles(times, n=20)[-1]}
    return figures | {"ratio": figures["bound_p50"] / figures["all_p50"]}


def _told(path: str, answer: httpx.Response) -> Any:
    """Return what has to be the same in both answers."""
    if path.startswith("/ui/"):
        return None  # it says whose view it is
    # Of very many matches a search ranks some, whichever come first.
    return answer.json()["total"] if path == "/search" else answer.json()


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    made = figures["graph"]
    out.print(f"{made['datasets']:,} datasets, {made['jobs']:,} jobs, {made['edges']:,} edges")
    table = Table(title="milliseconds over HTTP", box=None)
    for name in ("question", "bytes", "all p50", "p95", "bound p50", "p95", "ratio"):
        table.add_column(name, justify="left" if name == "question" else "right")
    for item in figures["results"]:
        times = [f"{item[name] * 1000:.1f}" for name in ("all_p50", "all_p95", "bound_p50", "bound_p95")]
        table.add_row(item["kind"], f"{item['bytes']:,.0f}", *times, f"{item['ratio']:.2f}")
    out.print(table)
    out.print(f"ratio: a team's view to that of all (lineage and search should be at most {RATIO_LIMIT:.0f})")
