-- Schemas and grants of the database warehouse, one schema a layer. Run by a superuser; safe to repeat.
--   loader       writes staging and audit
--   transformer  reads staging, writes intermediate, candidate and curated, records builds and check results in audit
--   reporter     reads curated and audit
-- Marts are built and checked in candidate, which nobody else reads, and published into curated in one transaction.
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE warehouse TO loader, transformer, reporter;
GRANT TEMPORARY ON DATABASE warehouse TO loader, transformer;
-- dbt asks for its schemas to exist, and makes those of a development target.
GRANT CREATE ON DATABASE warehouse TO transformer;

CREATE SCHEMA IF NOT EXISTS staging AUTHORIZATION loader;
CREATE SCHEMA IF NOT EXISTS intermediate AUTHORIZATION transformer;
CREATE SCHEMA IF NOT EXISTS candidate AUTHORIZATION transformer;
CREATE SCHEMA IF NOT EXISTS curated AUTHORIZATION transformer;
CREATE SCHEMA IF NOT EXISTS audit AUTHORIZATION loader;

GRANT USAGE ON SCHEMA staging TO transformer;
GRANT USAGE ON SCHEMA curated TO reporter;
GRANT USAGE, CREATE ON SCHEMA audit TO transformer;
GRANT USAGE ON SCHEMA audit TO reporter;

GRANT SELECT ON ALL TABLES IN SCHEMA staging TO transformer;
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO transformer;
GRANT SELECT ON ALL TABLES IN SCHEMA curated TO reporter;

ALTER DEFAULT PRIVILEGES FOR ROLE loader IN SCHEMA staging GRANT SELECT ON TABLES TO transformer;
ALTER DEFAULT PRIVILEGES FOR ROLE loader IN SCHEMA audit GRANT SELECT ON TABLES TO transformer, reporter;
ALTER DEFAULT PRIVILEGES FOR ROLE transformer IN SCHEMA audit GRANT SELECT ON TABLES TO loader, reporter;
ALTER DEFAULT PRIVILEGES FOR ROLE transformer IN SCHEMA curated GRANT SELECT ON TABLES TO reporter;

-- How the platform is (pipelines/monitoring): one row a reading. `threshold` is the limit it broke or would break next.
SET ROLE loader;
CREATE TABLE IF NOT EXISTS audit.platform_health (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checked_at timestamptz NOT NULL,
    component text NOT NULL,
    check_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('ok', 'warn', 'error')),
    value double precision,
    unit text NOT NULL DEFAULT '',
    threshold double precision,
    detail text NOT NULL DEFAULT '',
    UNIQUE (check_name, checked_at)
);
CREATE INDEX IF NOT EXISTS platform_health_checked_at ON audit.platform_health (checked_at);
-- The newest reading of every check; one that is no longer read is left out after a day.
CREATE OR REPLACE VIEW audit.platform_health_latest AS
SELECT DISTINCT ON (check_name) checked_at, component, check_name, status, value, unit, threshold, detail,
    array_position(ARRAY['ok', 'warn', 'error'], status) - 1 AS urgency
FROM audit.platform_health
WHERE checked_at > now() - interval '1 day'
ORDER BY check_name, checked_at DESC;
RESET ROLE;

-- What builds have done (pipelines/publishing): one row for each node of a build, one for each publication.
SET ROLE transformer;
CREATE TABLE IF NOT EXISTS audit.model_runs (
    build_id text NOT NULL,
    unique_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    model text,
    tests integer NOT NULL DEFAULT 0,
    status text NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    seconds double precision,
    message text,
    told boolean NOT NULL DEFAULT false,
    PRIMARY KEY (build_id, unique_id)
);
CREATE INDEX IF NOT EXISTS model_runs_ended_at ON audit.model_runs (ended_at);
CREATE TABLE IF NOT EXISTS audit.publications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    build_id text NOT NULL UNIQUE,
    run_id text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL CHECK (status IN ('published', 'held_back', 'failed')),
    models text[] NOT NULL DEFAULT '{}',
    rows_changed bigint NOT NULL DEFAULT 0,
    held_back_by text[] NOT NULL DEFAULT '{}',
    message text NOT NULL DEFAULT '',
    seconds double precision,
    -- What the build was made of: the newest file of each table that it read.
    sources jsonb NOT NULL DEFAULT '{}',
    -- What it did to each table, and in which months.
    changes jsonb NOT NULL DEFAULT '{}'
);
-- How the newest build ended, and since when the figures are as they are. One row, none before the first build.
CREATE OR REPLACE VIEW audit.publication_latest AS
SELECT newest.status, newest.ended_at, newest.message, array_to_string(newest.held_back_by, ', ') AS held_back_by,
    good.ended_at AS published_at, cardinality(good.models)::bigint AS published_models,
    round((extract(epoch FROM now() - good.ended_at) / 3600)::numeric, 2) AS hours_since_published
FROM (SELECT * FROM audit.publications ORDER BY id DESC LIMIT 1) AS newest
LEFT JOIN LATERAL (
    SELECT * FROM audit.publications WHERE status = 'published' ORDER BY id DESC LIMIT 1
) AS good ON true;
RESET ROLE;
