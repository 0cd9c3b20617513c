"""What namespaces allow others."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import NamespaceGrant


def list_grants(session: Session) -> list[NamespaceGrant]:
    """Return all grants, by namespace and grantee."""
    by = (NamespaceGrant.namespace, NamespaceGrant.grantee, NamespaceGrant.permission)
    return list(session.scalars(select(NamespaceGrant).order_by(*by)))


def find_grant(session: Session, grant_id: UUID) -> NamespaceGrant | None:
    """Return a grant."""
    return session.get(NamespaceGrant, grant_id)


def add_grant(
    session: Session, namespace: str, grantee: str, permission: str, created_by: str
) -> tuple[NamespaceGrant, bool]:
    """Return a grant, made if there is none like it, and whether it was."""
    values = {"namespace": namespace, "grantee": grantee, "permission": permission}
    statement = insert(NamespaceGrant).values(**values, created_by=created_by).on_conflict_do_nothing()
    made = session.scalar(statement.returning(NamespaceGrant.id)) is not None
    return session.scalars(select(NamespaceGrant).filter_by(**values)).one(), made
