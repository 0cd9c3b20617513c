"""What routes ask for: the transaction's session, paging, the key of writers, a body."""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.metrics import Metrics
from metadata_service.problems import ProblemError
from metadata_service.settings import ServiceSettings

_bearer = HTTPBearer(auto_error=False, description="The service's API key.")


def get_settings(request: Request) -> ServiceSettings:
    """Return the application's settings."""
    settings: ServiceSettings = request.app.state.settings
    return settings


def get_sessions(request: Request) -> sessionmaker[Session]:
    """Return the maker of sessions."""
    sessions: sessionmaker[Session] = request.app.state.sessions
    return sessions


def get_metrics(request: Request) -> Metrics:
    """Return the application's metrics."""
    metrics: Metrics = request.app.state.metrics
    return metrics


def get_session(
    request: Request, sessions: Annotated[sessionmaker[Session], Depends(get_sessions)]
) -> Iterator[Session]:
    """Give the session of one transaction, committed when the route returns and before its answer is sent.

    It sees what was acknowledged before: events that are stored but not yet projected are waited for.
    """
    with sessions() as session:
        request.app.state.projector.wait(session)
        yield session
        session.commit()


def require_key(
    settings: Annotated[ServiceSettings, Depends(get_settings)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Refuse a request without the API key."""
    key = settings.api_key.get_secret_value()
    if given is None or not hmac.compare_digest(given.credentials.encode(), key.encode()):
        detail = "This needs the header Authorization: Bearer <API key>." if given is None else "The API key is wrong."
        raise ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})


def check_writer(request: Request) -> None:
    """Refuse a request without the API key, on a route that takes the bare request.

    Raises:
        ProblemError: 401.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    given = HTTPAuthorizationCredentials(scheme=scheme, credentials=credentials) if scheme.lower() == "bearer" else None
    require_key(request.app.state.settings, given)


@dataclass(frozen=True)
class Paging:
    """Which part of a list is asked for."""

    limit: int
    offset: int


def get_paging(
    limit: Annotated[int, Query(ge=1, le=500, description="Items on a page.")] = 50,
    offset: Annotated[int, Query(ge=0, lt=2**31, description="Items to pass over.")] = 0,
) -> Paging:
    """Read the paging of a request."""
    return Paging(limit, offset)


async def read_body(request: Request) -> bytes:
    """Return the body of a request, unpacked if it is gzipped.

    Raises:
        ProblemError: it is larger than the settings allow (413), or no gzip though its header says so (400).
    """
    limit = request.app.state.settings.max_body_bytes
    body = bytearray()
    unpack = zlib.decompressobj(wbits=31) if request.headers.get("content-encoding") == "gzip" else None
    try:
        async for chunk in request.stream():
            body += unpack.decompress(chunk, limit + 1 - len(body)) if unpack else chunk
            if len(body) > limit:
                raise ProblemError(413, f"The body is larger than {limit} bytes.")
    except zlib.error:
        raise ProblemError(400, "The body is not gzip, though Content-Encoding says so.") from None
    return bytes(body)


DbSession = Annotated[Session, Depends(get_session, scope="function")]
Sessions = Annotated[sessionmaker[Session], Depends(get_sessions)]
PageOf = Annotated[Paging, Depends(get_paging)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
ServiceMetrics = Annotated[Metrics, Depends(get_metrics)]
writer = Depends(require_key)
