"""Results: dimension, and whether an event gave them. Column edges: whether they mask. Results kept twice go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Up to here a result from an event was marked by its engine, which now names the job's integration.
_MARK = "UPDATE quality_result SET from_event = true WHERE engine = 'openlineage'"
_NAME_ENGINE = """
UPDATE quality_result SET engine = lower(facet.value ->> 'integration')
  FROM run JOIN facet ON facet.owner_type = 'job' AND facet.owner_id = run.job_id::text AND facet.name = 'jobType'
 WHERE quality_result.from_event AND run.id = quality_result.run_id
   AND jsonb_typeof(facet.value -> 'integration') = 'string'
"""
# dbt says its assertions twice in one event: in the dataset's facets and in the input's.
_DROP_TWICE = """
DELETE FROM quality_result AS spare USING quality_result AS kept
 WHERE spare.from_event AND spare.run_id = kept.run_id AND spare.dataset_id = kept.dataset_id
   AND spare.check_name = kept.check_name AND spare.column_name IS NOT DISTINCT FROM kept.column_name
   AND spare.checked_at = kept.checked_at AND spare.ordinal > kept.ordinal
"""


def upgrade() -> None:
    """Add the columns and fill them from what is known."""
    op.add_column("quality_result", sa.Column("dimension", sa.Text(), nullable=True))
    op.add_column(
        "quality_result", sa.Column("from_event", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("column_edge", sa.Column("masking", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for statement in (_MARK, _NAME_ENGINE, _DROP_TWICE):
        op.execute(statement)


def downgrade() -> None:
    """Drop the columns. Results that were dropped as duplicates stay dropped."""
    op.execute("UPDATE quality_result SET engine = 'openlineage' WHERE from_event")
    op.drop_column("column_edge", "masking")
    op.drop_column("quality_result", "from_event")
    op.drop_column("quality_result", "dimension")
