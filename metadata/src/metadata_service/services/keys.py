"""Making, listing and revoking keys, and what was done with them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from metadata_service.models import ApiKey
from metadata_service.problems import FieldError, NotFoundError, ProblemError, UnprocessableError
from metadata_service.repositories import access
from metadata_service.schemas.access import AuditOut, KeyIn, KeyOut, NewKey
from metadata_service.schemas.common import Page
from metadata_service.services.access import BOOTSTRAP, Principal

PREFIX = "dpk_"


def create_key(session: Session, given: KeyIn, by: Principal) -> NewKey:
    """Make a key and return it, this once."""
    if given.role == "admin" and given.namespaces is not None:
        raise UnprocessableError("The key can't be made.", [FieldError("namespaces", "an admin is bound to none")])
    if given.expires_at is not None and _aware(given.expires_at) <= datetime.now(UTC):
        raise UnprocessableError("The key can't be made.", [FieldError("expires_at", "is in the past")])
    if given.name == BOOTSTRAP:
        raise ProblemError(409, f"{BOOTSTRAP} is the name of the key in the service's settings.")
    key = PREFIX + secrets.token_urlsafe(32)
    made = ApiKey(
        name=given.name,
        role=given.role,
        namespaces=given.namespaces,
        digest=hashlib.sha256(key.encode()).digest(),
        hint=key[: len(PREFIX) + 4],
        created_by=by.name,
        expires_at=given.expires_at and _aware(given.expires_at),
    )
    session.add(made)
    try:
        session.flush()
    except IntegrityError:
        raise ProblemError(409, f"There is a key {given.name} already; revoke it first.") from None
    return NewKey(**dict(_out(made)), key=key)


def revoke_key(session: Session, name: str) -> None:
    """Make a key invalid. Processes of the service that know it take it for some seconds longer."""
    key = access.find_key(session, name)
    if key is None:
        raise NotFoundError("key", name)
    key.revoked_at = datetime.now(UTC)


def list_keys(session: Session, limit: int, offset: int) -> Page[KeyOut]:
    """Return a page of keys, those in force first."""
    found, total = access.list_keys(session, limit, offset)
    return Page(items=[_out(key) for key in found], total=total, limit=limit, offset=offset)


def list_audit(session: Session, key_name: str | None, path: str | None, limit: int, offset: int) -> Page[AuditOut]:
    """Return a page of the writes that were carried out, newest first."""
    found, total = access.list_entries(session, key_name, path, limit, offset)
    items = [
        AuditOut(
            at=entry.at,
            key_name=entry.key_name,
            method=entry.method,
            path=entry.path,
            request_id=entry.request_id,
            body=entry.body,
        )
        for entry in found
    ]
    return Page(items=items, total=total, limit=limit, offset=offset)


def _out(key: ApiKey) -> KeyOut:
    return KeyOut(
        id=key.id,
        name=key.name,
        role=key.role,  # type: ignore[arg-type]
        namespaces=key.namespaces,
        hint=key.hint,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
