-- Roles, databases and grants of both stacks. Run by psql as a superuser, at every start: what is there stays, what is
-- missing is made, passwords follow .env. The passwords come from the environment, under .env's names.
\set ON_ERROR_STOP on
\getenv airflow_password POSTGRES_AIRFLOW_PASSWORD
\getenv metadata_password POSTGRES_METADATA_PASSWORD
\getenv superset_password POSTGRES_SUPERSET_PASSWORD
\getenv loader_password WAREHOUSE_LOADER_PASSWORD
\getenv transformer_password WAREHOUSE_TRANSFORMER_PASSWORD
\getenv reporter_password WAREHOUSE_REPORTER_PASSWORD
\getenv monitor_password POSTGRES_MONITOR_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['airflow', 'metadata', 'superset', 'loader', 'transformer', 'reporter', 'monitor']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE airflow LOGIN PASSWORD :'airflow_password';
ALTER ROLE metadata LOGIN PASSWORD :'metadata_password';
ALTER ROLE superset LOGIN PASSWORD :'superset_password';
ALTER ROLE loader LOGIN PASSWORD :'loader_password';
ALTER ROLE transformer LOGIN PASSWORD :'transformer_password';
ALTER ROLE reporter LOGIN PASSWORD :'reporter_password';
-- Reads the server's statistics for Prometheus, and no data.
ALTER ROLE monitor LOGIN PASSWORD :'monitor_password';
GRANT pg_monitor TO monitor;

-- As whom the metadata service reads for a team: row-level security applies to it (docs/tenants.md). Nobody logs in as it.
SELECT 'CREATE ROLE metadata_tenant NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'metadata_tenant')
\gexec
GRANT metadata_tenant TO metadata;

-- A service owns its database; nobody else may enter it.
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('airflow', 'airflow'), ('metadata', 'metadata'), ('superset', 'superset'), ('warehouse', current_user))
    AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name)
\gexec
REVOKE ALL ON DATABASE airflow, metadata, superset, warehouse FROM PUBLIC;

\connect warehouse
\ir warehouse.sql
