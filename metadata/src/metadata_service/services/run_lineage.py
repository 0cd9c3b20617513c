"""The graph of runs: which runs made what a run read, and which read what it made.

A run read of each input what the last run that ended before it began had written, and its own outputs are read by the
runs that begin after it ended, until another run writes them anew.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from metadata_service.models import Run
from metadata_service.problems import NotFoundError
from metadata_service.repositories import run_lineage
from metadata_service.repositories.lineage import Reach, Way
from metadata_service.services import lineage


def around_run(session: Session, run_id: str, reach: Reach) -> dict[str, Any]:
    """Return the runs and datasets up and down from a run, nearest first up to a number of nodes."""
    if session.get(Run, run_id) is None:
        raise NotFoundError("run", run_id)
    runs: dict[str, None] = {run_id: None}
    datasets: dict[str, None] = {}
    edges: set[tuple[str, str]] = set()
    frontier: list[dict[str, str]] = []
    for way in reach.ways:
        leaving = [run_id]
        for hop in range(reach.depth + 1):
            if not leaving:
                break
            pairs = run_lineage.datasets_of(session, leaving, "input" if way == "upstream" else "output")
            fresh = {dataset for _, dataset in pairs} - datasets.keys()
            if hop == reach.depth or len(runs) + len(datasets) + len(fresh) > reach.max_nodes:
                ends = {run for run, dataset in pairs if dataset in fresh}
                frontier += [{"id": id_, "direction": way} for id_ in leaving if id_ in ends]
                break
            datasets |= dict.fromkeys(sorted(fresh))
            edges |= {_arrow(run, dataset, way) for run, dataset in pairs}
            steps = run_lineage.next_runs(session, pairs, way, reach.max_nodes)
            room = reach.max_nodes - len(runs) - len(datasets)
            new = sorted({other for _, _, other in steps} - runs.keys())
            if len(new) > room:
                frontier += [{"id": id_, "direction": way} for id_ in sorted({run for run, _, _ in steps})]
            new = new[: max(room, 0)]
            runs |= dict.fromkeys(new)
            edges |= {
                _arrow(other, dataset, "downstream" if way == "upstream" else "upstream")
                for _, dataset, other in steps
                if other in runs
            }
            leaving = new
    return {
        "run_id": run_id,
        "direction": reach.direction,
        "depth": reach.depth,
        "nodes": _nodes(session, runs, datasets),
        "edges": [{"source": source, "target": target} for source, target in sorted(edges)],
        "truncated": len(runs) + len(datasets) >= reach.max_nodes,
        "frontier": frontier,
    }


def _arrow(run: str, dataset: str, way: Way) -> tuple[str, str]:
    """Return the edge of a run and what it read (upstream of it) or wrote (downstream)."""
    return (dataset, run) if way == "upstream" else (run, dataset)


def _nodes(session: Session, runs: dict[str, None], datasets: dict[str, None]) -> list[dict[str, Any]]:
    shown = [
        {
            "id": id_,
            "type": "run",
            "namespace": namespace,
            "name": name,
            "state": state,
            "started_at": started,
            "ended_at": ended,
            "deleted": False,
        }
        for id_, namespace, name, state, started, ended in run_lineage.run_rows(session, runs)
    ]
    shown += [
        {
            **{key: node[key] for key in ("id", "type", "namespace", "name", "state", "deleted")},
            "started_at": None,
            "ended_at": None,
        }
        for node in lineage.nodes(session, datasets, ())
    ]
    return sorted(shown, key=lambda node: (node["type"], node["namespace"] or "", node["name"] or "", node["id"]))
