"""Keys, and the trail of what was written with them. For admins only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from metadata_service.dependencies import Admin, DbSession, PageOf, admin
from metadata_service.schemas.access import AuditOut, KeyIn, KeyName, KeyOut, NewKey
from metadata_service.schemas.common import Page
from metadata_service.services import keys

router = APIRouter(tags=["keys"], dependencies=[admin])


@router.post("/keys", status_code=201)
def create_key(session: DbSession, by: Admin, key: KeyIn) -> NewKey:
    """Make a key. The answer is the only place where it is shown; 409 if there is one of this name."""
    return keys.create_key(session, key, by)


@router.get("/keys")
def list_keys(session: DbSession, paging: PageOf) -> Page[KeyOut]:
    """List keys, those in force first."""
    return keys.list_keys(session, paging.limit, paging.offset)


@router.delete("/keys/{name}", status_code=204)
def revoke_key(session: DbSession, name: Annotated[KeyName, Path()]) -> None:
    """Revoke a key. It stays in the list."""
    keys.revoke_key(session, name)


@router.get("/audit")
def list_audit(
    session: DbSession,
    paging: PageOf,
    key: Annotated[str | None, Query(max_length=100, description="Only what was written with this key.")] = None,
    path: Annotated[str | None, Query(max_length=1000, description="Only paths that begin so.")] = None,
) -> Page[AuditOut]:
    """List the writes that were carried out, newest first. Events have their key's name in the log of events."""
    return keys.list_audit(session, key, path, paging.limit, paging.offset)
