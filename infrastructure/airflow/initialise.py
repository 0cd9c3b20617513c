"""Prepare Airflow: migrate its database, write the platform's connections and pools, and the log-in. Safe to repeat.

The words ${NAME} in pipelines/config/connections.yaml are taken from the environment. One process does what three
calls of the `airflow` command would: each of those spends most of its time importing Airflow.
"""

from __future__ import annotations

import json
import os
import string
import sys
from pathlib import Path
from typing import Any

import yaml
from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from cryptography.fernet import InvalidToken
from sqlalchemy import delete, select, update

CONFIG = Path(__file__).resolve().parents[2] / "pipelines" / "config" / "connections.yaml"


def filled_in(value: Any) -> Any:
    """Return the parsed file with its ${WORDS} replaced. After parsing, so that a password may hold any character."""
    if isinstance(value, dict):
        return {key: filled_in(item) for key, item in value.items()}
    return string.Template(value).substitute(os.environ) if isinstance(value, str) else value


def write_login() -> None:
    """Write the administrator's password where the simple auth manager looks it up."""
    path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({os.environ["AIRFLOW_ADMIN_USER"]: os.environ["AIRFLOW_ADMIN_PASSWORD"]}))


def write_connection(conn_id: str, fields: dict[str, Any]) -> None:
    """Make a connection what the file says, also where the key that it was written with is lost."""
    try:
        with create_session() as session:
            connection = Connection(conn_id=conn_id, **fields)
            connection.id = session.scalar(select(Connection.id).where(Connection.conn_id == conn_id))
            session.merge(connection)
    except InvalidToken:  # comparing it with the one before reads that one's password
        sys.stderr.write(f"{conn_id} was written with another AIRFLOW_FERNET_KEY: it is written anew\n")
        with create_session() as session:
            session.execute(delete(Connection).where(Connection.conn_id == conn_id))
            session.add(Connection(conn_id=conn_id, **fields))


def forget_unreadable_triggers() -> None:
    """Remove triggers that were written with another key: one of them ends the triggerer, again and again.

    Those that watch for files come back with the next reading of the DAGs; tasks that waited are tried again.
    """
    with create_session() as session:
        lost = [trigger.id for trigger in session.scalars(select(Trigger)) if not is_readable(trigger)]
        if not lost:
            return
        waiting = update(TaskInstance).where(TaskInstance.trigger_id.in_(lost))
        session.execute(waiting.values(trigger_id=None, state="up_for_retry"))
        session.execute(delete(Trigger).where(Trigger.id.in_(lost)))


def is_readable(trigger: Trigger) -> bool:
    """Whether the key in use is the one that a trigger was written with."""
    try:
        return trigger.kwargs is not None
    except InvalidToken:
        return False


def main() -> None:
    """Migrate, then make connections and pools what the file says."""
    write_login()
    initdb()
    wanted = filled_in(yaml.safe_load(CONFIG.read_text()))
    for conn_id, fields in wanted["connections"].items():
        write_connection(conn_id, {**fields, "port": int(fields["port"])} if "port" in fields else fields)
    forget_unreadable_triggers()
    for name, pool in wanted["pools"].items():
        Pool.create_or_update_pool(name, slots=pool["slots"], description=pool["description"], include_deferred=False)


if __name__ == "__main__":
    main()
