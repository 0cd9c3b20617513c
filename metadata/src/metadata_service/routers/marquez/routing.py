"""What Marquez' routes share: names in paths, paging, answers."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from metadata_service.openlineage import Name

PREFIX = "/api/v1"


class NameConvertor(Convertor[str]):
    """A part of a path that is percent-encoded as a whole, slashes included, as in `postgres%3A%2F%2Fhost`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """Return the name."""
        return unquote(value)

    def to_string(self, value: str) -> str:
        """Return a name as it is; paths are not made from routes."""
        return value


register_url_convertor("name", NameConvertor())


class NamedRoute(APIRoute):
    """A route that is matched with the path as it was sent: decoded, a name's slashes could not be told from others."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and scope["path"].startswith(PREFIX):
            scope = {**scope, "path": raw.decode("latin-1")}
        return super().matches(scope)


def make_router() -> APIRouter:
    """Return a router whose paths may have names: `{namespace:name}`."""
    return APIRouter(route_class=NamedRoute)


NameInPath = Annotated[Name, Path(max_length=1000)]
Limit = Annotated[int, Query(ge=0, le=1000, description="Items on a page.")]
Offset = Annotated[int, Query(ge=0, lt=2**31, description="Items to pass over.")]
