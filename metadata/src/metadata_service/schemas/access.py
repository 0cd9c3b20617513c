"""Keys and the trail of writes, as the API takes and answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from metadata_service.openlineage import Name
from metadata_service.schemas.common import Input

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", examples=["team-a"])]


class KeyIn(Input):
    """A key to make."""

    name: KeyName
    role: Literal["reader", "writer", "admin"] = "writer"
    namespaces: Annotated[
        list[Name] | None,
        Field(
            min_length=1, max_length=100, description="The only ones it may write in and read; `team.*` is a beginning."
        ),
    ] = None
    expires_at: datetime | None = None


class KeyOut(BaseModel):
    """A key, which itself is nowhere to be had: `hint` is how it begins."""

    id: UUID
    name: str
    role: Literal["reader", "writer", "admin"]
    namespaces: list[str] | None
    hint: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(KeyOut):
    """A key that was made just now: the only time it is shown."""

    key: str


class GrantIn(Input):
    """What a namespace is to allow others."""

    namespace: Annotated[Name, Field(description="What is shown; `team.*` is a beginning.", examples=["team-b"])]
    grantee: Annotated[
        Name,
        Field(
            description="Whose keys see it: the namespace they are bound to, a beginning, or `*` for everybody.",
            examples=["team-a"],
        ),
    ]
    permission: Annotated[
        Literal["read", "discover"],
        Field(description="`read` is all of it, as if own; `discover` is that it exists, and whom to ask."),
    ] = "read"


class GrantOut(BaseModel):
    """What a namespace allows others. `created_by` is told to its own side only."""

    id: UUID
    namespace: str
    grantee: str
    permission: Literal["read", "discover"]
    created_at: datetime
    created_by: str | None


class Discovered(BaseModel):
    """A dataset or job of another team: all that is shown of it."""

    type: Literal["dataset", "job"]
    namespace: str
    name: str
    description: str | None
    owner: str | None
    tags: list[str]


class AuditOut(BaseModel):
    """A write that was carried out."""

    at: datetime
    key_name: str
    method: str
    path: str
    request_id: str
    body: Any
