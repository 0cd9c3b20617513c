"""Walks of the graph in the database, with their indexes; deleted things that keep their place; Marquez's names.

A walk goes out from a node hop by hop, nearest first, until its depth or its number of nodes is reached. Datasets are
walked by the names that stand for them: edges keep the names they came with, and are looked up under all of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What Marquez's API lets people say of these; that they exist, the datasets and jobs say.
NAMED: dict[str, tuple[str, ...]] = {
    "namespace": ("owner", "description"),
    "source": ("type", "connection_url", "description"),
    "tag": ("description",),
}

# What is one step from a node: the jobs of a dataset (and the datasets that no job stands between), the datasets of a
# job. In the order of `key`, the id that the edge has, which is where a walk that was cut goes on.
NEXT = """
CREATE FUNCTION lineage_next(node uuid, of_job boolean, upstream boolean, beyond uuid, bound integer)
RETURNS TABLE (key uuid, id uuid, is_job boolean) LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.job_id, e.job_id, true
  FROM (SELECT node WHERE NOT of_job
         UNION ALL SELECT d.id FROM dataset d WHERE NOT of_job AND d.canonical_id = node) n (id)
 CROSS JOIN LATERAL (
    SELECT j.job_id FROM job_dataset j
     WHERE j.dataset_id = n.id AND j.direction = CASE WHEN upstream THEN 'output' ELSE 'input' END
       AND j.job_id > beyond
     ORDER BY j.job_id LIMIT bound) e
 UNION ALL
SELECT e.dataset_id, coalesce(a.canonical_id, e.dataset_id), false
  FROM (SELECT j.dataset_id FROM job_dataset j
         WHERE of_job AND j.job_id = node AND j.direction = CASE WHEN upstream THEN 'input' ELSE 'output' END
           AND j.dataset_id > beyond
         ORDER BY j.dataset_id LIMIT bound) e
  LEFT JOIN dataset a ON a.id = e.dataset_id AND a.canonical_id IS NOT NULL
 UNION ALL
SELECT e.other, coalesce(a.canonical_id, e.other), false
  FROM (SELECT node WHERE NOT of_job
         UNION ALL SELECT d.id FROM dataset d WHERE NOT of_job AND d.canonical_id = node) n (id)
 CROSS JOIN LATERAL (
    SELECT c.input_dataset_id AS other FROM column_edge c
     WHERE upstream AND c.job_id IS NULL AND c.dataset_id = n.id AND c.input_dataset_id > beyond
     UNION
    SELECT c.dataset_id FROM column_edge c
     WHERE NOT upstream AND c.job_id IS NULL AND c.input_dataset_id = n.id AND c.dataset_id > beyond
     ORDER BY 1 LIMIT bound) e
  LEFT JOIN dataset a ON a.id = e.other AND a.canonical_id IS NOT NULL
$$
"""

# The nodes up or down from one, at most `most` of them with the first; those `is_open` have neighbours that are not
# among them, which a walk from there `after` the key `resume` finds (all neighbours where it is null).
# Plans are made once, not for every step: what they are is given by the indexes, not by the values.
NODES = """
CREATE FUNCTION lineage_nodes(
    start uuid, of_job boolean, upstream boolean, depth integer, most integer, after uuid)
RETURNS TABLE (id uuid, is_job boolean, is_open boolean, resume uuid)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    none CONSTANT uuid[] := '{}';
    first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    bound CONSTANT integer := 2 * most + 2;
    datasets uuid[] := CASE WHEN of_job THEN none ELSE ARRAY[start] END;
    jobs uuid[] := CASE WHEN of_job THEN ARRAY[start] ELSE none END;
    from_datasets uuid[] := datasets;
    from_jobs uuid[] := jobs;
    direct uuid[] := none;
    partly uuid[] := none;
    new_datasets uuid[];
    new_jobs uuid[];
    beyond uuid := coalesce(after, first);
    cut uuid;
    by_jobs boolean := of_job;
    room integer;
