"""Reading OpenLineage's columnLineage facet: https://openlineage.io/docs/spec/facets/dataset-facets/column_lineage_facet/."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from metadata_service.openlineage import MAX_NAME_BYTES


def column_sources(facet: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    """Yield (column, (namespace, name) of the source, input field) of a facet; what can't be used is passed over."""
    fields = facet.get("fields")
    for field, value in fields.items() if isinstance(fields, dict) else ():
        inputs = value.get("inputFields") if isinstance(value, dict) else None
        for item in inputs if isinstance(inputs, list) else ():
            if isinstance(item, dict) and all(map(_usable, (field, *map(item.get, ("namespace", "name", "field"))))):
                yield field, (item["namespace"], item["name"]), item


class Transformation(NamedTuple):
    """How a column comes from another, as far as it is told."""

    type: str | None = None
    subtype: str | None = None
    description: str | None = None
    masking: bool = False


def transformations(item: dict[str, Any]) -> list[Transformation]:
    """Return how a column comes from an input field; at least one, of which nothing may be known."""
    told = item.get("transformations")
    return [_transformation(how) for how in told] if isinstance(told, list) and told else [Transformation()]


def _transformation(how: object) -> Transformation:
    if not isinstance(how, dict):
        return Transformation()
    kind, subtype, description = (str(how[key]) if how.get(key) else None for key in ("type", "subtype", "description"))
    return Transformation(kind, subtype, description, how.get("masking") is True)


def _usable(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES
