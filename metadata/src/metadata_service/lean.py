"""Routes that are called thousands of times a second: nothing stands between the server and their endpoint.

FastAPI's routing, its dependencies and its responses take longer than storing an event does. A lean route is described
in the OpenAPI document like any other, but its endpoint takes the bare request, and `LeanMiddleware` calls it before
the request is routed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from metadata_service.problems import ProblemError, problem_response

Answer = tuple[int, bytes]
"""Status and JSON."""
FAILED = "metadata_service.failed"
"""Where a request's scope has what its route has raised already."""


class LeanRoute(APIRoute):
    """A route whose endpoint takes the request and returns an `Answer`.

    Its models and dependencies are documentation: the endpoint sees to them itself.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.answer: Callable[[Request], Awaitable[Answer]] = endpoint
        self.app = self.call

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if FAILED in scope:
            raise scope[FAILED]
        status, body = await self.answer(Request(scope, receive, send))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class LeanMiddleware:
    """Calls lean routes; passes on what is for others. Paths of lean routes have no parameters."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, LeanRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        try:
            await route.call(scope, receive, send)
        except ProblemError as problem:
            await problem_response(Request(scope), problem)(scope, receive, send)
