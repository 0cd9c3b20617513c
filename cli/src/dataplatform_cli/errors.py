"""Errors that the command line shows without a traceback."""

from __future__ import annotations

import psycopg


class PlatformError(Exception):
    """Something the user can mend: what is wrong, and the cure."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


def told_by_postgres(error: psycopg.Error) -> PlatformError:
    """Return what Postgres said of a failure, with its own hint as the cure; of a connection, its last line."""
    said = error.diag.message_primary
    if said is None:
        reason = str(error).strip().splitlines()[-1].strip()
        return PlatformError(
            f"Postgres can't be reached: {reason}",
            "`dp up postgres` starts the local stack's; `dp status` shows what runs",
        )
    full = "free some disk space, and run it again: nothing was left half done"
    cure = full if isinstance(error, psycopg.errors.DiskFull) else error.diag.message_hint or "see `dp logs postgres`"
    return PlatformError(f"Postgres: {said}", cure)
