"""Facets: the newest value of each, whatever the order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Text, cast, delete, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from metadata_service.models import Facet

OwnerType = Literal["dataset", "job", "run", "input", "output"]


@dataclass(frozen=True)
class FacetOwner:
    """What a facet describes."""

    type: OwnerType
    id: str


def _save_statement() -> Insert:
    statement = insert(Facet.__table__)  # type: ignore[arg-type]
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[Facet.owner_type, Facet.owner_id, Facet.name],
        set_={"value": new.value, "event_time": new.event_time},
        where=tuple_(new.event_time, cast(new.value, Text)) > tuple_(Facet.event_time, cast(Facet.value, Text)),
    )


_SAVE = _save_statement()


def save_facets(
    session: Session, facets: Mapping[FacetOwner, Mapping[str, dict[str, Any]]], event_time: datetime
) -> None:
    """Store facets of one event. A stored value of a newer event stays; at the same time the greater text wins."""
    rows = [
        {"owner_type": owner.type, "owner_id": owner.id, "name": name, "value": value, "event_time": event_time}
        for owner, values in sorted(facets.items(), key=lambda item: (item[0].type, item[0].id))
        for name, value in sorted(values.items())
    ]
    if rows:
        session.connection().execute(_SAVE, rows)


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
