"""The web pages of data products."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from metadata_service.dependencies import DbSession
from metadata_service.rendering import templates
from metadata_service.repositories.products import ProductFilter
from metadata_service.schemas.products import ProductStatus
from metadata_service.services import product_lineage, products

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
ROWS = 100


@router.get("/ui/products")
def products_page(
    request: Request,
    session: DbSession,
    q: str = "",
    status: ProductStatus | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Products by domain."""
    page = products.list_products(session, ProductFilter(q=q or None, status=status), ROWS, offset)
    domains = [(domain, list(items)) for domain, items in groupby(page.items, key=lambda product: product.domain)]
    query = {key: value for key, value in (("q", q), ("status", status)) if value}
    shown = {"page": page, "domains": domains, "q": q, "status": status, "query": query}
    statuses = ("active", "deprecated", "inactive")
    return templates.TemplateResponse(request, "products.html", {**shown, "statuses": statuses})


@router.get("/ui/products/{name}")
def product_page(request: Request, session: DbSession, name: str) -> HTMLResponse:
    """A product: datasets, columns, what it is made of and what is made of it, versions."""
    context = {
        "product": products.describe(session, name),
        "versions": products.list_versions(session, name, 20, 0),
        "upstream": product_lineage.around(session, name, "upstream", 5),
        "downstream": product_lineage.around(session, name, "downstream", 5),
    }
    return templates.TemplateResponse(request, "product.html", context)
