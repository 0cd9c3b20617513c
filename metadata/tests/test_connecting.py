"""Every connection to Postgres ends soon when the server's host has vanished."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from metadata_service.database import make_engine
from metadata_service.repositories.events import EventLog
from metadata_service.repositories.warehouse import Warehouse
from metadata_service.settings import ServiceSettings
from metadata_service.telemetry.postgres import PostgresStore

pytestmark = pytest.mark.integration


@contextmanager
def of_engine(engine: Engine) -> Iterator[Any]:
    with engine.connect() as connection:
        yield connection.connection.driver_connection
    engine.dispose()


@contextmanager
def of_event_log(dsn: str) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        log = runner.run(EventLog.connect(dsn))
        yield log._connection
        runner.run(log.close())


@contextmanager
def of_telemetry(dsn: str) -> Iterator[Any]:
    store = PostgresStore(dsn, 30)
    with store._session() as connection:
        yield connection
    store.close()


def test_connections_notice_that_a_host_has_vanished(empty_database: str) -> None:
    settings = ServiceSettings(api_key="k", database_url=empty_database)
    url = settings.database_url.get_secret_value()
    for opened in (
        of_engine(make_engine(settings)),
        of_engine(Warehouse(url)._engine),
        of_event_log(empty_database),
        of_telemetry(empty_database),
    ):
        with opened as connection, socket.socket(fileno=os.dup(connection.fileno())) as wire:
            assert 0 < wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000  # milliseconds
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30  # seconds, while nothing is sent
