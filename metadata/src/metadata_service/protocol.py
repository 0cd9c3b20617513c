"""A shorter way through uvicorn for lean routes, see `metadata_service.lean`.

A request that a lean route answers well goes from the HTTP parser to its endpoint and back, without the layers of ASGI
and middleware, which take twice as long as all else. Whatever is out of the ordinary (an error, a header of browsers,
a request before the one before it is answered) goes the usual way; an error does so with what was raised.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from metadata_service.lean import FAILED, LeanRoute
from metadata_service.metrics import Metrics
from metadata_service.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import Message

_STATUS = {200: b"HTTP/1.1 200 OK\r\n", 201: b"HTTP/1.1 201 Created\r\n", 202: b"HTTP/1.1 202 Accepted\r\n"}
_UNUSUAL = {b"origin", b"x-request-id", b"transfer-encoding", b"content-encoding", b"upgrade", b"expect"}


_LINE = rb"[^\r\n]+\r\n"
_HEAD = re.compile(
    rb"(POST %b(?:%b)*?content-length: ?)\d{1,10}(\r\n(?:%b)*\r\n)" % (_LINE, _LINE, _LINE), re.IGNORECASE
)


class _Exchange:
    """A request on the short way. Has what the protocol asks of a request that is being answered."""

    __slots__ = ("body", "disconnected", "keep_alive", "response_complete", "route", "scope")
    message_event = asyncio.Event()  # nobody waits for it: an exchange begins when all of the body is there

    def __init__(self, route: LeanRoute, scope: Any, keep_alive: bool, body: bytes = b"") -> None:
        self.route = route
        self.scope = scope
        self.body = body
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False

    async def receive(self) -> Message:
        """Give all of the body."""
        return {"type": "http.request", "body": self.body, "more_body": False}


class _Head:
    """The head of a request that took the short way: the next one of a connection is the same but for its length."""

    __slots__ = ("after", "before", "route", "scope")

    def __init__(self, before: bytes, after: bytes, exchange: _Exchange) -> None:
        self.before = before
        self.after = after
        self.route = exchange.route
        self.scope = exchange.scope.copy()

    def begin(self, data: bytes) -> _Exchange | None:
        """Return the request that this is, if it is one with this head, whole, and nothing after it."""
        if not data.startswith(self.before):
            return None
        end = data.find(b"\r", len(self.before))
        length, body = data[len(self.before) : end], end + len(self.after)
        is_whole = length.isdigit() and len(length) <= 10 and len(data) == body + int(length)
        if not (is_whole and data.startswith(self.after, end)):
            return None
        return _Exchange(self.route, self.scope.copy(), True, data[body:])


class LeanProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the short way to an application's lean routes."""

    application: FastAPI
    metrics: Metrics
    routes: Mapping[bytes, LeanRoute]
    most: int
    _head: _Head | None = None
    _within = False
    """Whether the parser has seen a part of a request and not yet its end."""

    def data_received(self, data: bytes) -> None:
        previous: Any = self.cycle
        is_free = not self._within and (previous is None or previous.response_complete)
        if is_free and self._head is not None and (exchange := self._head.begin(data)) is not None:
            self._unset_keepalive_if_required()
            self._begin(exchange)
            return
        super().data_received(data)
        current: Any = self.cycle
        if is_free and isinstance(current, _Exchange) and current.keep_alive and current is not previous:
            found = _HEAD.match(data)
            if found and found.end() + len(current.body) == len(data):
                self._head = _Head(found[1], found[2], current)

    def on_message_begin(self) -> None:
        self._within = True
        super().on_message_begin()

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
        self._parts = bytearray()

    def on_body(self, body: bytes) -> None:
        exchange: Any = self.cycle
        if not isinstance(exchange, _Exchange):
            super().on_body(body)
        elif len(self._parts) <= self.most:  # the usual way refuses what is more
            self._parts += body

    def on_message_complete(self) -> None:
        self._within = False
        exchange: Any = self.cycle
        if not isinstance(exchange, _Exchange):
            super().on_message_complete()
            return
        exchange.body = bytes(self._parts)
        self._begin(exchange)

    def _begin(self, exchange: _Exchange) -> None:
        self.cycle = exchange  # type: ignore[assignment]
        task = self.loop.create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: _Exchange) -> None:
        began = time.perf_counter()
        try:
            if len(exchange.body) > self.most:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {self.most} bytes.")
            status, body = await exchange.route.answer(Request(exchange.scope, exchange.receive))
        except Exception as error:
            self._answer_as_usual(exchange, error)
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
        self.metrics.count_request("POST", exchange.route.path, status, time.perf_counter() - began)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _answer_as_usual(self, exchange: _Exchange, error: Exception) -> None:
        """Let the application answer what the short way has no words for."""
        exchange.scope.pop("app")
        exchange.scope[FAILED] = error
        exchange.scope["state"] = self.app_state.copy()
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
    most = app.state.settings.max_body_bytes
    bound = {"application": app, "metrics": app.state.metrics, "routes": routes, "most": most}
    return type("BoundLeanProtocol", (LeanProtocol,), bound)
