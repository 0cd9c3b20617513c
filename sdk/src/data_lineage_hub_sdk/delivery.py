"""Sending one event to the hub. Standard library only: every Airflow task process imports this."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

EVENTS_PATH = "/api/v1/lineage"
# The event itself is at fault; sending it again can't help. Any other refusal is a fault of service or settings.
_REJECTED = frozenset({400, 413, 415, 422})
_MAX_REASON = 2000


@dataclass(frozen=True)
class Outcome:
    """What became of an event: taken, refused for good (`rejected`), or to be tried again (`retry`)."""

    kind: Literal["sent", "rejected", "retry"]
    reason: str = ""


class Sender:
    """One connection to the hub, kept open until the `with` block ends.

    Args:
        url: address of the hub, `http://` or `https://`, with an optional path prefix.
        api_key: bearer key for writes; empty sends none.
        timeout: seconds to wait for the connection and for each read.

    Raises:
        ValueError: `url` is no address.
    """

    def __init__(self, url: str, api_key: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a lineage hub: use http://host:port")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=timeout)
        self._path = parts.path.rstrip("/") + EVENTS_PATH
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def send(self, event: bytes) -> Outcome:
        """Post an event (its JSON)."""
        reused = self._connection.sock is not None
        try:
            return self._post(event)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not reused or isinstance(error, TimeoutError):
                return Outcome("retry", f"{type(error).__name__}: {error}")
        try:  # the server may just have closed an idle connection
            return self._post(event)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Outcome("retry", f"{type(error).__name__}: {error}")

    def _post(self, event: bytes) -> Outcome:
        self._connection.request("POST", self._path, event, self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if 200 <= response.status < 300:
            return Outcome("sent")
        reason = f"HTTP {response.status}: {body[:_MAX_REASON].decode('utf-8', 'replace')}"
        return Outcome("rejected" if response.status in _REJECTED else "retry", reason)
