"""Datasets and their other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from metadata_service.models import Dataset
from metadata_service.naming import kind_of, layer_of

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


def _upsert_statement() -> ReturningInsert[str, str, UUID]:
    statement = insert(Dataset.__table__)  # type: ignore[arg-type]
    return statement.on_conflict_do_update(
        index_elements=[Dataset.namespace, Dataset.name],
        set_={
            "created_at": func.least(Dataset.created_at, statement.excluded.created_at),
            "updated_at": func.greatest(Dataset.updated_at, statement.excluded.updated_at),
        },
    ).returning(Dataset.namespace, Dataset.name, Dataset.id)


_UPSERT = _upsert_statement()


def upsert_datasets(session: Session, seen: Mapping[DatasetName, datetime]) -> dict[DatasetName, UUID]:
    """Make sure datasets exist and widen the time they were seen in. Locks their rows, always in the same order."""
    if not seen:
        return {}
    rows = [
        {
            "id": uuid4(),
            "namespace": namespace,
            "name": name,
            "layer": layer_of(namespace, name),
            "type": kind_of(namespace, name),
            "created_at": at,
            "updated_at": at,
        }
        for (namespace, name), at in sorted(seen.items())
    ]
    result = session.connection().execute(_UPSERT, rows)
    return {(namespace, name): id_ for namespace, name, id_ in result}


def claim_alias(session: Session, canonical: UUID, alias: UUID, at: datetime) -> None:
    """Make `alias` another name of `canonical`, unless a newer event said otherwise."""
    if canonical == alias:
        return
    counter = session.execute(
        select(Dataset.canonical_since).where(Dataset.id == canonical, Dataset.canonical_id == alias)
    ).first()
    if counter and counter.canonical_since and counter.canonical_since > at:
        return
    if counter:
        session.execute(update(Dataset).where(Dataset.id == canonical).values(canonical_id=None, canonical_since=None))
    session.execute(
        update(Dataset)
        .where(Dataset.id == alias, or_(Dataset.canonical_since.is_(None), Dataset.canonical_since <= at))
        .values(canonical_id=canonical, canonical_since=at)
    )


def get_dataset(session: Session, dataset_id: UUID) -> Dataset | None:
    """Return a dataset, or the one it is another name of."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is not None and dataset.canonical_id is not None:
        return session.get(Dataset, dataset.canonical_id)
    return dataset


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
