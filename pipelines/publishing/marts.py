"""The marts of a build, as its manifest has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CANDIDATE, CURATED = "candidate", "curated"
BUILT_AT = "built_at"
"""The column of an incremental mart that says when a row was last built; it takes no part in comparisons."""


@dataclass(frozen=True)
class Mart:
    """One mart. `partition_by` is the date column by whose month its Parquet files are divided."""

    name: str
    incremental: bool = False
    partition_by: str | None = None
    owner: str = ""
    owner_email: str | None = None


def marts_of(manifest: Path) -> list[Mart]:
    """Return the marts of a dbt manifest, by name; none where dbt has not come so far as to write one."""
    if not manifest.exists():
        return []
    content = json.loads(manifest.read_text())
    emails = {group["owner"].get("name"): group["owner"].get("email") for group in content["groups"].values()}
    found = []
    for node in content["nodes"].values():
        if node["resource_type"] == "model" and node["schema"] == CANDIDATE:
            meta = node["config"].get("meta", {})
            owner = str(meta.get("owner", ""))
            is_incremental = node["config"]["materialized"] == "incremental"
            found.append(Mart(node["alias"], is_incremental, meta.get("partition_by"), owner, emails.get(owner)))
    return sorted(found, key=lambda mart: mart.name)
