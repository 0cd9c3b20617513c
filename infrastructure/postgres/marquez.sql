-- Marquez' own database, for the profile `lineage`. Run by psql as a superuser, at every start.
\set ON_ERROR_STOP on
\getenv marquez_password POSTGRES_MARQUEZ_PASSWORD

SELECT 'CREATE ROLE marquez LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'marquez')
\gexec
ALTER ROLE marquez LOGIN PASSWORD :'marquez_password';
SELECT 'CREATE DATABASE marquez OWNER marquez' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'marquez')
\gexec
REVOKE ALL ON DATABASE marquez FROM PUBLIC;
