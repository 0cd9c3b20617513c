"""The service's database: engine, sessions, waiting for the server and migrating it."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from metadata_service.connecting import connect_arguments
from metadata_service.problems import first_line
from metadata_service.settings import HubSettings

log = structlog.get_logger(__name__)

# Any number will do, as long as every process that migrates this database uses the same one.
MIGRATION_LOCK = 0x6D657461


def make_engine(settings: HubSettings, role: str | None = None) -> Engine:
    """Return an engine whose connections are checked before use and give up waiting after seconds, not minutes.

    Args:
        settings: The service's.
        role: As whom its connections work, if not as the one who logs in.
    """
    parameters = {"jit": "off", "role": role} if role else {"jit": "off"}
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args=connect_arguments("metadata_service", **parameters),
    )


def wait_until_ready(engine: Engine, seconds: float) -> None:
    """Return once the database answers.

    Raises:
        OperationalError: it still doesn't after `seconds`.
    """
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except OperationalError as error:
            if time.monotonic() + pause > deadline:
                raise
            log.warning("database_not_ready", reason=first_line(error.orig))
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
        else:
            return


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to a revision. Processes that start together do it one after the other.

    Raises:
        PermissionError: the service's role lacks rights; the message says which, and how to give them.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if revision == "head" and connection.scalar(text("SELECT row_security_active('dataset')")):
            role = connection.scalar(text("SELECT current_user"))
            raise PermissionError(
                f"The service's tables belong to another role than {role}, which would see no rows of them. "
                f'As their owner or an administrator: ALTER TABLE … OWNER TO "{role}" for each.'
            )
