"""Namespaces, sources and tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from metadata_service.problems import NotFoundError
from metadata_service.repositories import marquez
from metadata_service.schemas.marquez import NamespaceIn, SourceIn, TagIn

Shape = dict[str, Any]
NOBODY = "anonymous"  # as Marquez calls the owner of a namespace that nobody described


def list_namespaces(session: Session, limit: int, offset: int) -> Shape:
    """Return a page of the namespaces of datasets and jobs, and of those that were described, by name."""
    found, total = marquez.namespaces(session, None, limit, offset)
    return {"namespaces": [_namespace(row) for row in found], "totalCount": total}


def get_namespace(session: Session, name: str) -> Shape:
    """Return a namespace."""
    found, _ = marquez.namespaces(session, name, 1, 0)
    if not found:
        raise NotFoundError("namespace", repr(name))
    return _namespace(found[0])


def put_namespace(session: Session, name: str, given: NamespaceIn) -> Shape:
    """Describe a namespace; it need not have anything in it yet."""
    now = datetime.now(UTC)
    marquez.describe(session, "namespace", name, now, owner=given.ownerName, description=given.description)
    return get_namespace(session, name)


def _namespace(row: Any) -> Shape:
    name, owner, description, created, updated = row
    return {
        "name": name,
        "createdAt": created,
        "updatedAt": updated,
        "ownerName": owner or NOBODY,
        "description": description,
        "isHidden": False,
    }


def list_sources(session: Session, limit: int, offset: int) -> Shape:
    """Return a page of the sources: the namespaces of datasets, what dataSource facets name, what was described."""
    found, total = marquez.sources(session, None, limit, offset)
    return {"sources": [_source(row) for row in found], "totalCount": total}


def get_source(session: Session, name: str) -> Shape:
    """Return a source."""
    found, _ = marquez.sources(session, name, 1, 0)
    if not found:
        raise NotFoundError("source", repr(name))
    return _source(found[0])


def put_source(session: Session, name: str, given: SourceIn) -> Shape:
    """Describe a source."""
    values = {"type": given.type, "connection_url": given.connectionUrl, "description": given.description}
    marquez.describe(session, "source", name, datetime.now(UTC), **values)
    return get_source(session, name)


def _source(row: Any) -> Shape:
    name, kind, connection, description, uri, created, updated = row
    address = connection or uri or name
    return {
        "type": kind or (address.partition("://")[0] if "://" in address else "unknown").upper(),
        "name": name,
        "createdAt": created,
        "updatedAt": updated,
        "connectionUrl": address,
        "description": description,
    }


def list_tags(session: Session, limit: int, offset: int) -> Shape:
    """Return a page of the tags of datasets, and of those that were described or put on a field."""
    found, total = marquez.tags(session, limit, offset)
    return {"tags": [{"name": name, "description": text} for name, text in found], "totalCount": total}


def put_tag(session: Session, name: str, given: TagIn) -> Shape:
    """Describe a tag."""
    marquez.describe(session, "tag", name, datetime.now(UTC), description=given.description)
    return {"name": name, "description": given.description}
