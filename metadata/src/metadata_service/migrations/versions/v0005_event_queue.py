"""Events are projected after they are stored: a queue, and what could not be projected. Claims of names, lifecycle.

Payloads are `json`: they stay as they came in, and are stored without being taken apart.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and columns. All events that are stored have been projected."""
    op.execute("ALTER TABLE event ALTER COLUMN payload TYPE json USING payload::text::json")
    op.create_table("event_queue", sa.Column("event_id", sa.BigInteger(), nullable=False, primary_key=True))
    op.create_table(
        "event_failure",
        sa.Column("event_id", sa.BigInteger(), nullable=False, primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], ondelete="CASCADE"),
    )
    op.add_column("run", sa.Column("job_at", sa.DateTime(timezone=True)))
    op.add_column("dataset", sa.Column("alias_of", sa.Uuid()))
    op.add_column("dataset", sa.Column("alias_until_written", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("dataset", sa.Column("written_at", sa.DateTime(timezone=True)))
    op.add_column("dataset", sa.Column("dropped_at", sa.DateTime(timezone=True)))
    op.create_foreign_key("dataset_alias_of_fkey", "dataset", "dataset", ["alias_of"], ["id"], ondelete="SET NULL")
    op.create_index("dataset_by_claim", "dataset", ["alias_of"], postgresql_where=sa.text("alias_of IS NOT NULL"))
    op.execute("UPDATE dataset SET alias_of = canonical_id WHERE canonical_id IS NOT NULL")
    # Column lineage that a DatasetEvent told is kept apart from what runs say of the same dataset.
    op.execute(
        "INSERT INTO facet (owner_type, owner_id, name, value, event_time) "
        "SELECT 'static', f.owner_id, f.name, f.value, f.event_time FROM facet f "
        "WHERE f.owner_type = 'dataset' AND f.name = 'columnLineage' AND EXISTS ("
        "SELECT FROM column_edge c WHERE c.job_id IS NULL AND c.dataset_id::text = f.owner_id)"
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DELETE FROM facet WHERE owner_type = 'static'")
    op.drop_index("dataset_by_claim", "dataset")
    for column in ("dropped_at", "written_at", "alias_until_written", "alias_of"):
        op.drop_column("dataset", column)
    op.drop_column("run", "job_at")
    op.drop_table("event_failure")
    op.drop_table("event_queue")
    op.execute("ALTER TABLE event ALTER COLUMN payload TYPE jsonb USING payload::text::jsonb")
