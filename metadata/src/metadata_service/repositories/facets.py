"""Facets: the newest value of each, whatever the order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from metadata_service.models import Facet
from metadata_service.repositories.bulk import Jsonbs, Texts, Times, execute

OwnerType = Literal["dataset", "job", "run", "input", "output", "static"]


@dataclass(frozen=True, slots=True)
class FacetOwner:
    """What a facet describes."""

    type: OwnerType
    id: str


_SAVE = """
WITH new AS MATERIALIZED (
    SELECT * FROM unnest(%s, %s, %s, %s, %s) AS n (owner_type, owner_id, name, value, event_time)
), changed AS (
    SELECT DISTINCT n.owner_id
      FROM new n LEFT JOIN facet f ON (f.owner_type, f.owner_id, f.name) = (n.owner_type, n.owner_id, n.name)
     WHERE n.owner_type = 'dataset' AND n.name = ANY(%s) AND f.value IS DISTINCT FROM n.value
), saved AS (
    INSERT INTO facet AS f (owner_type, owner_id, name, value, event_time) SELECT * FROM new
        ON CONFLICT (owner_type, owner_id, name) DO UPDATE SET value = excluded.value, event_time = excluded.event_time
     WHERE (excluded.event_time, excluded.value::text) > (f.event_time, f.value::text)
)
SELECT owner_id FROM changed
"""

FacetKey = tuple[FacetOwner, str]  # what it describes, its name


def save_facets(
    session: Session, facets: Mapping[FacetKey, tuple[datetime, dict[str, Any]]], watched: Iterable[str] = ()
) -> set[UUID]:
    """Store facets with the times of their events; return the datasets of which a watched one may have changed.

    A stored value of a newer event stays; at the same time the greater text wins.
    """
    rows = sorted(facets.items(), key=lambda item: (item[0][0].type, item[0][0].id, item[0][1]))
    if not rows:
        return set()
    changed = execute(
        session,
        _SAVE,
        Texts(owner.type for (owner, _), _ in rows),
        Texts(owner.id for (owner, _), _ in rows),
        Texts(name for (_, name), _ in rows),
        Jsonbs(value for _, (_, value) in rows),
        Times(at for _, (at, _) in rows),
        Texts(watched),
    )
    return {UUID(owner_id) for (owner_id,) in changed}


def load_facets(
    session: Session, owner_type: OwnerType, owner_ids: Iterable[str], names: Iterable[str] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the facets of each owner that has any (only `names`, if given). Deleted facets are left out."""
    query = select(Facet.owner_id, Facet.name, Facet.value).where(
        Facet.owner_type == owner_type, Facet.owner_id.in_(list(owner_ids))
    )
    if names is not None:
        query = query.where(Facet.name.in_(list(names)))
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for owner_id, name, value in session.execute(query.order_by(Facet.name)):
        if not value.get("_deleted"):
            found[owner_id][name] = value
    return found


def delete_facets(session: Session, owner_type: OwnerType, owner_id: str) -> None:
    """Forget the facets of an owner."""
    session.execute(delete(Facet).where(Facet.owner_type == owner_type, Facet.owner_id == owner_id))


def facet_text(facets: Mapping[str, Any], facet: str, key: str) -> str | None:
    """Return the text at a facet's key; None if there is none, or something else than text."""
    value = facets.get(facet, {}).get(key)
    return value if isinstance(value, str) and value else None