BEGIN
    FOR step IN 1 .. greatest(2 * depth - of_job::integer, 0) LOOP
        room := greatest(most - cardinality(datasets) - cardinality(jobs), 0);
        SELECT coalesce(array_agg(f.id) FILTER (WHERE f.place <= room AND f.is_job), none),
               coalesce(array_agg(f.id) FILTER (WHERE f.place <= room AND NOT f.is_job), none),
               CASE WHEN max(f.place) > room
                    THEN coalesce((array_agg(f.key ORDER BY f.place DESC) FILTER (WHERE f.place <= room))[1], beyond)
               END
          INTO new_jobs, new_datasets, cut
          FROM (
            SELECT d.id, d.is_job, d.key, row_number() OVER (ORDER BY d.key) AS place
              FROM (
                SELECT DISTINCT ON (n.id) n.id, n.is_job, n.key
                  FROM unnest(CASE WHEN by_jobs THEN from_jobs ELSE from_datasets END) AS l (id)
                 CROSS JOIN LATERAL lineage_next(l.id, by_jobs, upstream, beyond, bound) n
                  LEFT JOIN unnest(datasets || jobs) AS s (id) ON s.id = n.id
                 WHERE s.id IS NULL
                 ORDER BY n.id, n.key) d
             ORDER BY d.key LIMIT room + 1) f;
        datasets := datasets || new_datasets;
        jobs := jobs || new_jobs;
        IF by_jobs THEN
            partly := from_jobs;
            from_jobs := none;
            from_datasets := direct || new_datasets;
            direct := none;
        ELSE
            partly := from_datasets;
            from_datasets := none;
            from_jobs := new_jobs;
            direct := new_datasets;
        END IF;
        EXIT WHEN cut IS NOT NULL;
        partly := none;
        beyond := first;
        by_jobs := NOT by_jobs;
        EXIT WHEN cardinality(from_jobs) + cardinality(from_datasets) + cardinality(direct) = 0;
    END LOOP;
    RETURN QUERY
    WITH ends AS (
        SELECT e.id, false AS of_job, first AS beyond, NULL::uuid AS resume
          FROM unnest(from_datasets || direct) AS e (id)
         UNION ALL
        SELECT e.id, true, first, NULL FROM unnest(from_jobs) AS e (id)
         UNION ALL
        SELECT e.id, by_jobs, cut, cut FROM unnest(partly) AS e (id)
    ), open AS (
        SELECT DISTINCT e.id, e.resume
          FROM ends e
         CROSS JOIN LATERAL lineage_next(e.id, e.of_job, upstream, e.beyond, bound) n
          LEFT JOIN unnest(datasets || jobs) AS s (id) ON s.id = n.id
         WHERE s.id IS NULL
    )
    SELECT n.id, n.is_job, o.id IS NOT NULL, o.resume
      FROM (SELECT unnest(datasets), false UNION ALL SELECT unnest(jobs), true) AS n (id, is_job)
      LEFT JOIN open o ON o.id = n.id;
END
$$
"""

# The same for columns: one step is an edge from column to column.
NEXT_COLUMNS = """
CREATE FUNCTION lineage_next_columns(
    node uuid, node_field text, upstream boolean, beyond uuid, beyond_field text, bound integer)
RETURNS TABLE (key uuid, id uuid, field text) LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.other, coalesce(a.canonical_id, e.other), e.field
  FROM (SELECT node UNION ALL SELECT d.id FROM dataset d WHERE d.canonical_id = node) n (id)
 CROSS JOIN LATERAL (
    (SELECT DISTINCT c.input_dataset_id AS other, c.input_field AS field FROM column_edge c
      WHERE upstream AND c.dataset_id = n.id AND c.field = node_field
        AND (c.input_dataset_id, c.input_field) > (beyond, beyond_field)
      ORDER BY 1, 2 LIMIT bound)
     UNION ALL
    (SELECT DISTINCT c.dataset_id, c.field FROM column_edge c
      WHERE NOT upstream AND c.input_dataset_id = n.id AND c.input_field = node_field
        AND (c.dataset_id, c.field) > (beyond, beyond_field)
      ORDER BY 1, 2 LIMIT bound)) e
  LEFT JOIN dataset a ON a.id = e.other AND a.canonical_id IS NOT NULL
$$
"""

COLUMNS = """
CREATE FUNCTION lineage_columns(
    start uuid, start_field text, upstream boolean, depth integer, most integer, after uuid, after_field text)
