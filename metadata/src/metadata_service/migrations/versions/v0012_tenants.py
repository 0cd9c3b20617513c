"""Tenants: row-level security for what a key bound to namespaces reads, and grants from team to team.

A request of a bound key runs as the role `metadata_tenant`, with the namespaces that it sees in settings of its
transaction (`metadata_service.repositories.tenancy`). What a table shows to this role is said here; a table of which
nothing is said it can't read at all. The tables' owner, as whom everything else runs, is not subject to it.

Conditions on namespaces are evaluated once a statement (`SELECT tenant_names()` is an InitPlan). An index is used under
row-level security only by operators that are leakproof, which those of full text search are not: what needs them is a
function with its owner's rights, which looks at the namespaces itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ROLE = "metadata_tenant"
CURE = (
    f"The role {ROLE} is missing, or the service's role may not act as it. As an administrator of the server: "
    f'CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO "%s";'
)
# Roles belong to the cluster: another database's migration may make it at the same moment.
MAKE_ROLE = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
        BEGIN
            CREATE ROLE {ROLE} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, '{ROLE}', 'MEMBER') THEN
        EXECUTE format('GRANT {ROLE} TO %I', current_user);
    END IF;
    IF NOT has_schema_privilege('{ROLE}', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO {ROLE}', current_schema());
    END IF;
END
$$
"""


def sees(column: str) -> str:
    """Return the condition that a namespace is one that this transaction sees."""
    return f"({column} = ANY ((SELECT tenant_names())::text[]) OR {column} ^@ ANY ((SELECT tenant_prefixes())::text[]))"


_STANDS = "AND d.canonical_id IS NULL AND d.deleted_at IS NULL"
_QUOTED = r"'''' || replace(replace({}, '\', '\\'), '''', '''''') || ''''"

# What conditions are made of. Without settings nothing is seen.
FUNCTIONS = {
    "tenant_names()": """
RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT nullif(current_setting('metadata_tenant.names', true), '')::text[];
END
""",
    "tenant_prefixes()": """
RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT nullif(current_setting('metadata_tenant.prefixes', true), '')::text[];
END
""",
    # Facets that name something elsewhere: sources of columns, parents, other names.
    "tenant_names_others(value jsonb)": f"""
RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT EXISTS (SELECT FROM jsonb_path_query(value, '$.**.namespace') AS n
                WHERE jsonb_typeof(n) = 'string' AND {sees("(n #>> '{}')")} IS NOT TRUE);
END
""",
    "tenant_facets(facets jsonb)": """
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT CASE WHEN jsonb_typeof(facets) = 'object'
            THEN (SELECT coalesce(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(facets) f
                   WHERE NOT tenant_names_others(f.value)) END;
END
""",
    # A run, job or dataset of an event, without the facets that name something elsewhere.
    "tenant_part(part jsonb)": """
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT CASE WHEN jsonb_typeof(part) = 'object'
            THEN part || (SELECT coalesce(jsonb_object_agg(k, tenant_facets(part -> k)), '{}')
                            FROM unnest(ARRAY['facets', 'inputFacets', 'outputFacets']) AS k
                           WHERE part ? k) END;
END
""",
    "tenant_parts(parts jsonb)": f"""
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT CASE WHEN jsonb_typeof(parts) = 'array'
            THEN (SELECT coalesce(jsonb_agg(tenant_part(p)) FILTER (WHERE {sees("(p ->> 'namespace')")}), '[]')
                    FROM jsonb_array_elements(parts) p) END;
END
""",
    # The namespaces that are seen, as search marks them.
    "tenant_marks()": f"""
RETURNS tsquery LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT string_agg({_QUOTED.format("left('namespace=' || m.name, 500)")} || m.sign, ' | ')::tsquery
  FROM (SELECT unnest(tenant_names()), '' UNION ALL SELECT unnest(tenant_prefixes()), ':*') AS m (name, sign);
END
""",
}
# These have their owner's rights, and look at the namespaces themselves.
OWNERS_FUNCTIONS = {
    "tenant_sees_dataset(dataset_id uuid)": f"""
RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
SELECT EXISTS (SELECT FROM dataset d WHERE d.id = dataset_id AND {sees("d.namespace")});
END
""",
    # A product is seen by who sees all of its datasets.
    "tenant_products()": f"""
RETURNS SETOF uuid LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
SELECT x.product_id
  FROM product_dataset x JOIN dataset d ON d.id = x.dataset_id LEFT JOIN dataset c ON c.id = d.canonical_id
 GROUP BY x.product_id HAVING bool_and({sees("d.namespace")} AND (c.id IS NULL OR {sees("c.namespace")}));
END
""",
    "tenant_namespace_of_event(event_id bigint)": """
RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
SELECT coalesce(e.job_namespace, e.payload #>> '{dataset,namespace}') FROM event e WHERE e.id = event_id;
END
""",
    # An event as it came in, without what it says of things elsewhere.
    "tenant_payload(event_id bigint)": f"""
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
SELECT t.told || (
    SELECT coalesce(jsonb_object_agg(k, CASE WHEN k IN ('inputs', 'outputs') THEN tenant_parts(t.told -> k)
                                             ELSE tenant_part(t.told -> k) END), '{{}}')
      FROM unnest(ARRAY['inputs', 'outputs', 'run', 'job', 'dataset']) AS k WHERE t.told ? k)
  FROM (SELECT e.payload::text::jsonb AS told FROM event e
         WHERE e.id = event_id AND {sees("tenant_namespace_of_event(event_id)")}) t;
END
""",
}


