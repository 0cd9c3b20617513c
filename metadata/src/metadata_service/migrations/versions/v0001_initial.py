"""The first schema: events and what is derived from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "dataset",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=True),
        sa.Column("layer", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "fields",
            postgresql.JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        sa.Column(
            "declared",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("canonical_id", sa.Uuid(), nullable=True),
        sa.Column("canonical_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["canonical_id"], ["dataset.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "name"),
    )
    op.create_index(
        "dataset_by_canonical",
        "dataset",
        ["canonical_id"],
        unique=False,
        postgresql_where=sa.text("canonical_id IS NOT NULL"),
    )
    op.create_index("dataset_by_uri", "dataset", ["uri"], unique=False, postgresql_where=sa.text("uri IS NOT NULL"))
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=True),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("job_namespace", sa.Text(), nullable=True),
        sa.Column("job_name", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("event_by_run", "event", ["run_id"], unique=False, postgresql_where=sa.text("run_id IS NOT NULL"))
    op.create_index("event_by_time", "event", [sa.text("event_time DESC"), sa.text("id DESC")], unique=False)
    op.create_table(
        "facet",
        sa.Column("owner_type", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_type", "owner_id", "name"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("designed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "name"),
    )
    op.create_table(
        "column_edge",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("input_dataset_id", sa.Uuid(), nullable=False),
        sa.Column("input_field", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("subtype", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["input_dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("column_edge_by_job", "column_edge", ["job_id", "dataset_id"], unique=False)
    op.create_index("column_edge_by_source", "column_edge", ["input_dataset_id", "input_field"], unique=False)
    op.create_index("column_edge_by_target", "column_edge", ["dataset_id", "field"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parent_run_id", sa.Text(), nullable=True),
        sa.Column("root_run_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("run_by_job", "run", ["job_id", sa.text("updated_at DESC"), sa.text("id DESC")], unique=False)
    op.create_index(
        "run_by_job_and_state", "run", ["job_id", "state", sa.text("updated_at DESC"), sa.text("id DESC")], unique=False
    )
    op.create_index(
        "run_by_parent", "run", ["parent_run_id"], unique=False, postgresql_where=sa.text("parent_run_id IS NOT NULL")
    )
    op.create_index("run_by_time", "run", [sa.text("updated_at DESC"), sa.text("id DESC")], unique=False)
    op.create_table(
        "job_dataset",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "direction", "origin", "dataset_id"),
    )
    op.create_index("job_dataset_by_dataset", "job_dataset", ["dataset_id", "direction"], unique=False)
    op.create_table(
        "quality_result",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=True),
        sa.Column("check_name", sa.Text(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("measured", postgresql.JSONB(), nullable=True),
        sa.Column("expected", postgresql.JSONB(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("sql", sa.Text(), nullable=True),
        sa.Column("failed_rows", sa.BigInteger(), nullable=True),
        sa.Column("sample", postgresql.JSONB(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("quality_by_dataset", "quality_result", ["dataset_id", sa.text("checked_at DESC")], unique=False)
    op.create_index("quality_by_run", "quality_result", ["run_id"], unique=False)
    op.create_table(
        "run_dataset",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "direction", "dataset_id"),
    )
    op.create_index("run_dataset_by_dataset", "run_dataset", ["dataset_id", "run_id"], unique=False)


def downgrade() -> None:
    """Drop every table."""
    op.drop_index("run_dataset_by_dataset", table_name="run_dataset")
    op.drop_table("run_dataset")
    op.drop_index("quality_by_run", table_name="quality_result")
    op.drop_index("quality_by_dataset", table_name="quality_result")
    op.drop_table("quality_result")
    op.drop_index("job_dataset_by_dataset", table_name="job_dataset")
    op.drop_table("job_dataset")
    op.drop_index("run_by_time", table_name="run")
    op.drop_index("run_by_parent", table_name="run", postgresql_where=sa.text("parent_run_id IS NOT NULL"))
    op.drop_index("run_by_job_and_state", table_name="run")
    op.drop_index("run_by_job", table_name="run")
    op.drop_table("run")
    op.drop_index("column_edge_by_target", table_name="column_edge")
    op.drop_index("column_edge_by_source", table_name="column_edge")
    op.drop_index("column_edge_by_job", table_name="column_edge")
    op.drop_table("column_edge")
    op.drop_table("job")
    op.drop_table("facet")
    op.drop_index("event_by_time", table_name="event")
    op.drop_index("event_by_run", table_name="event", postgresql_where=sa.text("run_id IS NOT NULL"))
    op.drop_table("event")
    op.drop_index("dataset_by_uri", table_name="dataset", postgresql_where=sa.text("uri IS NOT NULL"))
    op.drop_index("dataset_by_canonical", table_name="dataset", postgresql_where=sa.text("canonical_id IS NOT NULL"))
    op.drop_table("dataset")
