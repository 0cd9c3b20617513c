"""Data products, their versions, datasets and registered lineage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Query
from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Product, ProductDataset, ProductLineageEdge, ProductVersion
from metadata_service.schemas.products import LineageType, ProductStatus

# One writer at a time counts the entries, so that the limit holds.
_LOCK = 0x70726F64


@dataclass
class ProductFilter:
    """Which products are wanted."""

    domain: Annotated[str | None, Query(description="Exact domain.")] = None
    status: Annotated[ProductStatus | None, Query(description="Exact status.")] = None
    owner: Annotated[str | None, Query(description="Exact owner.")] = None
    tag: Annotated[str | None, Query(description="A tag it has.")] = None
    q: Annotated[str | None, Query(description="Words that name, description, owner or tags contain.")] = None


@dataclass
class LineageFilter:
    """Which registered edges are wanted."""

    source: Annotated[str | None, Query(description="Name of the source.")] = None
    target: Annotated[str | None, Query(description="Name of the target.")] = None
    lineage_type: Annotated[LineageType | None, Query(description="Exact type.")] = None


def lock(session: Session) -> None:
    """Hold other writers of products back until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def get(session: Session, name: str) -> Product | None:
    """Return a product by its name."""
    return session.scalars(select(Product).where(Product.name == name)).first()


def get_many(session: Session, product_ids: Iterable[UUID]) -> list[Product]:
    """Return the products that exist."""
    return list(session.scalars(select(Product).where(Product.id.in_(list(product_ids)))))


def count(session: Session) -> int:
    """Return how many products there are."""
    return session.scalar(select(func.count()).select_from(Product)) or 0


def list_products(session: Session, wanted: ProductFilter, limit: int, offset: int) -> tuple[list[Product], int]:
    """Return a page of products by domain and name, and how many there are in all."""
    where: list[ColumnElement[bool]] = []
    for column in (Product.domain, Product.status, Product.owner):
        value = getattr(wanted, column.key)
        if value is not None:
            where.append(column == value)
    if wanted.tag is not None:
        where.append(Product.tags.contains([wanted.tag]))
    for word in (wanted.q or "").split():
        searched = (Product.name, Product.description, Product.owner, func.array_to_string(Product.tags, " "))
        where.append(or_(*(column.icontains(word, autoescape=True) for column in searched)))
    total = session.scalar(select(func.count()).select_from(Product).where(*where)) or 0
    query = select(Product).where(*where).order_by(Product.domain, Product.name)
    return list(session.scalars(query.limit(limit).offset(offset))), total


def set_datasets(session: Session, product_id: UUID, dataset_ids: Sequence[UUID]) -> None:
    """Make these the datasets of a product, in this order."""
    session.execute(delete(ProductDataset).where(ProductDataset.product_id == product_id))
    for place, dataset_id in enumerate(dict.fromkeys(dataset_ids)):
        session.add(ProductDataset(product_id=product_id, dataset_id=dataset_id, place=place))
    session.flush()


def datasets_of(session: Session, product_ids: Iterable[UUID]) -> dict[UUID, list[Dataset]]:
    """Return each product's datasets in their order, by the names that stand for them."""
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    ids = list(product_ids)
    pairs = session.execute(
        select(ProductDataset.product_id, canonical)
        .join(Dataset, Dataset.id == ProductDataset.dataset_id)
        .where(ProductDataset.product_id.in_(ids))
        .order_by(ProductDataset.product_id, ProductDataset.place)
    ).all()
    known = {d.id: d for d in session.scalars(select(Dataset).where(Dataset.id.in_({pair[1] for pair in pairs})))}
    found: dict[UUID, list[Dataset]] = {product_id: [] for product_id in ids}
    for product_id, dataset_id in pairs:
        if known[dataset_id] not in found[product_id]:
            found[product_id].append(known[dataset_id])
    return found


def products_of(session: Session, dataset_ids: Iterable[UUID]) -> dict[UUID, set[str]]:
    """Return the names of the products that each dataset is part of; other names counted in."""
    canonical = func.coalesce(Dataset.canonical_id, Dataset.id)
    ids = list(dataset_ids)
    rows = session.execute(
        select(canonical, Product.name)
        .join(ProductDataset, ProductDataset.dataset_id == Dataset.id)
        .join(Product, Product.id == ProductDataset.product_id)
        .where(or_(Dataset.id.in_(ids), Dataset.canonical_id.in_(ids)))
    )
    found: dict[UUID, set[str]] = {}
    for dataset_id, name in rows:
        found.setdefault(dataset_id, set()).add(name)
    return found


def save_version(session: Session, product: Product, columns: list[dict[str, object]]) -> None:
    """Note the columns of a product's version; a version that is noted already gets them anew."""
    values = {"product_id": product.id, "version": product.version, "columns": columns}
    statement = insert(ProductVersion).values(**values, released_at=product.updated_at)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[ProductVersion.product_id, ProductVersion.version], set_={"columns": columns}
        )
    )


def list_versions(session: Session, product_id: UUID, limit: int, offset: int) -> tuple[list[ProductVersion], int]:
    """Return a page of a product's versions, newest first, and how many there are in all."""
    where = ProductVersion.product_id == product_id
    total = session.scalar(select(func.count()).select_from(ProductVersion).where(where)) or 0
    query = select(ProductVersion).where(where).order_by(ProductVersion.released_at.desc(), ProductVersion.version)
    return list(session.scalars(query.limit(limit).offset(offset))), total


def count_edges(session: Session) -> int:
    """Return how many edges are registered."""
    return session.scalar(select(func.count()).select_from(ProductLineageEdge)) or 0


def find_edge(session: Session, source: str, target: str, lineage_type: str) -> ProductLineageEdge | None:
    """Return a registered edge."""
    key = (ProductLineageEdge.source, ProductLineageEdge.target, ProductLineageEdge.lineage_type)
    wanted = (source, target, lineage_type)
    where = [column == value for column, value in zip(key, wanted, strict=True)]
    return session.scalars(select(ProductLineageEdge).where(*where)).first()


def list_edges(
    session: Session, wanted: LineageFilter, limit: int, offset: int
) -> tuple[list[ProductLineageEdge], int]:
    """Return a page of registered edges, newest first, and how many there are in all."""
    edge = ProductLineageEdge
    where = [
        column == value
        for column, value in (
            (edge.source, wanted.source),
            (edge.target, wanted.target),
            (edge.lineage_type, wanted.lineage_type),
        )
        if value is not None
    ]
    total = session.scalar(select(func.count()).select_from(edge).where(*where)) or 0
    query = select(edge).where(*where).order_by(edge.id.desc())
    return list(session.scalars(query.limit(limit).offset(offset))), total


def edges_at(session: Session, names: Iterable[str], upstream: bool) -> list[ProductLineageEdge]:
    """Return the registered edges that lead into products, or out of them."""
    column = ProductLineageEdge.target if upstream else ProductLineageEdge.source
    query = select(ProductLineageEdge).where(column.in_(list(names)))
    return list(session.scalars(query.order_by(ProductLineageEdge.source, ProductLineageEdge.target)))
