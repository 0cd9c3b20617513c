"""Note in each run the namespace of its job, so that what a team sees of runs needs no look at jobs.

By the policy of 0012 every list and every count of runs went through all jobs that are seen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OF_JOB = "EXISTS (SELECT FROM job x WHERE x.id = run.job_id)"
_IN_NAMESPACE = (
    "(job_namespace = ANY ((SELECT tenant_names())::text[])"
    " OR job_namespace ^@ ANY ((SELECT tenant_prefixes())::text[]))"
)
# A run that nothing names a job of is seen by who sees a dataset that it checked.
_POLICY = (
    "ALTER POLICY tenant ON run USING (CASE WHEN job_id IS NOT NULL THEN {}"
    " ELSE EXISTS (SELECT FROM quality_run x WHERE x.run_id = run.id) END)"
)


def upgrade() -> None:
    """Add the column, fill it, and let the policy go by it."""
    op.add_column("run", sa.Column("job_namespace", sa.Text()))
    op.execute("UPDATE run SET job_namespace = job.namespace FROM job WHERE job.id = run.job_id")
    op.execute(_POLICY.format(_IN_NAMESPACE))


def downgrade() -> None:
    """Let the policy look at the job again, and drop the column."""
    op.execute(_POLICY.format(_OF_JOB))
    op.drop_column("run", "job_namespace")
