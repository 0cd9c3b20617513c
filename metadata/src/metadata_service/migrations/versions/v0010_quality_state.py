"""The current results and the state of each dataset, kept with the results instead of being read from history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

from metadata_service.repositories import quality_state

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and fill them from the history."""
    op.create_table(
        "quality_run",
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "run_id"),
    )
    op.create_index("quality_run_by_run", "quality_run", ["run_id"])
    op.create_index("quality_without_run", "quality_result", ["dataset_id"], postgresql_where=sa.text("run_id IS NULL"))
    op.create_table(
        "quality_current",
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["result_id"], ["quality_result.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "result_id"),
    )
    op.create_index("quality_current_by_result", "quality_current", ["result_id"])
    op.create_table(
        "quality_state",
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
    with Session(bind=op.get_bind(), join_transaction_mode="create_savepoint") as session:
        quality_state.rebuild(session)
        session.commit()


def downgrade() -> None:
    """Drop them."""
    for table in ("quality_state", "quality_current", "quality_run"):
        op.drop_table(table)
    op.drop_index("quality_without_run", "quality_result")
