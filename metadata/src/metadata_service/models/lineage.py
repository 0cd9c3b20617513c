"""Events, and the datasets, jobs, runs and edges that they tell of.

Every table but `event` can be rebuilt from it (for what arrived as OpenLineage) in any order: attributes that several
events give carry the time of the event that won, so an older event that arrives later changes nothing newer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, ForeignKey, Identity, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from metadata_service.models.base import Base


class Event(Base):
    """An OpenLineage event as it came in; `digest` is the SHA-256 of its canonical JSON."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_by_time", text("event_time DESC"), text("id DESC")),
        Index("event_by_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    kind: Mapped[str]
    event_type: Mapped[str | None]
    event_time: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    run_id: Mapped[str | None]
    job_namespace: Mapped[str | None]
    job_name: Mapped[str | None]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    key_name: Mapped[str | None]


class QueuedEvent(Base):
    """An event that is stored and not yet projected."""

    __tablename__ = "event_queue"

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class FailedEvent(Base):
    """An event that could not be projected, and why. It is tried again when the service starts."""

    __tablename__ = "event_failure"

    event_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("event.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    reason: Mapped[str]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Dataset(Base):
    """A table, file set or dashboard.

    `declared` is what the catalog was told. Description, owner, domain, tags and fields are what results from it and
    from the facets that lineage brought; see `metadata_service.services.projection`. `canonical_id` points to the
    dataset of which this one is another name (OpenLineage symlinks, registered URIs, renames). It follows from the
    newest claim on each name, `alias_of` since `canonical_since`; see `metadata_service.repositories.aliases`.
    `written_at` and `dropped_at` are the times of the newest events that wrote and dropped it; they decide
    `deleted_at`.
    """

    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("namespace", "name"),
        Index("dataset_by_claim", "alias_of", postgresql_where=text("alias_of IS NOT NULL")),
        Index("dataset_by_canonical", "canonical_id", postgresql_where=text("canonical_id IS NOT NULL")),
        Index(
            "dataset_by_alias",
            "id",
            postgresql_include=["canonical_id"],
            postgresql_where=text("canonical_id IS NOT NULL"),
        ),
        Index("dataset_by_uri", "uri", postgresql_where=text("uri IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    namespace: Mapped[str]
    name: Mapped[str]
    uri: Mapped[str | None]
    layer: Mapped[str | None]
    type: Mapped[str]
    description: Mapped[str | None]
    owner: Mapped[str | None]
    domain: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    fields: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    declared: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    canonical_id: Mapped[UUID | None] = mapped_column(ForeignKey("dataset.id", ondelete="SET NULL"))
    canonical_since: Mapped[datetime | None]
    alias_of: Mapped[UUID | None] = mapped_column(ForeignKey("dataset.id", ondelete="SET NULL"))
    alias_until_written: Mapped[bool] = mapped_column(server_default=text("false"))
    written_at: Mapped[datetime | None]
    dropped_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Job(Base):
    """A process that reads or writes datasets. `designed_at` is the time of its newest JobEvent with datasets.

    A deleted job or dataset keeps its place in the graph; an event that names it brings it back.
    """

    __tablename__ = "job"
    __table_args__ = (UniqueConstraint("namespace", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    namespace: Mapped[str]
    name: Mapped[str]
    designed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Run(Base):
    """One execution of a job. `state_at` and the state's rank decide which event's state stands.

    `job_at` is the time of the event that named the job; it is null where only another run or a check did.
    `job_namespace` is the job's, by which row-level security tells who sees the run.
    """

    __tablename__ = "run"
    __table_args__ = (
        Index("run_by_job", "job_id", text("updated_at DESC"), text("id DESC")),
        Index("run_by_job_and_state", "job_id", "state", text("updated_at DESC"), text("id DESC")),
        Index("run_by_time", text("updated_at DESC"), text("id DESC")),
        Index("run_by_parent", "parent_run_id", postgresql_where=text("parent_run_id IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    job_namespace: Mapped[str | None]
    job_at: Mapped[datetime | None]
    state: Mapped[str]
    state_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    parent_run_id: Mapped[str | None]
    root_run_id: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RunDataset(Base):
    """A dataset that a run read (`input`) or wrote (`output`)."""

    __tablename__ = "run_dataset"
    __table_args__ = (Index("run_dataset_by_dataset", "dataset_id", "run_id"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)


class JobDataset(Base):
    """The current edges of a job: those of its latest completed run (`run`) and of its newest JobEvent (`design`)."""

    __tablename__ = "job_dataset"
    __table_args__ = (Index("job_dataset_by_dataset", "dataset_id", "direction", "job_id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))


class JobDesign(Base):
    """The edges that a JobEvent told at its time: what `JobDataset` has of the newest one, and the earlier ones."""

    __tablename__ = "job_design"
    __table_args__ = (Index("job_design_by_dataset", "dataset_id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    designed_at: Mapped[datetime] = mapped_column(primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)


class ColumnEdge(Base):
    """A column that flows into another, by a job's current run or design, or (no job) as a DatasetEvent says.

    `masking`: what arrives does not reveal the source's values, as with a hash or a count.
    """

    __tablename__ = "column_edge"
    __table_args__ = (
        Index("column_edge_by_job", "job_id", "dataset_id"),
        Index("column_edge_by_target", "dataset_id", "field", "input_dataset_id", "input_field"),
        Index("column_edge_by_source", "input_dataset_id", "input_field", "dataset_id", "field"),
        Index(
            "column_edge_direct_by_target", "dataset_id", "input_dataset_id", postgresql_where=text("job_id IS NULL")
        ),
        Index(
            "column_edge_direct_by_source", "input_dataset_id", "dataset_id", postgresql_where=text("job_id IS NULL")
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    field: Mapped[str]
    input_dataset_id: Mapped[UUID] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    input_field: Mapped[str]
    type: Mapped[str | None]
    subtype: Mapped[str | None]
    description: Mapped[str | None]
    masking: Mapped[bool] = mapped_column(server_default=text("false"))


class Facet(Base):
    """The newest value of a facet. `owner_type` is dataset, job, run, input, output or static; `owner_id` its id.

    The owner of an input or output facet is `<run id or job id>/<dataset id>`; that of a static one is a dataset, as a
    DatasetEvent told of it.
    """

    __tablename__ = "facet"

    owner_type: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    event_time: Mapped[datetime]
