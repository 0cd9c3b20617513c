"""What teams allow each other to see."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from metadata_service.dependencies import DbSession, PageOf, Reader, ScopedWriter, Sessions, TeamSessions, identify
from metadata_service.schemas.access import Discovered, GrantIn, GrantOut
from metadata_service.schemas.common import Page
from metadata_service.services import grants
from metadata_service.services.access import Principal

router = APIRouter(tags=["grants"])


@router.get("/grants")
def list_grants(sessions: Sessions, by: Annotated[Principal, Depends(identify)], paging: PageOf) -> Page[GrantOut]:
    """List the grants that the key's namespaces give and receive; all of them for a key that is bound to none."""
    with sessions() as session:
        return grants.list_grants(session, by, paging.limit, paging.offset)


@router.post("/grants", status_code=201, responses={200: {"model": GrantOut}})
def create_grant(
    request: Request, session: DbSession, by: ScopedWriter, grant: GrantIn, response: Response
) -> GrantOut:
    """Let others see a namespace of the key's (201; 200 if they may already). It counts within seconds."""
    made, new = grants.create_grant(session, grant, by)
    response.status_code = 201 if new else 200
    session.commit()
    request.app.state.keys.forget()
    return made


@router.delete("/grants/{grant_id}", status_code=204)
def revoke_grant(request: Request, session: DbSession, by: ScopedWriter, grant_id: UUID) -> None:
    """Take back what a namespace of the key's allowed. It counts within seconds."""
    grants.revoke_grant(session, grant_id, by)
    session.commit()
    request.app.state.keys.forget()


@router.get("/discover")
def discover(
    sessions: TeamSessions,
    by: Reader,
    paging: PageOf,
    q: Annotated[str | None, Query(max_length=1000, description="Words that what is shown of it contains.")] = None,
) -> Page[Discovered]:
    """Find datasets and jobs of other teams, as far as these let it: their name, description, owner and tags.

    What the key sees anyway is found by `/search`. To anybody who sees everything, this finds nothing.
    """
    return grants.discover(sessions, by, q, paging.limit, paging.offset)
