"""What of the store a transaction sees: all of it, or what lies in some namespaces.

A session that is narrowed runs each of its transactions as the role `metadata_tenant`, to which row-level security
applies; see the migration `v0012_tenants`. Role and namespaces are settings of the transaction, so they end with it
however it ends. Requests that only read have connections of their own, which work as this role all the time and without
namespaces see nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

ROLE = "metadata_tenant"
_ENTER = text(
    "SELECT set_config('metadata_tenant.names', CAST(CAST(:names AS text[]) AS text), true),"
    " set_config('metadata_tenant.prefixes', CAST(CAST(:prefixes AS text[]) AS text), true),"
    f" set_config('role', '{ROLE}', true)"
)


def narrow(session: Session, patterns: Iterable[str]) -> None:
    """Let a session see these namespaces only, from its next transaction on; `team.*` stands for all that begin so.

    Raises:
        RuntimeError: it is in a transaction already.
    """
    if session.in_transaction():
        raise RuntimeError("a session is narrowed before it begins a transaction")
    given = _settings(patterns)

    @event.listens_for(session, "after_begin")
    def enter(_: Session, __: Any, connection: Connection) -> None:
        connection.execute(_ENTER, given)

    session.info["narrowed"] = True


@contextmanager
def narrowed(session: Session, patterns: Iterable[str]) -> Iterator[None]:
    """Let a transaction under way see these namespaces only, and what it wrote. It can't write meanwhile."""
    session.flush()
    savepoint = session.begin_nested()
    session.expunge_all()  # what was read before is to be read again
    session.execute(_ENTER, _settings(patterns))
    session.info["narrowed"] = True
    try:
        yield
    finally:
        session.info["narrowed"] = False
        session.expunge_all()
        savepoint.rollback()  # which ends the settings, too


def _settings(patterns: Iterable[str]) -> dict[str, list[str]]:
    known = list(dict.fromkeys(patterns))
    return {
        "names": [name for name in known if not name.endswith("*")],
        "prefixes": [name[:-1] for name in known if name.endswith("*")],
    }


def is_narrowed(session: Session) -> bool:
    """Tell whether a session sees some namespaces only."""
    return bool(session.info.get("narrowed"))
