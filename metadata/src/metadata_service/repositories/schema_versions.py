"""The columns that datasets were seen with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, SchemaVersion
from metadata_service.repositories.bulk import Bytes, Jsonbs, Times, Uuids, execute

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class SchemaSeen:
    """Columns (`name`, `type`) and when they were seen first and last."""

    columns: list[dict[str, Any]]
    first: datetime
    last: datetime

    def absorb(self, at: datetime) -> None:
        """Add that they were seen at another time."""
        self.first, self.last = min(self.first, at), max(self.last, at)


def columns_of(fields: object) -> tuple[bytes, list[dict[str, Any]]] | None:
    """Return the digest and the columns of a schema facet's fields, None where there are none."""
    columns = [
        {"name": field["name"], "type": field["type"] if isinstance(field.get("type"), str) else None}
        for field in (fields if isinstance(fields, list) else ())
        if isinstance(field, dict) and isinstance(field.get("name"), str) and field["name"]
    ]
    in_order = sorted(columns, key=lambda column: str(column["name"]))  # another order is no other version
    return (hashlib.sha256(_encode(in_order)).digest(), columns) if columns else None


_SAVE = """
INSERT INTO schema_version AS v (dataset_id, digest, columns, first_seen_at, last_seen_at)
SELECT * FROM unnest(%s, %s, %s, %s, %s)
    ON CONFLICT (dataset_id, digest) DO UPDATE
   SET first_seen_at = least(v.first_seen_at, excluded.first_seen_at),
       last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at)
"""


def save_versions(session: Session, seen: Iterable[tuple[UUID, bytes, SchemaSeen]]) -> None:
    """Note columns that datasets were seen with; each dataset and digest is given once."""
    rows = sorted(seen, key=lambda row: (row[0], row[1]))
    if rows:
        execute(
            session,
            _SAVE,
            Uuids(dataset_id for dataset_id, _, _ in rows),
            Bytes(digest for _, digest, _ in rows),
            Jsonbs(version.columns for _, _, version in rows),
            Times(version.first for _, _, version in rows),
            Times(version.last for _, _, version in rows),
        )


def list_versions(session: Session, dataset_id: UUID) -> list[SchemaVersion]:
    """Return the versions of a dataset under all of its names, the first first."""
    query = (
        select(SchemaVersion)
        .join(Dataset, Dataset.id == SchemaVersion.dataset_id)
        .where(or_(Dataset.id == dataset_id, Dataset.canonical_id == dataset_id))
        .order_by(SchemaVersion.first_seen_at, SchemaVersion.last_seen_at, SchemaVersion.digest)
    )
    return list(session.scalars(query))
