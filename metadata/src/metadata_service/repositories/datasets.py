"""Datasets and their other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from metadata_service.models import Dataset
from metadata_service.naming import kind_of, layer_of
from metadata_service.repositories.bulk import Texts, Times, execute

DatasetName = tuple[str, str]  # namespace, name


@dataclass(frozen=True)
class DatasetFilter:
    """What a list of datasets is narrowed to; None means anything."""

    q: str | None = None
    namespace: str | None = None
    name: str | None = None
    uri: str | None = None
    layer: str | None = None
    tag: str | None = None
    owner: str | None = None
    domain: str | None = None


@dataclass(slots=True)
class DatasetSeen:
    """What events tell of a dataset: when it was named first and last, written last and dropped last."""

    first: datetime
    last: datetime
    written: datetime | None = None
    dropped: datetime | None = None

    def absorb(self, at: datetime, *, written: bool = False, dropped: bool = False) -> None:
        """Add what one event tells."""
        self.first, self.last = min(self.first, at), max(self.last, at)
        if written:
            self.written = max(self.written or at, at)
        if dropped:
            self.dropped = max(self.dropped or at, at)


# A dataset is deleted when it was dropped after it was written last. One deleted by hand comes back when it is named.
# Rows that exist are updated, not inserted in vain: an insert works out the words to find them by.
_MERGE = """
WITH n AS MATERIALIZED (
    SELECT namespace, name, layer, type, first, last, written, dropped
      FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s) AS n (namespace, name, layer, type, first, last, written, dropped)
), known AS MATERIALIZED (
    SELECT d.id, n.first, n.last,
           greatest(d.written_at, n.written) AS written, greatest(d.dropped_at, n.dropped) AS dropped
      FROM n JOIN dataset d USING (namespace, name) ORDER BY namespace, name FOR UPDATE OF d
), updated AS (
    UPDATE dataset d
       SET created_at = least(d.created_at, k.first), updated_at = greatest(d.updated_at, k.last),
           written_at = k.written, dropped_at = k.dropped,
           deleted_at = CASE WHEN k.dropped >= coalesce(k.written, '-infinity') THEN k.dropped END
      FROM known k WHERE d.id = k.id RETURNING d.namespace, d.name, d.id
), added AS (
    INSERT INTO dataset AS d
           (id, namespace, name, layer, type, created_at, updated_at, written_at, dropped_at, deleted_at)
    SELECT gen_random_uuid(), namespace, name, layer, type, first, last, written, dropped,
           CASE WHEN dropped >= coalesce(written, '-infinity') THEN dropped END
      FROM n WHERE NOT EXISTS (SELECT FROM dataset d WHERE (d.namespace, d.name) = (n.namespace, n.name))
        ON CONFLICT (namespace, name) DO UPDATE
       SET created_at = least(d.created_at, excluded.created_at),
           updated_at = greatest(d.updated_at, excluded.updated_at),
           written_at = greatest(d.written_at, excluded.written_at),
           dropped_at = greatest(d.dropped_at, excluded.dropped_at),
           deleted_at = CASE WHEN greatest(d.dropped_at, excluded.dropped_at)
                                  >= coalesce(greatest(d.written_at, excluded.written_at), '-infinity')
                             THEN greatest(d.dropped_at, excluded.dropped_at) END
    RETURNING namespace, name, id
)
SELECT * FROM updated UNION ALL SELECT * FROM added
"""


def merge_datasets(session: Session, seen: Mapping[DatasetName, DatasetSeen]) -> dict[DatasetName, UUID]:
    """Make sure datasets exist and add what is told of them. Locks their rows, always in the same order."""
    if not seen:
        return {}
    names = sorted(seen)
    told = [seen[name] for name in names]
    rows = execute(
        session,
        _MERGE,
        Texts(namespace for namespace, _ in names),
        Texts(name for _, name in names),
        Texts(layer_of(*name) for name in names),
        Texts(kind_of(*name) for name in names),
        Times(item.first for item in told),
        Times(item.last for item in told),
        Times(item.written for item in told),
        Times(item.dropped for item in told),
    )
    return {(namespace, name): id_ for namespace, name, id_ in rows}


def upsert_datasets(session: Session, seen: Mapping[DatasetName, datetime]) -> dict[DatasetName, UUID]:
    """Make sure that datasets exist which somebody names by hand, which brings them back if they were dropped."""
    return merge_datasets(session, {name: DatasetSeen(at, at, written=at) for name, at in seen.items()})


def get_dataset(session: Session, dataset_id: UUID) -> Dataset | None:
    """Return a dataset, or the one it is another name of."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is not None and dataset.canonical_id is not None:
        return session.get(Dataset, dataset.canonical_id)
    return dataset


