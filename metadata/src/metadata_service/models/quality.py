"""Check results."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Double, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class QualityResult(Base):
    """What a check measured. The id is derived from run, dataset, column, check and place in the list.

    `from_event`: an OpenLineage event gave it, so a result that was posted for the same check of the run replaces it.
    """

    __tablename__ = "quality_result"
    __table_args__ = (
        Index("quality_by_dataset", "dataset_id", text("checked_at DESC")),
        Index("quality_by_run", "run_id"),
        Index("quality_without_run", "dataset_id", postgresql_where=text("run_id IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    check_name: Mapped[str]
    column_name: Mapped[str | None]
    dimension: Mapped[str | None]
    ordinal: Mapped[int]
    status: Mapped[str]
    severity: Mapped[str]
    measured: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    expected: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    message: Mapped[str | None]
    sql: Mapped[str | None]
    failed_rows: Mapped[int | None] = mapped_column(BigInteger)
    sample: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    engine: Mapped[str | None]
    checked_at: Mapped[datetime]
    duration_seconds: Mapped[float | None] = mapped_column(Double)
    from_event: Mapped[bool] = mapped_column(server_default=text("false"))


class QualityRun(Base):
    """A run that checked a dataset, and when last. `execution` is its parent, which runs that count as one share."""

    __tablename__ = "quality_run"
    __table_args__ = (Index("quality_run_by_run", "run_id"),)

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    job_id: Mapped[UUID | None]
    execution: Mapped[str]
    ended: Mapped[bool]
    checked_at: Mapped[datetime]


class CurrentResult(Base):
    """A result that counts for the state of a dataset, under the name that stands for it."""

    __tablename__ = "quality_current"
    __table_args__ = (Index("quality_current_by_result", "result_id"),)

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    result_id: Mapped[UUID] = mapped_column(ForeignKey("quality_result.id", ondelete="CASCADE"), primary_key=True)


class QualityState(Base):
    """What the current results of a dataset make together; see `metadata_service.repositories.quality_state`."""

    __tablename__ = "quality_state"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str]
    passed: Mapped[int]
    failed: Mapped[int]
    errors: Mapped[int]
    skipped: Mapped[int]
    checked_at: Mapped[datetime]
