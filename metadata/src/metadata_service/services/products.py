"""Data products: what they are, the versions they had, and which changes they may make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from metadata_service.compatibility import breaks, parse_version
from metadata_service.models import Dataset, Product
from metadata_service.problems import FieldError, NotFoundError, ProblemError, UnprocessableError
from metadata_service.repositories import datasets, products
from metadata_service.repositories.products import ProductFilter
from metadata_service.schemas.common import Page, QualityLevel
from metadata_service.schemas.products import (
    ProductIn,
    ProductOut,
    ProductUpdate,
    ProductVersionOut,
)
from metadata_service.services import quality
from metadata_service.services.catalog import dataset_link

WORST_FIRST: tuple[QualityLevel, ...] = ("failing", "error", "warning", "passing", "unknown")


def register(session: Session, given: ProductIn, most: int) -> tuple[ProductOut, bool]:
    """Register a product, or make a known one what is given; return it and whether it is new.

    Args:
        session: In a transaction.
        given: The product.
        most: How many products there may be.
    """
    products.lock(session)
    known = products.get(session, given.name)
    if known is None and products.count(session) >= most:
        raise ProblemError(409, f"There are {most:,} products already, as many as MAX_PRODUCTS allows.")
    now = datetime.now(UTC)
    product = known or Product(name=given.name, created_at=now)
    return _become(session, product, given, now, is_new=known is None), known is None


def replace(session: Session, name: str, given: ProductUpdate) -> ProductOut:
    """Make a product what is given."""
    products.lock(session)
    return _become(session, find(session, name), given, datetime.now(UTC), is_new=False)


def delete(session: Session, name: str) -> None:
    """Forget a product with its versions and registered lineage. Its datasets stay."""
    session.delete(find(session, name))


def describe(session: Session, name: str) -> ProductOut:
    """Return a product."""
    return _out(session, [find(session, name)])[0]


def list_products(session: Session, wanted: ProductFilter, limit: int, offset: int) -> Page[ProductOut]:
    """Return a page of products, by domain and name."""
    found, total = products.list_products(session, wanted, limit, offset)
    return Page(items=_out(session, found), total=total, limit=limit, offset=offset)


def list_versions(session: Session, name: str, limit: int, offset: int) -> Page[ProductVersionOut]:
    """Return a page of the versions that a product had, newest first."""
    found, total = products.list_versions(session, find(session, name).id, limit, offset)
    items = [ProductVersionOut(version=v.version, columns=v.columns, released_at=v.released_at) for v in found]  # type: ignore[arg-type]
    return Page(items=items, total=total, limit=limit, offset=offset)


def find(session: Session, name: str) -> Product:
    """Return a product.

    Raises:
        NotFoundError: there is none of this name.
    """
    product = products.get(session, name)
    if product is None:
        raise NotFoundError("product", name)
    return product


def _become(
    session: Session, product: Product, given: ProductIn | ProductUpdate, now: datetime, is_new: bool
) -> ProductOut:
    declared = given.model_dump(mode="json", by_alias=True)["schema"]
    names = {(ref.namespace, ref.name): now for ref in given.datasets}
    ids = datasets.upsert_datasets(session, names) if names else {}
    chosen = [ids[ref.namespace, ref.name] for ref in given.datasets]
    after = declared or _columns_of(datasets.get_many(session, chosen))
    if not is_new:
        _check_version(_columns(session, product), after, product.version, given.version)
    for field in ("domain", "description", "owner", "status", "version", "tags"):
        setattr(product, field, getattr(given, field))
    product.columns, product.details, product.updated_at = declared, given.metadata, now
    session.add(product)
    session.flush()
    products.set_datasets(session, product.id, chosen)
    products.save_version(session, product, after)
    return _out(session, [product])[0]


def _check_version(before: list[dict[str, Any]], after: list[dict[str, Any]], old: str, new: str) -> None:
    """Refuse a version that goes back, and a change that breaks readers without a new major version."""
    if parse_version(new) < parse_version(old):
        fault = FieldError("version", f"is {new}, the product is at {old} already")
        raise UnprocessableError("A product's version does not go back.", [fault])
    lost = breaks(before, after)
    if lost and parse_version(new)[0] == parse_version(old)[0]:
        major = f"{parse_version(old)[0] + 1}.0.0"
        faults = [FieldError(f"schema.{item.column}", item.reason) for item in lost]
        raise UnprocessableError(
            f"This change breaks those who read the product: it needs version {major} or higher.", faults
        )


def _columns(session: Session, product: Product) -> list[dict[str, Any]]:
    """Return a product's columns: those declared, else those of its datasets."""
    return product.columns or _columns_of(products.datasets_of(session, [product.id])[product.id])


def _columns_of(found: Sequence[Dataset]) -> list[dict[str, Any]]:
    columns: dict[str, dict[str, Any]] = {}
    for dataset in found:
        for column in dataset.fields:
            columns.setdefault(column["name"], column)
    return list(columns.values())


def _out(session: Session, found: Sequence[Product]) -> list[ProductOut]:
    owned = products.datasets_of(session, [product.id for product in found])
    states = quality.states(session, {dataset.id for mine in owned.values() for dataset in mine})
    shown = []
    for product in found:
        mine = owned[product.id]
        levels = {states[dataset.id].state for dataset in mine}
        shown.append(
            ProductOut(
                id=product.id,
                name=product.name,
                domain=product.domain,
                description=product.description,
                owner=product.owner,
                status=product.status,  # type: ignore[arg-type]
                version=product.version,
                tags=product.tags,
                columns=product.columns or _columns_of(mine),  # type: ignore[arg-type]
                datasets=[dataset_link(dataset) for dataset in mine],
                metadata=product.details,
                quality=next((level for level in WORST_FIRST if level in levels), "unknown"),
                created_at=product.created_at,
                updated_at=product.updated_at,
            )
        )
    return shown
