"""What a build has to take: the sources that changed since the last publication, the models that changed, all below.

A source has changed when the file ledger knows another number of files of its dataset, or another newest one. A build
whose outcome was held back has published nothing, so what it built is taken again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from pipelines.sources import PLATFORM_SOURCES, model_graph
from pipelines.transformation.builds import by_hand_since, unpublished_models

_NEWEST = """
SELECT dataset, count(*) || ':' || max(id) FROM audit.file_ingestion_log WHERE status = 'succeeded' GROUP BY dataset
"""
_PUBLISHED = "SELECT sources, ended_at FROM audit.publications WHERE status = 'published' ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True)
class Selection:
    """What to build: dbt's arguments, why in words, and the state of the sources that the build sees."""

    arguments: tuple[str, ...]
    reason: str
    sources: dict[str, str]


def select_changed(
    connection: psycopg.Connection[Any],
    datasets: Mapping[str, str],
    project: Path,
    published: Path,
    built: Path,
    *,
    everything: bool = False,
) -> Selection:
    """Return what has to be built.

    Args:
        connection: To the warehouse, as a role that reads audit.
        datasets: Each dataset's dbt source, as `sales.orders`.
        project: The dbt project.
        published: Folder with the manifest of the last published build, or without.
        built: Folder with the manifest of the last build, or without.
        everything: Take all, and build incremental models anew.
    """
    state = {str(dataset): str(newest) for dataset, newest in connection.execute(_NEWEST)}
    if everything:
        return Selection(("--full-refresh",), "everything, from the start, as was asked", state)
    row = connection.execute(_PUBLISHED).fetchone()
    if row is None or not (published / "manifest.json").exists():
        return Selection((), "everything: nothing has been published yet", state)
    if by_hand_since(connection, row[1]):
        return Selection(("--full-refresh",), "everything, from the start: dbt was run by hand meanwhile", state)
    # What a build that was held back has made of old rows is in the candidates still.
    anew = _changed_incremental_models(project, published) | _changed_incremental_models(project, built)
    if anew:
        return Selection(("--full-refresh",), f"everything, from the start: {', '.join(sorted(anew))} changed", state)
    changed = sorted(dataset for dataset in datasets if state.get(dataset) != row[0].get(dataset))
    graph = model_graph(project)
    again = sorted(name for name in unpublished_models(connection) if name in graph)
    if not changed and not again:
        return Selection((), "everything: no input has changed, so it was asked for by hand", state)
    # What the platform notes of itself changes with every file.
    sources = [*(datasets[dataset] for dataset in changed), *PLATFORM_SOURCES]
    criteria = [*(f"source:{source}+" for source in sources), *(f"{name}+" for name in again), "state:modified+"]
    # Unit tests are of the models' code, and run with every build of everything.
    arguments = ("--select", *criteria, "--exclude-resource-type", "unit_test", "--state", str(published.absolute()))
    return Selection(arguments, f"what {', '.join([*changed, *again])} and changed models lead to", state)


def _changed_incremental_models(project: Path, build: Path) -> set[str]:
    """Return the incremental models that a build made by other SQL than there is now: their old rows may differ.

    Their SQL is their own, that of the models that they are made of, and that of the macros in either.
    """
    path = build / "manifest.json"
    if not path.exists():
        return set()
    manifest = json.loads(path.read_text())
    nodes, parents = manifest["nodes"], manifest["parent_map"]
    changed = set()
    for unique_id, node in nodes.items():
        if node["resource_type"] != "model" or node["config"]["materialized"] != "incremental":
            continue
        if any(_differs(nodes[part], manifest, project) for part in _made_of(unique_id, parents) if part in nodes):
            changed.add(str(node["name"]))
    return changed


def _made_of(unique_id: str, parents: dict[str, list[str]]) -> set[str]:
    found = {unique_id}
    for parent in parents.get(unique_id, ()):
        found |= _made_of(parent, parents)
    return found


def _differs(node: dict[str, Any], manifest: dict[str, Any], project: Path) -> bool:
    path = project / node["original_file_path"]
    if node["resource_type"] != "model" or not path.exists():
        return False
    if path.read_text().strip() != node["raw_code"].strip():
        return True
    macros = [manifest["macros"][name] for name in node["depends_on"]["macros"] if name in manifest["macros"]]
    own = [macro for macro in macros if macro["package_name"] == manifest["metadata"]["project_name"]]
    return any(macro["macro_sql"].strip() not in _text(project / macro["original_file_path"]) for macro in own)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
