"""The two servers under everything: what provisioning makes and what each role may do."""

from __future__ import annotations

import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import postgres as postgres_server
from dataplatform_cli.stack import s3 as s3_server

pytestmark = pytest.mark.integration


def test_provisioning_twice_changes_nothing(postgres: StackSettings) -> None:
    postgres_server.provision(postgres)
    with psycopg.connect(postgres.dsn("loader")) as connection:
        schemas = connection.execute(
            "SELECT nspname, nspowner::regrole::text FROM pg_namespace WHERE nspname !~ '^(pg_|information)' ORDER BY 1"
        ).fetchall()
    assert schemas == [
        ("audit", "loader"),
        ("candidate", "transformer"),
        ("curated", "transformer"),
        ("intermediate", "transformer"),
        ("public", "pg_database_owner"),
        ("staging", "loader"),
    ]


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("loader", "CREATE TABLE curated.x (a int)"),
        ("loader", "CREATE TABLE public.x (a int)"),
        ("transformer", "CREATE TABLE staging.x (a int)"),
        ("reporter", "CREATE TABLE curated.x (a int)"),
        ("reporter", "SELECT * FROM candidate.fct_sales"),
        ("reporter", "CREATE TABLE audit.x (a int)"),
        ("reporter", "CREATE TEMP TABLE x (a int)"),
    ],
)
def test_a_role_can_not_write_outside_its_layer(postgres: StackSettings, role: str, statement: str) -> None:
    with psycopg.connect(postgres.dsn(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_a_service_role_can_not_enter_the_warehouse(postgres: StackSettings) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(postgres.dsn("superset", database="warehouse"))


def test_the_reporter_reads_what_the_transformer_makes(postgres: StackSettings) -> None:
    with psycopg.connect(postgres.dsn("transformer"), autocommit=True) as transformer:
        transformer.execute("CREATE TABLE curated.probe AS SELECT 1 AS a")
        with psycopg.connect(postgres.dsn("reporter")) as reporter:
            assert reporter.execute("SELECT a FROM curated.probe").fetchall() == [(1,)]
        transformer.execute("DROP TABLE curated.probe")


def test_buckets_are_made_once(s3: StackSettings) -> None:
    s3_server.make_buckets(s3)
    names = {bucket["Name"] for bucket in s3_server.client(s3).list_buckets()["Buckets"]}
    assert names >= {"raw", "staging", "curated"}
