"""What is known of publications without building one."""

from __future__ import annotations

from pipelines.utils.connections import WAREHOUSE_TRANSFORMER, warehouse_dsn


def anything_published() -> bool:
    """Return whether marts have ever been published to the warehouse."""
    import psycopg

    with psycopg.connect(warehouse_dsn(WAREHOUSE_TRANSFORMER)) as connection:
        query = "SELECT EXISTS (SELECT FROM audit.publications WHERE status = 'published')"
        return connection.execute(query).fetchone() == (True,)