def _search(kind: str, exact: str, seen: str, stands: str, marks: str) -> str:
    return f"""
RETURNS TABLE (id uuid, tier integer) LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
WITH found AS (
    (SELECT d.id, 0 AS tier FROM {kind} d
      WHERE ({exact}) AND (marks = '' OR d.search @@ marks::tsquery) AND {seen} {stands} LIMIT most)
     UNION ALL
    (SELECT d.id, 1 FROM {kind} d WHERE d.search @@ (title::tsquery{marks}) AND {seen} {stands} LIMIT most)
     UNION ALL
    (SELECT d.id, 2 FROM {kind} d WHERE d.search @@ (words::tsquery{marks}) AND {seen} {stands} LIMIT most))
SELECT f.id, min(f.tier) FROM found f GROUP BY f.id;
END
"""


_BY_NAME = "lower(d.name) = given OR lower(search_title(d.name)) = given"
_BY_URI = " OR lower(left(d.uri, 500)) = left(given, 500)"
_MARKS = " && (SELECT tenant_marks())"
_SIGNATURE = "(given text, marks text, title text, words text, most integer)"
OWNERS_FUNCTIONS |= {
    f"tenant_search_dataset{_SIGNATURE}": _search("dataset", _BY_NAME + _BY_URI, sees("d.namespace"), _STANDS, _MARKS),
    f"tenant_search_job{_SIGNATURE}": _search("job", _BY_NAME, sees("d.namespace"), "AND d.deleted_at IS NULL", _MARKS),
    f"tenant_search_product{_SIGNATURE}": _search(
        "product", "lower(d.name) = given", "d.id IN (SELECT tenant_products())", "", ""
    ),
}
_WORD = f"({_QUOTED.format('w.word')})::tsquery"
OWNERS_FUNCTIONS |= {
    # Words that may be meant by a mistyped one, as far as something that is seen has them.
    "tenant_close_words(mistyped text)": f"""
RETURNS SETOF text LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
SELECT w.word FROM search_word w
 WHERE w.variants && search_variants(mistyped) AND abs(length(w.word) - length(mistyped)) <= 2
   AND (EXISTS (SELECT FROM dataset d WHERE d.search @@ ({_WORD}{_MARKS}) AND {sees("d.namespace")} {_STANDS})
     OR EXISTS (SELECT FROM job d
                 WHERE d.search @@ ({_WORD}{_MARKS}) AND {sees("d.namespace")} AND d.deleted_at IS NULL)
     OR EXISTS (SELECT FROM product d WHERE d.search @@ {_WORD} AND d.id IN (SELECT tenant_products())))
 LIMIT 5000;
END
""",
}


def _exists(table: str, key: str, column: str) -> str:
    return f"EXISTS (SELECT FROM {table} x WHERE x.{key} = {column})"


def _dataset(column: str) -> str:
    return _exists("dataset", "id", column)


def _job(column: str) -> str:
    return _exists("job", "id", column)


def _run(column: str) -> str:
    return _exists("run", "id", column)


