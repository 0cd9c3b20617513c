"""Data products and the lineage between them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from metadata_service.dependencies import DbSession, PageOf, Settings, writer
from metadata_service.repositories.products import LineageFilter, ProductFilter
from metadata_service.schemas.common import Page
from metadata_service.schemas.products import (
    LineageIn,
    LineageOut,
    ProductIn,
    ProductLineage,
    ProductOut,
    ProductUpdate,
    ProductVersionOut,
)
from metadata_service.services import product_lineage, products

router = APIRouter(tags=["products"])
Name = Annotated[str, Path(max_length=100, description="Name of a product.")]
Depth = Annotated[int, Query(ge=1, le=20, description="Hops from product to product.")]


@router.post("/register_product", status_code=201, dependencies=[writer], responses={200: {"model": ProductOut}})
def register_product(session: DbSession, settings: Settings, product: ProductIn, response: Response) -> ProductOut:
    """Register a product (201), or make a known one what is given (200).

    A change that takes a column away, narrows its type or lets it be missing needs a new major version.
    """
    registered, new = products.register(session, product, settings.max_products)
    response.status_code = 201 if new else 200
    return registered


@router.get("/products")
def list_products(session: DbSession, paging: PageOf, wanted: Annotated[ProductFilter, Depends()]) -> Page[ProductOut]:
    """List products by domain and name."""
    return products.list_products(session, wanted, paging.limit, paging.offset)


@router.get("/product/{name}")
def get_product(session: DbSession, name: Name) -> ProductOut:
    """Return a product."""
    return products.describe(session, name)


@router.put("/product/{name}", dependencies=[writer])
def replace_product(session: DbSession, name: Name, product: ProductUpdate) -> ProductOut:
    """Make a product what is given; what is left out becomes its default."""
    return products.replace(session, name, product)


@router.delete("/product/{name}", status_code=204, dependencies=[writer])
def delete_product(session: DbSession, name: Name) -> None:
    """Forget a product with its versions and registered lineage. Its datasets stay."""
    products.delete(session, name)


@router.get("/product/{name}/versions")
def list_product_versions(session: DbSession, name: Name, paging: PageOf) -> Page[ProductVersionOut]:
    """List the versions that a product had, newest first."""
    return products.list_versions(session, name, paging.limit, paging.offset)


@router.post("/register_lineage", status_code=201, dependencies=[writer], responses={200: {"model": LineageOut}})
def register_lineage(session: DbSession, settings: Settings, entry: LineageIn, response: Response) -> LineageOut:
    """Register that a product is made of another one (201), or change what is said of it (200)."""
    registered, new = product_lineage.register(session, entry, settings.max_lineage_entries)
    response.status_code = 201 if new else 200
    return registered


@router.get("/lineage")
def list_lineage(session: DbSession, paging: PageOf, wanted: Annotated[LineageFilter, Depends()]) -> Page[LineageOut]:
    """List what was registered, newest first."""
    return product_lineage.list_edges(session, wanted, paging.limit, paging.offset)


@router.get("/lineage/upstream/{name}")
def get_upstream(session: DbSession, name: Name, depth: Depth = 10) -> ProductLineage:
    """Return what a product is made of: as registered, and as the lineage of the datasets says."""
    return product_lineage.around(session, name, "upstream", depth)


@router.get("/lineage/downstream/{name}")
def get_downstream(session: DbSession, name: Name, depth: Depth = 10) -> ProductLineage:
    """Return what is made of a product: as registered, and as the lineage of the datasets says."""
    return product_lineage.around(session, name, "downstream", depth)
