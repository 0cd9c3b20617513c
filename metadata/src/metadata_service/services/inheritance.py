"""Tags that columns inherit along column lineage: what was personal upstream is personal here.

Computed when asked for, so a tag that is set or taken away upstream shows at once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import Dataset
from metadata_service.repositories import datasets, lineage
from metadata_service.repositories.lineage import ColumnKey

# Tags that say how data must be treated stay with the values; others describe one column only.
INHERITED_TAGS = frozenset({"pii", "sensitive", "confidential", "restricted"})


def inherited_tags(session: Session, dataset: Dataset) -> dict[str, list[str]]:
    """Return for each column of a dataset the tags of the columns its values come from, without those of its own."""
    own_id = str(dataset.id)
    sources = _sources(session, own_id)
    origins = {source for found in sources.values() for source in found}
    tags: dict[ColumnKey, list[str]] = {
        (str(origin.id), column["name"]): column["tags"]
        for origin in datasets.get_many(session, {UUID(dataset_id) for dataset_id, _ in origins})
        for column in origin.fields
    }
    return {column["name"]: _inherited(column, sources, tags, own_id) for column in dataset.fields}


def _sources(session: Session, dataset_id: str) -> dict[ColumnKey, set[ColumnKey]]:
    """Return the direct sources of every column up from a dataset, one query a level; a cycle ends where it closes."""
    sources: dict[ColumnKey, set[ColumnKey]] = defaultdict(set)
    seen: set[str] = set()
    frontier = {dataset_id}
    while frontier:
        seen |= frontier
        edges = lineage.value_edges_into(session, frontier)
        for source, target in edges:
            sources[target].add(source)
        frontier = {source for (source, _), _ in edges} - seen
    return sources


def _inherited(
    column: dict[str, Any],
    sources: dict[ColumnKey, set[ColumnKey]],
    tags: dict[ColumnKey, list[str]],
    dataset_id: str,
) -> list[str]:
    own = {tag.lower() for tag in column["tags"]}
    found: dict[str, str] = {}
    seen: set[ColumnKey] = {(dataset_id, column["name"])}
    waiting = [*seen]
    while waiting:
        for source in sources.get(waiting.pop(), ()):
            if source in seen:
                continue
            seen.add(source)
            waiting.append(source)
            for tag in tags.get(source, ()):
                if tag.lower() in INHERITED_TAGS - own:
                    found.setdefault(tag.lower(), tag)
    return [found[key] for key in sorted(found)]
