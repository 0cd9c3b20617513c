"""What Marquez's API lets people say of namespaces, sources and tags. That they exist, datasets and jobs say."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class Namespace(Base):
    """A namespace that somebody described."""

    __tablename__ = "namespace"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str | None]
    description: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Source(Base):
    """A source of datasets: a server, a bucket."""

    __tablename__ = "source"

    name: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str | None]
    connection_url: Mapped[str | None]
    description: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Tag(Base):
    """A tag that somebody described."""

    __tablename__ = "tag"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
