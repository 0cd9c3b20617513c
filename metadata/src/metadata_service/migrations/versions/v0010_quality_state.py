"""The current results and the state of each dataset, kept with the results instead of being read from history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FILL = (
    """
    INSERT INTO quality_run (dataset_id, run_id, job_id, execution, ended, checked_at)
    SELECT q.dataset_id, r.id, r.job_id, coalesce(r.parent_run_id, r.id), r.state <> 'RUNNING', max(q.checked_at)
      FROM run r JOIN quality_result q ON q.run_id = r.id
     WHERE q.dataset_id IS NOT NULL GROUP BY q.dataset_id, r.id
    """,
    # A check's newest result is current, unless the dataset's newest ended run of the same job left the check out.
    """
    WITH named AS (
        SELECT coalesce(d.canonical_id, d.id) AS canonical, d.id FROM dataset d
    ), checked AS MATERIALIZED (
        SELECT n.canonical, n.id AS dataset_id, k.run_id, k.job_id, k.execution, k.ended, k.checked_at
          FROM named n JOIN quality_run k ON k.dataset_id = n.id
    ), newest AS (
        SELECT canonical, job_id, max(checked_at) FILTER (WHERE ended) AS at
          FROM checked WHERE job_id IS NOT NULL GROUP BY canonical, job_id
    ), counted AS (
        SELECT c.canonical, c.job_id, c.execution
          FROM checked c JOIN newest n ON n.canonical = c.canonical AND n.job_id = c.job_id
         GROUP BY c.canonical, c.job_id, c.execution, n.at HAVING n.at IS NULL OR max(c.checked_at) >= n.at
    ), runs AS MATERIALIZED (
        SELECT c.canonical, c.dataset_id, c.run_id FROM checked c JOIN counted USING (canonical, job_id, execution)
         UNION ALL SELECT canonical, dataset_id, run_id FROM checked WHERE job_id IS NULL
    ), results AS (
        SELECT r.canonical, q.id, q.check_name, q.column_name, q.ordinal, q.checked_at, q.run_id, q.status
          FROM runs r JOIN quality_result q ON q.run_id = r.run_id AND q.dataset_id = r.dataset_id
         UNION ALL
        SELECT n.canonical, q.id, q.check_name, q.column_name, q.ordinal, q.checked_at, q.run_id, q.status
          FROM named n JOIN quality_result q ON q.dataset_id = n.id AND q.run_id IS NULL
    )
    INSERT INTO quality_current (dataset_id, result_id)
    SELECT DISTINCT ON (canonical, check_name, column_name, ordinal) canonical, id
      FROM results
     ORDER BY canonical, check_name, column_name, ordinal, checked_at DESC, run_id DESC, status DESC, id
    """,
    """
    INSERT INTO quality_state (dataset_id, state, passed, failed, errors, skipped, checked_at)
    SELECT c.dataset_id,
           CASE WHEN bool_or(q.status = 'failed' AND q.severity <> 'warn') THEN 'failing'
                WHEN bool_or(q.status = 'error') THEN 'error'
                WHEN bool_or(q.status = 'failed') THEN 'warning'
                WHEN bool_or(q.status = 'passed') THEN 'passing'
                ELSE 'unknown' END,
           count(*) FILTER (WHERE q.status = 'passed'), count(*) FILTER (WHERE q.status = 'failed'),
           count(*) FILTER (WHERE q.status = 'error'), count(*) FILTER (WHERE q.status = 'skipped'), max(q.checked_at)
      FROM quality_current c JOIN quality_result q ON q.id = c.result_id GROUP BY c.dataset_id
    """,
)


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
    for statement in FILL:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("quality_state", "quality_current", "quality_run"):
        op.drop_table(table)
    op.drop_index("quality_without_run", "quality_result")
