"""Keys, and what was written with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class ApiKey(Base):
    """A key: `digest` is its SHA-256, which is enough for 256 random bits. `namespaces` NULL means all of them."""

    __tablename__ = "api_key"
    __table_args__ = (Index("api_key_by_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    role: Mapped[str]
    namespaces: Mapped[list[str] | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    hint: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class NamespaceGrant(Base):
    """What a namespace allows others: to `read` all of it, or to `discover` what is there.

    `namespace` and `grantee` may end with `*`, for all that begin so; the grantee `*` is everybody.
    """

    __tablename__ = "namespace_grant"
    __table_args__ = (UniqueConstraint("namespace", "grantee", "permission"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    namespace: Mapped[str]
    grantee: Mapped[str]
    permission: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str]


class AuditEntry(Base):
    """A write that was carried out: by which key, what, and with which body if that is small.

    Events are not among them: each has its key's name in the log of events.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (Index("audit_entry_by_time", text("at DESC"), text("id DESC")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    key_name: Mapped[str]
    method: Mapped[str]
    path: Mapped[str]
    request_id: Mapped[str]
    body: Mapped[dict[str, Any] | None]