RETURNS TABLE (id uuid, field text, is_open boolean, resume uuid, resume_field text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    bound CONSTANT integer := 2 * most + 2;
    ids uuid[] := ARRAY[start];
    fields text[] := ARRAY[start_field];
    from_ids uuid[] := ids;
    from_fields text[] := fields;
    partly_ids uuid[] := '{}';
    partly_fields text[] := '{}';
    new_ids uuid[];
    new_fields text[];
    beyond uuid := coalesce(after, first);
    beyond_field text := coalesce(after_field, '');
    cut uuid;
    cut_field text;
    room integer;
BEGIN
    FOR step IN 1 .. depth LOOP
        room := greatest(most - cardinality(ids), 0);
        SELECT coalesce(array_agg(f.id ORDER BY f.place) FILTER (WHERE f.place <= room), '{}'),
               coalesce(array_agg(f.field ORDER BY f.place) FILTER (WHERE f.place <= room), '{}'),
               CASE WHEN max(f.place) > room
                    THEN coalesce((array_agg(f.key ORDER BY f.place DESC) FILTER (WHERE f.place <= room))[1], beyond)
               END,
               coalesce((array_agg(f.field ORDER BY f.place DESC) FILTER (WHERE f.place <= room))[1], beyond_field)
          INTO new_ids, new_fields, cut, cut_field
          FROM (
            SELECT d.id, d.field, d.key, row_number() OVER (ORDER BY d.key, d.field) AS place
              FROM (
                SELECT DISTINCT ON (n.id, n.field) n.id, n.field, n.key
                  FROM unnest(from_ids, from_fields) AS l (id, field)
                 CROSS JOIN LATERAL lineage_next_columns(l.id, l.field, upstream, beyond, beyond_field, bound) n
                  LEFT JOIN unnest(ids, fields) AS s (id, field) ON s.id = n.id AND s.field = n.field
                 WHERE s.id IS NULL
                 ORDER BY n.id, n.field, n.key) d
             ORDER BY d.key, d.field LIMIT room + 1) f;
        ids := ids || new_ids;
        fields := fields || new_fields;
        partly_ids := from_ids;
        partly_fields := from_fields;
        from_ids := new_ids;
        from_fields := new_fields;
        EXIT WHEN cut IS NOT NULL;
        partly_ids := '{}';
        partly_fields := '{}';
        beyond := first;
        beyond_field := '';
        EXIT WHEN cardinality(from_ids) = 0;
    END LOOP;
    RETURN QUERY
    WITH ends AS (
        SELECT e.id, e.field, first AS beyond, '' AS beyond_field, NULL::uuid AS resume, NULL::text AS resume_field
          FROM unnest(from_ids, from_fields) AS e (id, field)
         UNION ALL
        SELECT e.id, e.field, cut, cut_field, cut, cut_field FROM unnest(partly_ids, partly_fields) AS e (id, field)
    ), open AS (
        SELECT DISTINCT e.id, e.field, e.resume, e.resume_field
          FROM ends e
         CROSS JOIN LATERAL lineage_next_columns(e.id, e.field, upstream, e.beyond, e.beyond_field, bound) n
          LEFT JOIN unnest(ids, fields) AS s (id, field) ON s.id = n.id AND s.field = n.field
         WHERE s.id IS NULL
    )
    SELECT n.id, n.field, o.id IS NOT NULL, o.resume, o.resume_field
      FROM unnest(ids, fields) AS n (id, field)
      LEFT JOIN open o ON o.id = n.id AND o.field = n.field;
END
$$
"""


def upgrade() -> None:
    """Create columns, indexes and functions."""
    for table in ("dataset", "job"):
        op.add_column(table, sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.execute("CREATE INDEX dataset_by_alias ON dataset (id) INCLUDE (canonical_id) WHERE canonical_id IS NOT NULL")
    op.drop_index("job_dataset_by_dataset", "job_dataset")
    op.create_index("job_dataset_by_dataset", "job_dataset", ["dataset_id", "direction", "job_id"])
    for name, near, far in (("target", "", "input_"), ("source", "input_", "")):
        columns = [f"{near}dataset_id", f"{near}field", f"{far}dataset_id", f"{far}field"]
        op.drop_index(f"column_edge_by_{name}", "column_edge")
        op.create_index(f"column_edge_by_{name}", "column_edge", columns)
        op.create_index(
            f"column_edge_direct_by_{name}", "column_edge", columns[::2], postgresql_where=sa.text("job_id IS NULL")
        )
    op.create_table(
        "job_design",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("designed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "designed_at", "direction", "dataset_id"),
    )
    op.create_index("job_design_by_dataset", "job_design", ["dataset_id"])
    op.execute(
        "INSERT INTO job_design (job_id, designed_at, direction, dataset_id) "
        "SELECT e.job_id, j.designed_at, e.direction, e.dataset_id FROM job_dataset e JOIN job j ON j.id = e.job_id "
        "WHERE e.origin = 'design' AND j.designed_at IS NOT NULL"
    )
    for table, texts in NAMED.items():
        op.create_table(
            table,
            sa.Column("name", sa.Text(), nullable=False),
            *(sa.Column(column, sa.Text()) for column in texts),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint("name"),
        )
    for function in (NEXT, NODES, NEXT_COLUMNS, COLUMNS):
        op.execute(sa.text(function.replace(":", r"\:")))


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP FUNCTION lineage_columns; DROP FUNCTION lineage_next_columns")
    op.execute("DROP FUNCTION lineage_nodes; DROP FUNCTION lineage_next")
    for table in (*NAMED, "job_design"):
        op.drop_table(table)
    for name, near in (("target", ""), ("source", "input_")):
        op.drop_index(f"column_edge_direct_by_{name}", "column_edge")
        op.drop_index(f"column_edge_by_{name}", "column_edge")
        op.create_index(f"column_edge_by_{name}", "column_edge", [f"{near}dataset_id", f"{near}field"])
    op.drop_index("job_dataset_by_dataset", "job_dataset")
    op.create_index("job_dataset_by_dataset", "job_dataset", ["dataset_id", "direction"])
    op.drop_index("dataset_by_alias", "dataset")
    for table in ("dataset", "job"):
        op.execute(sa.text(f"DELETE FROM {table} WHERE deleted_at IS NOT NULL"))  # as it was: gone
        op.drop_column(table, "deleted_at")
