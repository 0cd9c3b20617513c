"""A shorter way through uvicorn for lean routes, see `metadata_service.lean`.

A request that a lean route answers well goes from the HTTP parser to its endpoint and back, without the layers of ASGI
and middleware, which take twice as long as all else. Whatever is out of the ordinary (an error, a header of browsers,
a request before the one before it is answered) goes the usual way, from its beginning.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from metadata_service.lean import LeanRoute

if TYPE_CHECKING:
    from starlette.types import Message

_STATUS = {200: b"HTTP/1.1 200 OK\r\n", 201: b"HTTP/1.1 201 Created\r\n", 202: b"HTTP/1.1 202 Accepted\r\n"}
_UNUSUAL = {b"origin", b"x-request-id", b"transfer-encoding", b"content-encoding", b"upgrade", b"expect"}


class _Exchange:
    """A request on the short way. Has what the protocol asks of a request that is being answered."""

    def __init__(self, route: LeanRoute, scope: Any, keep_alive: bool) -> None:
        self.route = route
        self.scope = scope
        self.body = bytearray()
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = asyncio.Event()

    async def receive(self) -> Message:
        """Give all of the body."""
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}


class LeanProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the short way to an application's lean routes."""

    application: FastAPI
    routes: Mapping[bytes, LeanRoute]
    most: int

    def on_headers_complete(self) -> None:
        route = self.routes.get(self.url)
        if (
            route is None
            or self.parser.get_method() != b"POST"
            or not (self.cycle is None or self.cycle.response_complete)
            or not _UNUSUAL.isdisjoint(name for name, _ in self.headers)
            or self.parser.get_http_version() != "1.1"
        ):
            super().on_headers_complete()
            return
        path = route.path
        self.scope |= {
            "method": "POST",
            "path": path,
            "raw_path": self.url,
            "query_string": b"",
            "app": self.application,
        }  # type: ignore[typeddict-item]
        self.cycle = _Exchange(route, self.scope, self.parser.should_keep_alive())  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        exchange: Any = self.cycle
        if not isinstance(exchange, _Exchange):
            super().on_body(body)
        elif len(exchange.body) <= self.most:  # the usual way refuses what is more
            exchange.body += body

    def on_message_complete(self) -> None:
        exchange: Any = self.cycle
        if not isinstance(exchange, _Exchange):
            super().on_message_complete()
            return
        task = self.loop.create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: _Exchange) -> None:
        began = time.perf_counter()
        try:
            if len(exchange.body) > self.most:
                raise ValueError("too large")
            status, body = await exchange.route.answer(Request(exchange.scope, exchange.receive))
        except Exception:
            self._start_anew(exchange)
            return
        exchange.response_complete = True
        if not exchange.disconnected and not self.transport.is_closing():
            head = [_STATUS[status], b"" if exchange.keep_alive else b"connection: close\r\n"]
            for name, value in self.server_state.default_headers:
                head += [name, b": ", value, b"\r\n"]
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\n\r\n%s"
                % (b"".join(head), len(body), os.urandom(16).hex().encode(), body)
            )
        self.application.state.metrics.count_request("POST", exchange.route.path, status, time.perf_counter() - began)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _start_anew(self, exchange: _Exchange) -> None:
        """Let the application answer as if nothing had been done yet."""
        exchange.scope.pop("app")
        cycle = RequestResponseCycle(
            scope=exchange.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=exchange.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += exchange.body
        cycle.more_body = False
        cycle.disconnected = exchange.disconnected
        cycle.message_event.set()
        current: Any = self.cycle
        if current is exchange:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)


def lean_protocol(app: FastAPI) -> type[LeanProtocol]:
    """Return the protocol of an application."""
    routes = {route.path.encode(): route for route in app.routes if isinstance(route, LeanRoute)}
    bound = {"application": app, "routes": routes, "most": app.state.settings.max_body_bytes}
    return type("BoundLeanProtocol", (LeanProtocol,), bound)
