"""What happens around every request: an id, a log line, metrics, a limit to its body."""

from __future__ import annotations

import os
import re
import time
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metadata_service.logs import REQUEST_ID
from metadata_service.metrics import Metrics

log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Answered so often, when all is well, that the log is better off without them.
_QUIET = {
    "/health",
    "/metrics",
    "/openlineage/events",
    "/api/v1/health",
    "/api/v1/lineage",
    "/api/v1/lineage/batch",
    "/api/v1/lineage/ingest",
    "/api/v1/telemetry/ingest",
    "/api/v1/telemetry/v1/traces",
    "/api/v1/telemetry/v1/metrics",
}


class RequestContextMiddleware:
    """Take the client's X-Request-ID or make one, answer with it, and log and count the request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        scope["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        token = REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)
            REQUEST_ID.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
        self.metrics.count_request(method, route, status, seconds)
        if scope["path"] not in _QUIET or status >= 400:
            log.info("request", method=method, path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1))


class BodyLimitMiddleware:
    """Let whoever reads more of a body than is allowed answer with 413, before the rest of it has come."""

    def __init__(self, app: ASGIApp, most: int, exempt: set[str]) -> None:
        self.app = app
        self.most = most
        self.exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most and scope.get("path") not in self.exempt:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {self.most} bytes.")
            return message

        await self.app(scope, limited, send)
