"""From the id of an Airflow connection to what the ingestion core takes: a DSN, an object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from pipelines.ingestion.objects import ObjectStore

WAREHOUSE_LOADER = "warehouse_loader"
WAREHOUSE_TRANSFORMER = "warehouse_transformer"
MINIO = "minio"
METADATA = "metadata"
AIRFLOW = "airflow"
SUPERSET = "superset"


def warehouse_dsn(conn_id: str) -> str:
    """Return the libpq URL of a Postgres connection."""
    connection = _connection(conn_id)
    user, password = quote(connection.login or "", safe=""), quote(connection.password or "", safe="")
    return f"postgresql://{user}:{password}@{connection.host}:{connection.port or 5432}/{connection.schema}"


def warehouse_namespace(conn_id: str) -> str:
    """Return the OpenLineage namespace of a Postgres connection: `postgres://host:port`."""
    connection = _connection(conn_id)
    return f"postgres://{connection.host}:{connection.port or 5432}"


def database_of(conn_id: str) -> str:
    """Return the database of a Postgres connection."""
    return str(_connection(conn_id).schema)


def postgres_hook(conn_id: str) -> PostgresHook:
    """Return the hook of a Postgres connection, which asks Airflow for nothing more: any thread may use it.

    Its connections have all that the Airflow connection's extra says (TLS, time-outs and the like).
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    hook = PostgresHook(postgres_conn_id=conn_id)
    _ = hook.connection  # looked up now, and kept
    return hook


def http_service(conn_id: str) -> tuple[str, tuple[str, str]]:
    """Return the address of an HTTP connection, without a slash at its end, and its log-in and password."""
    connection = _connection(conn_id)
    address = f"{connection.schema or 'http'}://{connection.host}:{connection.port}"
    return address, (connection.login or "", connection.password or "")


def s3_client(conn_id: str) -> Any:
    """Return a boto3 S3 client of an AWS connection (which may name an endpoint of its own, such as MinIO's).

    Raises:
        AirflowNotFoundException: there is no such connection. (The hook would go on with the machine's own keys.)
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    _connection(conn_id)
    return S3Hook(aws_conn_id=conn_id).get_conn()


def object_store(conn_id: str) -> ObjectStore:
    """Return the platform's buckets behind an AWS connection."""
    from pipelines.ingestion.objects import ObjectStore

    return ObjectStore(s3_client(conn_id))


def dbt_environment(conn_id: str) -> dict[str, str]:
    """Return what transformations/profiles.yml reads, from a Postgres connection."""
    connection = _connection(conn_id)
    return {
        "WAREHOUSE_HOST": connection.host or "",
        "WAREHOUSE_PORT": str(connection.port or 5432),
        "WAREHOUSE_USER": connection.login or "",
        "WAREHOUSE_PASSWORD": connection.password or "",
        "WAREHOUSE_DATABASE": connection.schema or "",
    }


def _connection(conn_id: str) -> Any:
    from airflow.sdk import BaseHook

    return BaseHook.get_connection(conn_id)
