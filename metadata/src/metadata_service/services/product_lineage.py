"""Lineage between products: what was registered by hand, and what the lineage of their datasets says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import ProductLineageEdge
from metadata_service.problems import FieldError, ProblemError, UnprocessableError
from metadata_service.repositories import lineage, products
from metadata_service.repositories.products import LineageFilter
from metadata_service.schemas.common import Page
from metadata_service.schemas.products import LineageIn, LineageOut, LineageStep, ProductLineage
from metadata_service.services.products import find

Way = Literal["upstream", "downstream"]
MAX_EDGES = 1000
MAX_DATASETS = 5000  # between two products
HOPS = 20


def register(session: Session, given: LineageIn, most: int) -> tuple[LineageOut, bool]:
    """Register an edge, or change what is said of a known one; return it and whether it is new."""
    products.lock(session)
    unknown = [field for field in ("source", "target") if products.get(session, getattr(given, field)) is None]
    if unknown:
        faults = [FieldError(field, f"there is no product {getattr(given, field)}") for field in unknown]
        raise UnprocessableError("Lineage is between products that are registered.", faults)
    if given.source == given.target:
        raise UnprocessableError("A product is not made of itself.", [FieldError("target", "is the source")])
    known = products.find_edge(session, given.source, given.target, given.lineage_type)
    if known is None and products.count_edges(session) >= most:
        raise ProblemError(409, f"There are {most:,} entries already, as many as MAX_LINEAGE_ENTRIES allows.")
    edge = known or ProductLineageEdge(
        source=given.source, target=given.target, lineage_type=given.lineage_type, created_at=datetime.now(UTC)
    )
    edge.transformation, edge.confidence, edge.details = given.transformation, given.confidence, given.metadata
    session.add(edge)
    session.flush()
    return _out(edge), known is None


def list_edges(session: Session, wanted: LineageFilter, limit: int, offset: int) -> Page[LineageOut]:
    """Return a page of registered edges, newest first."""
    found, total = products.list_edges(session, wanted, limit, offset)
    return Page(items=[_out(edge) for edge in found], total=total, limit=limit, offset=offset)


def around(session: Session, name: str, way: Way, depth: int) -> ProductLineage:
    """Return what lies up or down from a product, up to `depth` products away."""
    find(session, name)
    steps: list[LineageStep] = []
    reached: dict[str, None] = {}
    frontier = {name}
    truncated = False
    for level in range(1, depth + 1):
        edges = [_out(edge) for edge in products.edges_at(session, frontier, way == "upstream")]
        told = {(edge.source, edge.target) for edge in edges}
        edges += [edge for edge in _by_datasets(session, frontier, way) if (edge.source, edge.target) not in told]
        steps += [LineageStep(**dict(edge), depth=level) for edge in edges]
        ends = {edge.source if way == "upstream" else edge.target for edge in edges}
        frontier = ends - reached.keys() - {name}
        reached |= dict.fromkeys(sorted(frontier))
        truncated = len(steps) > MAX_EDGES
        if truncated or not frontier:
            break
    return ProductLineage(
        product=name, direction=way, products=list(reached), items=steps[:MAX_EDGES], truncated=truncated
    )


def _by_datasets(session: Session, names: set[str], way: Way) -> list[LineageOut]:
    """Return the edges from products to the nearest other products along the lineage of their datasets."""
    edges: set[tuple[str, str]] = set()
    for name in sorted(names):
        product = find(session, name)
        start = {dataset.id for dataset in products.datasets_of(session, [product.id])[product.id]}
        edges |= {(name, other) for other in _nearest(session, name, start, way)}
    pairs = sorted((other, name) if way == "upstream" else (name, other) for name, other in edges)
    return [
        LineageOut(
            id=None,
            source=source,
            target=target,
            transformation="",
            lineage_type="derived",
            confidence=1.0,
            metadata={},
            origin="datasets",
            created_at=None,
        )
        for source, target in pairs
    ]


def _nearest(session: Session, name: str, start: set[UUID], way: Way) -> set[str]:
    """Return the other products that are met first; what lies behind a dataset of one is that one's."""
    found: set[str] = set()
    seen, frontier = set(start), set(start)
    for _ in range(HOPS):
        reached = {other for _, other in lineage.neighbours(session, frontier, way)} - seen
        seen |= reached
        owners = products.products_of(session, reached)
        found |= {owner for owned in owners.values() for owner in owned if owner != name}
        frontier = {dataset for dataset in reached if not owners.get(dataset, set()) - {name}}
        if not frontier or len(seen) > MAX_DATASETS:
            break
    return found


def _out(edge: ProductLineageEdge) -> LineageOut:
    return LineageOut(
        id=edge.id,
        source=edge.source,
        target=edge.target,
        transformation=edge.transformation,
        lineage_type=edge.lineage_type,  # type: ignore[arg-type]
        confidence=edge.confidence,
        metadata=edge.details,
        origin="registered",
        created_at=edge.created_at,
    )
