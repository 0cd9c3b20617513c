"""Namespaces, sources and tags."""

from __future__ import annotations

from fastapi import Response

from metadata_service.dependencies import DbSession, ScopedWriter, writer
from metadata_service.rendering import encoded
from metadata_service.routers.marquez.routing import Limit, NameInPath, Offset, make_router
from metadata_service.schemas.marquez import (
    Namespace,
    NamespaceIn,
    Namespaces,
    Source,
    SourceIn,
    Sources,
    Tag,
    TagIn,
    Tags,
)
from metadata_service.services.marquez import registry, writing

router = make_router()


@router.get("/namespaces", response_model=Namespaces)
def list_namespaces(session: DbSession, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List namespaces by name."""
    return encoded(registry.list_namespaces(session, limit, offset))


@router.get("/namespaces/{namespace:name}", response_model=Namespace)
def get_namespace(session: DbSession, namespace: NameInPath) -> Response:
    """Return a namespace."""
    return encoded(registry.get_namespace(session, namespace))


@router.put("/namespaces/{namespace:name}", response_model=Namespace)
def put_namespace(session: DbSession, by: ScopedWriter, namespace: NameInPath, given: NamespaceIn) -> Response:
    """Describe a namespace."""
    by.require([namespace])
    return encoded(registry.put_namespace(session, namespace, given))


@router.delete("/namespaces/{namespace:name}", response_model=Namespace)
def delete_namespace(session: DbSession, by: ScopedWriter, namespace: NameInPath) -> Response:
    """Take all datasets and jobs of a namespace out of the lists; events that name them bring them back."""
    by.require([namespace])
    return encoded(writing.delete_namespace(session, namespace))


@router.get("/sources", response_model=Sources)
def list_sources(session: DbSession, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the sources of datasets by name."""
    return encoded(registry.list_sources(session, limit, offset))


@router.get("/sources/{source:name}", response_model=Source)
def get_source(session: DbSession, source: NameInPath) -> Response:
    """Return a source."""
    return encoded(registry.get_source(session, source))


@router.put("/sources/{source:name}", response_model=Source)
def put_source(session: DbSession, by: ScopedWriter, source: NameInPath, given: SourceIn) -> Response:
    """Describe a source. A key that is bound to namespaces describes those called as one of them."""
    by.require([source])
    return encoded(registry.put_source(session, source, given))


@router.get("/tags", response_model=Tags)
def list_tags(session: DbSession, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List tags by name."""
    return encoded(registry.list_tags(session, limit, offset))


@router.put("/tags/{tag:name}", response_model=Tag, dependencies=[writer])
def put_tag(session: DbSession, tag: NameInPath, given: TagIn) -> Response:
    """Describe a tag."""
    return encoded(registry.put_tag(session, tag, given))
