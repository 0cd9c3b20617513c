"""Sending batches to the hub over HTTP. Standard library only: every Airflow task process imports this."""

from __future__ import annotations

import encodings.idna  # noqa: F401  resolving a name would import it, in a thread
import gzip
import http.client
import json
import math
import time
from email.utils import parsedate_to_datetime
from types import TracebackType
from urllib.parse import urlsplit

from data_lineage_hub_sdk.batch import Batch, Kind, Outcome

PATHS: dict[Kind, str] = {
    "event": "/api/v1/lineage",
    "lineage": "/api/v1/lineage/ingest",
    "spans": "/api/v1/telemetry/ingest",
    "points": "/api/v1/telemetry/ingest",
    "traces": "/api/v1/telemetry/v1/traces",
    "metrics": "/api/v1/telemetry/v1/metrics",
}
_OTLP = ("traces", "metrics")
# What was sent is at fault; sending it again can't help. Any other refusal is a fault of service or settings.
_REJECTED = frozenset({400, 413, 415, 422})
_MAX_REASON = 2000
_MAX_ANSWER = 4 * 1024 * 1024
_GZIP_FROM = 4096
_MAX_AFTER = 300.0


class NoAnswerError(ValueError):
    """What came back is no answer of a lineage hub."""


class Sender:
    """One connection to the hub, kept open until the `with` block ends.

    Args:
        url: address of the hub, `http://` or `https://`, with an optional path prefix.
        api_key: bearer key for writes; empty sends none.
        timeout: seconds to wait for the connection, for each read, and for an answer's body.

    Raises:
        ValueError: `url` is no address.
    """

    def __init__(self, url: str, api_key: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a lineage hub: use http://host:port")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=timeout)
        self._timeout = timeout
        self._prefix = parts.path.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next batch opens another."""
        self._connection.close()

    def send(self, batch: Batch) -> Outcome:
        """Post a batch; never raises for what hub or network do."""
        reused = self._connection.sock is not None
        try:
            return self._post(batch)
        except (OSError, http.client.HTTPException, NoAnswerError) as error:
            self._connection.close()
            if not reused or isinstance(error, (TimeoutError, NoAnswerError)):
                return Outcome("retry", f"{type(error).__name__}: {error}")
        try:  # the server may just have closed an idle connection
            return self._post(batch)
        except (OSError, http.client.HTTPException, NoAnswerError) as error:
            self._connection.close()
            return Outcome("retry", f"{type(error).__name__}: {error}")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """Return the answer's body, unless it comes byte by byte: each of them in time, and all of them never."""
        until = time.monotonic() + self._timeout
        answer = b""
        while len(answer) < _MAX_ANSWER and (part := response.read1(_MAX_ANSWER)):
            answer += part
            if time.monotonic() > until:
                raise NoAnswerError(f"HTTP {response.status}: the answer takes too long")
        if not response.length:
            response.close()  # which `read1` leaves to the caller; the connection stays
        return answer

    def _post(self, batch: Batch) -> Outcome:
        body = batch.body
        headers = {"Content-Type": "application/x-protobuf" if batch.kind in _OTLP else "application/json"}
        if batch.kind != "event" and len(body) >= _GZIP_FROM:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        self._connection.request("POST", self._prefix + PATHS[batch.kind], body, headers | self._authorization)
        response = self._connection.getresponse()
        answer = self._read(response)
        if response.length:  # longer than any hub's, or cut off
            raise NoAnswerError(f"HTTP {response.status}: {response.length} bytes are missing")
        if 200 <= response.status < 300:
            return _taken(batch, answer, response.headers.get_content_type())
        reason = f"HTTP {response.status}: {answer[:_MAX_REASON].decode('utf-8', 'replace')}"
        if response.status in _REJECTED:
            return Outcome("rejected", reason, _faults(batch, answer))
        return Outcome("retry", reason, after=_seconds(response.headers.get("Retry-After", "")))


def _taken(batch: Batch, answer: bytes, content_type: str) -> Outcome:
    """Believe a 2xx only if the hub says what it took: a proxy's friendly page is no hub."""
    if batch.kind == "event":
        return Outcome("sent")
    if batch.kind in _OTLP:
        if content_type != "application/x-protobuf":
            raise NoAnswerError(f"an OTLP endpoint answers protobuf, not {content_type}")
        return Outcome("sent")
    try:
        said = json.loads(answer)
        refused = tuple((int(item["index"]), str(item["reason"])) for item in said["rejected"])
        accepted = int(said["accepted"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError(f"this is no answer of a lineage hub: {answer[:100]!r}") from error
    if accepted + len(refused) != len(batch.items) or any(not 0 <= at < len(batch.items) for at, _ in refused):
        raise NoAnswerError(f"the hub speaks of {accepted} + {len(refused)} items, {len(batch.items)} were sent")
    return Outcome("sent", refused=refused)


def _faults(batch: Batch, answer: bytes) -> tuple[tuple[int, str], ...]:
    """Return what is wrong with each item, if the hub says so of every one; otherwise nothing."""
    try:
        told = {error["field"].rpartition(".")[2]: str(error["message"]) for error in json.loads(answer)["errors"]}
        return tuple((at, told[str(at)]) for at in range(len(batch.items)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _seconds(retry_after: str) -> float:
    """Return what the header Retry-After (RFC 9110, 10.2.3) asks for, within bounds; 0 if it can't be read."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _MAX_AFTER) if math.isfinite(seconds) else 0.0