def is_listed(session: Session, name: DatasetName) -> bool:
    """Tell whether a dataset of a name is known and not deleted."""
    query = select(Dataset.id).where(
        Dataset.namespace == name[0], Dataset.name == name[1], Dataset.deleted_at.is_(None)
    )
    return session.execute(query).first() is not None


def mark_deleted(session: Session, dataset: Dataset, at: datetime) -> None:
    """Take a dataset out of all lists, under all of its names."""
    for gone in (dataset, *get_aliases(session, [dataset.id])):
        gone.deleted_at = at


def find_by_uri(session: Session, uri: str) -> Dataset | None:
    """Return the dataset registered under an address."""
    return session.scalars(select(Dataset).where(Dataset.uri == uri).order_by(Dataset.created_at).limit(1)).first()


def get_many(session: Session, dataset_ids: Iterable[UUID]) -> list[Dataset]:
    """Return the datasets that exist, other names as they are."""
    return list(session.scalars(select(Dataset).where(Dataset.id.in_(list(dataset_ids)))))


def get_fresh(session: Session, dataset_ids: Iterable[UUID]) -> list[Dataset]:
    """Return the datasets that exist as they are in the database now, whatever the session remembers."""
    query = select(Dataset).where(Dataset.id.in_(list(dataset_ids)))
    return list(session.scalars(query.execution_options(populate_existing=True)))


def get_aliases(session: Session, dataset_ids: Iterable[UUID]) -> list[Dataset]:
    """Return the other names of datasets."""
    query = select(Dataset).where(Dataset.canonical_id.in_(list(dataset_ids))).order_by(Dataset.namespace, Dataset.name)
    return list(session.scalars(query))


def list_datasets(session: Session, wanted: DatasetFilter, limit: int, offset: int) -> tuple[list[Dataset], int]:
    """Return a page of datasets, newest change first, and how many there are in all."""
    where = _conditions(session, wanted)
    total = session.scalar(select(func.count()).select_from(Dataset).where(*where)) or 0
    query = select(Dataset).where(*where).order_by(Dataset.updated_at.desc(), Dataset.namespace, Dataset.name)
    return list(session.scalars(query.limit(limit).offset(offset))), total


def _conditions(session: Session, wanted: DatasetFilter) -> list[ColumnElement[bool]]:
    if wanted.namespace is not None and wanted.name is not None:
        # An exact look-up finds a dataset by any of its names.
        found = session.execute(
            select(func.coalesce(Dataset.canonical_id, Dataset.id)).where(
                Dataset.namespace == wanted.namespace, Dataset.name == wanted.name
            )
        ).scalar()
        where: list[ColumnElement[bool]] = [Dataset.id == found]
    else:
        where = [Dataset.canonical_id.is_(None)]
        exact: dict[Any, str | None] = {Dataset.namespace: wanted.namespace, Dataset.name: wanted.name}
        where += [column == value for column, value in exact.items() if value is not None]
    where.append(Dataset.deleted_at.is_(None))
    for column in (Dataset.uri, Dataset.layer, Dataset.owner, Dataset.domain):
        value = getattr(wanted, column.key)
        if value is not None:
            where.append(column == value)
    if wanted.tag is not None:
        where.append(Dataset.tags.contains([wanted.tag]))
    for word in (wanted.q or "").split():
        searched = (Dataset.name, Dataset.namespace, Dataset.description, Dataset.owner)
        where.append(
            or_(
                *(column.icontains(word, autoescape=True) for column in searched),
                func.array_to_string(Dataset.tags, " ").icontains(word, autoescape=True),
            )
        )
    return where
