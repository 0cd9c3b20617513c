"""Spans and metrics of teams' pipelines, where no ClickHouse keeps them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "telemetry_span",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("content", JSON(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "trace_id", "span_id"),
    )
    op.create_index("telemetry_span_by_run", "telemetry_span", ["run_id"], postgresql_where=sa.text("run_id <> ''"))
    op.create_index("telemetry_span_by_time", "telemetry_span", ["start_time"])
    op.create_table(
        "telemetry_metric",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("series", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("content", JSON(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "series", "time"),
    )
    op.create_index("telemetry_metric_by_time", "telemetry_metric", ["time"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("telemetry_metric")
    op.drop_table("telemetry_span")
