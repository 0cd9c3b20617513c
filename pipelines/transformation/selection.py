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

from pipelines.sources import PLATFORM_SOURCES

_NEWEST = """
SELECT dataset, count(*) || ':' || max(id) FROM audit.file_ingestion_log WHERE status = 'succeeded' GROUP BY dataset
"""
_PUBLISHED = "SELECT sources FROM audit.publications WHERE status = 'published' ORDER BY id DESC LIMIT 1"


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
    *,
    everything: bool = False,
) -> Selection:
    """Return what has to be built.

    Args:
        connection: To the warehouse, as a role that reads audit.
        datasets: Each dataset's dbt source, as `sales.orders`.
        project: The dbt project.
        published: Folder with the manifest of the last published build, or without.
        everything: Take all, and build incremental models anew.
    """
    state = {str(dataset): str(newest) for dataset, newest in connection.execute(_NEWEST)}
    if everything:
        return Selection(("--full-refresh",), "everything, from the start, as was asked", state)
    row = connection.execute(_PUBLISHED).fetchone()
    if row is None or not (published / "manifest.json").exists():
        return Selection((), "everything: nothing has been published yet", state)
    anew = _changed_incremental_models(project, published / "manifest.json")
    if anew:
        return Selection(("--full-refresh",), f"everything, from the start: {', '.join(anew)} changed", state)
    changed = sorted(dataset for dataset in datasets if state.get(dataset) != row[0].get(dataset))
    if not changed:
        return Selection((), "everything: no input has changed, so it was asked for by hand", state)
    # What the platform notes of itself changes with every file.
    sources = [*(datasets[dataset] for dataset in changed), *PLATFORM_SOURCES]
    criteria = [*(f"source:{source}+" for source in sources), "state:modified+"]
    # Unit tests are of the models' code, and run with every build of everything.
    arguments = ("--select", *criteria, "--exclude-resource-type", "unit_test", "--state", str(published.absolute()))
    return Selection(arguments, f"what {', '.join(changed)} and changed models lead to", state)


def _changed_incremental_models(project: Path, manifest: Path) -> list[str]:
    """Return the incremental models whose SQL is another than that of the published build: old rows may differ."""
    changed = []
    for node in json.loads(manifest.read_text())["nodes"].values():
        if node["resource_type"] == "model" and node["config"]["materialized"] == "incremental":
            path = project / node["original_file_path"]
            if path.exists() and path.read_text().strip() != node["raw_code"].strip():
                changed.append(node["name"])
    return changed
