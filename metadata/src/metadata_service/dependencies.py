"""What routes ask for: the transaction's session, paging, the key of writers, a JSON body."""

from __future__ import annotations

import hmac
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.metrics import Metrics
from metadata_service.problems import FieldError, ProblemError, UnprocessableError
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


def get_session(sessions: Annotated[sessionmaker[Session], Depends(get_sessions)]) -> Iterator[Session]:
    """Give the session of one transaction, committed when the route returns and before its answer is sent."""
    with sessions.begin() as session:
        yield session


def require_key(
    settings: Annotated[ServiceSettings, Depends(get_settings)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Refuse a request without the API key."""
    key = settings.api_key.get_secret_value()
    if given is None or not hmac.compare_digest(given.credentials.encode(), key.encode()):
        detail = "This needs the header Authorization: Bearer <API key>." if given is None else "The API key is wrong."
        raise ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})


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


async def read_json(request: Request, settings: Annotated[ServiceSettings, Depends(get_settings)]) -> Any:
    """Return the JSON of a body, unpacked if it is gzipped."""
    limit = settings.max_body_bytes
    body = bytearray()
    unpack = zlib.decompressobj(wbits=31) if request.headers.get("content-encoding") == "gzip" else None
    try:
        async for chunk in request.stream():
            body += unpack.decompress(chunk, limit + 1 - len(body)) if unpack else chunk
            if len(body) > limit:
                raise ProblemError(413, f"The body is larger than {limit} bytes.")
        return json.loads(body)
    except zlib.error:
        raise ProblemError(400, "The body is not gzip, though Content-Encoding says so.") from None
    except UnicodeDecodeError:
        raise ProblemError(400, "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UnprocessableError("The body is not JSON.", [FieldError("", message)]) from None
    except RecursionError:
        raise ProblemError(400, "The body is nested too deeply.") from None


DbSession = Annotated[Session, Depends(get_session, scope="function")]
Sessions = Annotated[sessionmaker[Session], Depends(get_sessions)]
PageOf = Annotated[Paging, Depends(get_paging)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
JsonBody = Annotated[Any, Depends(read_json)]
ServiceMetrics = Annotated[Metrics, Depends(get_metrics)]
writer = Depends(require_key)
