"""What datasets looked like."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class SchemaVersion(Base):
    """Columns that a dataset was seen with, from the first to the last event that told so.

    `digest` is the SHA-256 of the columns' names and types, so the same columns are one version whenever they are seen
    and in whatever order their events arrive.
    """

    __tablename__ = "schema_version"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    columns: Mapped[list[dict[str, Any]]]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
