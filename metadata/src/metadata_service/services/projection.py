"""What a dataset shows: what the catalog declared of it, completed by the facets that lineage brought.

A declared value wins. Columns are the declared ones in their order, then those only lineage saw; a column's missing
type and description come from lineage, and its tags are those of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import Dataset
from metadata_service.repositories import datasets as dataset_repository
from metadata_service.repositories.facets import load_facets

PROJECTED_FACETS = frozenset({"schema", "documentation", "ownership", "tags"})


def project(session: Session, dataset_ids: Iterable[UUID]) -> None:
    """Recompute what datasets show from what is stored under all of their names."""
    dataset_ids = list(dataset_ids)
    if not dataset_ids:
        return
    found = dataset_repository.get_fresh(session, dataset_ids)
    canonical = dataset_repository.get_fresh(session, {item.canonical_id or item.id for item in found})
    facets = dataset_facets(session, [item.id for item in canonical], PROJECTED_FACETS)
    for dataset in canonical:
        _apply(dataset, facets[dataset.id])
    session.flush()


def dataset_facets(
    session: Session, dataset_ids: Iterable[UUID], names: Iterable[str] | None = None
) -> dict[UUID, dict[str, dict[str, Any]]]:
    """Return the facets of each dataset under its own name, completed by those under its other names."""
    ids = list(dataset_ids)
    aliases = dataset_repository.get_aliases(session, ids)
    found = load_facets(session, "dataset", [str(id_) for id_ in (*ids, *(alias.id for alias in aliases))], names)
    merged: dict[UUID, dict[str, dict[str, Any]]] = {id_: {} for id_ in ids}
    for alias in reversed(aliases):
        if alias.canonical_id is not None:
            merged[alias.canonical_id] |= found.get(str(alias.id), {})
    for id_ in ids:
        merged[id_] |= found.get(str(id_), {})
    return merged


def _apply(dataset: Dataset, facets: dict[str, dict[str, Any]]) -> None:
    declared = dataset.declared
    tags = [tag for tag in _items(facets, "tags", "tags") if tag.get("key")]
    dataset.uri = declared.get("uri")
    dataset.description = declared.get("description") or _text(facets.get("documentation", {}).get("description"))
    dataset.owner = declared.get("owner") or _owners(facets)
    dataset.domain = declared.get("domain")
    dataset.tags = _merge(declared.get("tags") or [], [_tag_text(tag) for tag in tags if not tag.get("field")])
    dataset.fields = _columns(declared.get("schema") or [], _items(facets, "schema", "fields"), tags)


def _items(facets: dict[str, dict[str, Any]], facet: str, key: str) -> list[dict[str, Any]]:
    """Return the list of objects at a facet's key; producers' mistakes count as nothing."""
    value = facets.get(facet, {}).get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _owners(facets: dict[str, dict[str, Any]]) -> str | None:
    names = [owner["name"] for owner in _items(facets, "ownership", "owners") if _text(owner.get("name"))]
    return ", ".join(names) or None


def _tag_text(tag: dict[str, Any]) -> str:
    value = str(tag.get("value", "true"))
    return str(tag["key"]) if value.lower() in ("true", "") else f"{tag['key']}:{value}"


def _merge(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _columns(
    declared: list[dict[str, Any]], observed: list[dict[str, Any]], tags: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    columns = {column["name"]: dict(column) for column in declared}
    for field in observed:
        name = _text(field.get("name"))
        if name is None:
            continue
        column = columns.setdefault(name, {"name": name})
        for key, value in field.items():
            if not column.get(key):
                column[key] = value
    for column in columns.values():
        mine = [_tag_text(tag) for tag in tags if tag.get("field") == column["name"]]
        column["tags"] = _merge([str(tag) for tag in column.get("tags") or []], mine)
        column.setdefault("type", None)
        column.setdefault("description", None)
    return list(columns.values())
