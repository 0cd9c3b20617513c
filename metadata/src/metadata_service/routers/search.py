"""Search."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from metadata_service.dependencies import DbSession, PageOf
from metadata_service.repositories.search import KINDS, Kind
from metadata_service.schemas.search import SearchResult
from metadata_service.services import search
from metadata_service.services.search import Narrowed

router = APIRouter(tags=["search"])

Filter = Annotated[str | None, Query(max_length=1000)]


@router.get("/search")
def find(
    session: DbSession,
    paging: PageOf,
    q: Annotated[str, Query(max_length=1000, description="Words, or beginnings of words, that all have to be found.")],
    type: Annotated[list[Kind] | None, Query(description="Only these; may be given several times.")] = None,
    namespace: Filter = None,
    owner: Filter = None,
    tag: Filter = None,
    layer: Annotated[Literal["raw", "staging", "intermediate", "curated", "audit", "dashboard"] | None, Query()] = None,
) -> SearchResult:
    """Find datasets, jobs and products by name, address, description, columns, tags, owner or domain.

    What is called just so comes first, then what has the words in its name, then the rest. Where nothing is found, one
    or two typos a word are forgiven, and `corrected` says how.
    """
    narrowed = Narrowed(tuple(dict.fromkeys(type)) if type else KINDS, namespace, owner, tag, layer)
    return search.find(session, q, narrowed, paging.limit, paging.offset)