_UUID = "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
_BY = "left(facet.owner_id, -37)"
# What the role sees of each table. A subquery's table is itself subject to its policy.
POLICIES = {
    # Another name of a dataset is seen by who sees both that name and the dataset's.
    "dataset": f"{sees('namespace')} AND (canonical_id IS NULL OR tenant_sees_dataset(canonical_id))",
    "job": sees("namespace"),
    # A run that nothing names a job of is seen by who sees a dataset that it checked.
    "run": f"CASE WHEN job_id IS NOT NULL THEN {_job('run.job_id')}"
    f" ELSE {_exists('quality_run', 'run_id', 'run.id')} END",
    "run_dataset": f"{_run('run_dataset.run_id')} AND {_dataset('run_dataset.dataset_id')}",
    "job_dataset": f"{_job('job_dataset.job_id')} AND {_dataset('job_dataset.dataset_id')}",
    "job_design": f"{_job('job_design.job_id')} AND {_dataset('job_design.dataset_id')}",
    "column_edge": f"{_dataset('column_edge.dataset_id')} AND {_dataset('column_edge.input_dataset_id')}"
    f" AND (job_id IS NULL OR {_job('column_edge.job_id')})",
    "facet": f"""CASE owner_type
        WHEN 'dataset' THEN {_dataset("facet.owner_id::uuid")}
        WHEN 'static' THEN {_dataset("facet.owner_id::uuid")}
        WHEN 'job' THEN {_job("facet.owner_id::uuid")}
        WHEN 'run' THEN {_run("facet.owner_id")}
        ELSE {_dataset("right(facet.owner_id, 36)::uuid")}
             AND ({_run(_BY)} OR CASE WHEN {_BY} ~ {_UUID} THEN {_job(_BY + "::uuid")} ELSE false END)
        END
        AND (name = 'schema' OR NOT (value @? '$.**.namespace' AND tenant_names_others(value)))""",
    "event": f"""CASE WHEN job_namespace IS NOT NULL THEN {sees("job_namespace")}
        ELSE {sees("tenant_namespace_of_event(id)")} END""",
    # Whatever run checked it: what is said of a dataset is its team's to know.
    "quality_result": f"CASE WHEN dataset_id IS NOT NULL THEN {_dataset('quality_result.dataset_id')}"
    " ELSE EXISTS (SELECT FROM run x WHERE x.id = quality_result.run_id AND x.job_id IS NOT NULL) END",
    "quality_run": _dataset("quality_run.dataset_id"),
    "quality_current": _dataset("quality_current.dataset_id"),
    "quality_state": _dataset("quality_state.dataset_id"),
    "schema_version": _dataset("schema_version.dataset_id"),
    "product": "id IN (SELECT tenant_products())",
    "product_dataset": _exists("product", "id", "product_dataset.product_id"),
    "product_version": _exists("product", "id", "product_version.product_id"),
    "product_lineage": f"{_exists('product', 'name', 'product_lineage.source')}"
    f" AND {_exists('product', 'name', 'product_lineage.target')}",
    "telemetry_span": sees("namespace"),
    "telemetry_metric": sees("namespace"),
    "namespace": sees("name"),
    "source": sees("name"),
    "tag": "name IN (SELECT unnest(tags) FROM dataset"
    " UNION SELECT jsonb_path_query(fields, '$[*].tags[*]') #>> '{}' FROM dataset)",
}
# Payloads are read by `tenant_payload`; whose key sent an event is not shown.
READ_IN_PART = {"event": "id, kind, event_type, event_time, received_at, run_id, job_namespace, job_name"}


def upgrade() -> None:
    """Make the role, what it sees, and the table of grants."""
    _make_role()
    op.create_table(
        "namespace_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("grantee", sa.Text(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("permission IN ('read', 'discover')", name="namespace_grant_permission"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "grantee", "permission"),
    )
    for name, body in FUNCTIONS.items():
        _execute(f"CREATE FUNCTION {name} {body}")
    for name, body in OWNERS_FUNCTIONS.items():
        _execute(f"CREATE FUNCTION {name} {body}")
        _execute(f"REVOKE ALL ON FUNCTION {name.partition('(')[0]} FROM PUBLIC")
        _execute(f"GRANT EXECUTE ON FUNCTION {name.partition('(')[0]} TO {ROLE}")
    for table, condition in POLICIES.items():
        columns = f" ({READ_IN_PART[table]})" if table in READ_IN_PART else ""
        _execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        _execute(f"CREATE POLICY tenant ON {table} FOR SELECT TO {ROLE} USING ({condition})")
        _execute(f"GRANT SELECT{columns} ON {table} TO {ROLE}")


def downgrade() -> None:
    """Drop all of it but the role, which other databases of the cluster may use."""
    for table in POLICIES:
        _execute(f"DROP POLICY tenant ON {table}")
        _execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        _execute(f"REVOKE ALL ON {table} FROM {ROLE}")
    for name in [*FUNCTIONS, *OWNERS_FUNCTIONS][::-1]:
        _execute(f"DROP FUNCTION {name.partition('(')[0]}")
    op.drop_table("namespace_grant")


def _execute(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def _make_role() -> None:
    connection = op.get_bind()
    try:
        with connection.begin_nested():
            _execute(MAKE_ROLE)
        with connection.begin_nested():
            _execute(f"SET LOCAL ROLE {ROLE}")
            _execute("RESET ROLE")
    except DBAPIError as error:
        raise PermissionError(f"{CURE % connection.engine.url.username} ({str(error.orig).splitlines()[0]})") from error
