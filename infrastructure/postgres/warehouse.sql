-- Schemas and grants of the database warehouse, one schema a layer. Run by a superuser; safe to repeat.
--   loader       writes staging and audit
--   transformer  reads staging, writes intermediate and curated, records check results in audit
--   reporter     reads curated and audit
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE warehouse TO loader, transformer, reporter;
GRANT TEMPORARY ON DATABASE warehouse TO loader, transformer;
-- dbt asks for its schemas to exist, and makes those of a development target.
GRANT CREATE ON DATABASE warehouse TO transformer;

CREATE SCHEMA IF NOT EXISTS staging AUTHORIZATION loader;
CREATE SCHEMA IF NOT EXISTS intermediate AUTHORIZATION transformer;
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
