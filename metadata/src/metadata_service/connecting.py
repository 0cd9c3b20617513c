"""How connections to Postgres are opened, whoever opens them."""

from __future__ import annotations

from typing import Any

# Of a server that does not answer: a new connection is given up soon, and one that is open ends where the server's host
# has vanished, instead of waiting for the minutes that TCP takes to notice.
_PATIENCE = {
    "connect_timeout": 3,  # seconds
    "tcp_user_timeout": 15_000,  # milliseconds
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_PARAMETERS = {"timezone": "UTC", "statement_timeout": 30_000, "lock_timeout": 20_000}


def connect_arguments(application_name: str, **parameters: str | int) -> dict[str, Any]:
    """Return what psycopg's `connect` takes besides the address.

    Args:
        application_name: Whose connection it is, as the server shows it.
        parameters: The server's, for this connection; they win over those that all connections have.
    """
    options = " ".join(f"-c {name}={value}" for name, value in {**_PARAMETERS, **parameters}.items())
    return {**_PATIENCE, "application_name": application_name, "options": options}
