"""Find the names of sources among the facets that name them."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "CREATE INDEX facet_by_source ON facet ((value ->> 'name')) "
        "WHERE owner_type = 'dataset' AND name = 'dataSource'"
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("facet_by_source", "facet")
