"""What routes ask for: the transaction's session, paging, the key of writers, a body."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.metrics import Metrics
from metadata_service.models import AuditEntry
from metadata_service.problems import ProblemError, is_page
from metadata_service.rendering import masked
from metadata_service.repositories import tenancy
from metadata_service.services.access import KeyRing, Principal
from metadata_service.settings import ServiceSettings
from metadata_service.telemetry.store import TelemetryStore

MAX_AUDITED_BODY = 16 * 1024
OPEN_PATHS = frozenset({"/health", "/health/projection", "/metrics", "/api/v1/health"})
# What the OpenAPI document says of routes that need a key; `get_key` reads it.
_bearer = HTTPBearer(auto_error=False, description="An API key; see `dp key create`.")
Documented = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def get_settings(request: Request) -> ServiceSettings:
    """Return the application's settings."""
    settings: ServiceSettings = request.app.state.settings
    return settings


def get_sessions(request: Request) -> sessionmaker[Session]:
    """Return the maker of sessions."""
    sessions: sessionmaker[Session] = request.app.state.sessions
    return sessions


def get_team_sessions(request: Request) -> sessionmaker[Session]:
    """Return the maker of sessions that see nothing until `tenancy.narrow` says what."""
    sessions: sessionmaker[Session] = request.app.state.team_sessions
    return sessions


def get_telemetry(request: Request) -> TelemetryStore:
    """Return the store of spans and metrics."""
    store: TelemetryStore = request.app.state.telemetry
    return store


def get_metrics(request: Request) -> Metrics:
    """Return the application's metrics."""
    metrics: Metrics = request.app.state.metrics
    return metrics


def get_key(request: Request) -> str | None:
    """Return the key that a request came with: a bearer token, or (for browsers) the password of basic credentials.

    None if it came without credentials; empty, which is nobody's key, if they can't be read as one.
    """
    header = next((value for name, value in request.scope["headers"] if name == b"authorization"), b"")
    scheme, _, credentials = header.decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return "" if scheme else None


async def identify(request: Request, _: Documented = None) -> Principal:
    """Return whose key a request came with.

    Raises:
        ProblemError: 401, it came without one, or with one that is nobody's.
    """
    key = get_key(request)
    if key:
        ring: KeyRing = request.app.state.keys
        principal, known = ring.remembered(key)
        if not known:
            principal = await asyncio.to_thread(ring.find, key)
        if principal is not None:
            return principal
    scheme = 'Basic realm="data platform", charset="UTF-8"' if is_page(request.url.path) else "Bearer"
    wrong, missing = (
        "The API key is wrong, revoked or expired.",
        "This needs the header Authorization: Bearer <API key>.",
    )
    raise ProblemError(401, wrong if key else missing, headers={"WWW-Authenticate": scheme})


async def check_writer(request: Request, _: Documented = None) -> Principal:
    """Return whose key a request came with, if it may write.

    Raises:
        ProblemError: 401 or 403.
    """
    principal = await identify(request)
    if not principal.is_writer:
        raise ProblemError(403, f"The key {principal.name!r} may only read.")
    return principal


async def check_reader(request: Request) -> Principal | None:
    """Return who reads; None for who comes without a key, where reading needs none.

    Raises:
        ProblemError: 401, also for a wrong key where none is needed: who is somebody must not be taken for anybody.
    """
    if request.url.path in OPEN_PATHS:
        return None
    anybody = request.app.state.settings.public_reads and get_key(request) is None
    reader = None if anybody else await identify(request)
    request.state.reader = reader  # whom pages name
    return reader


Reader = Annotated[Principal | None, Depends(check_reader)]


def get_session(
    request: Request,
    sessions: Annotated[sessionmaker[Session], Depends(get_sessions)],
    team_sessions: Annotated[sessionmaker[Session], Depends(get_team_sessions)],
    reader: Reader,
) -> Iterator[Session]:
    """Give the session of one transaction, committed when the route returns and before its answer is sent.

    It sees what was acknowledged before: events that are stored but not yet projected are waited for. What a key bound
    to namespaces reads is limited to what it sees; what it writes, the route has to check.
    """
    with sessions() as session:
        request.app.state.projector.wait(session)
        if reader is None or reader.sees is None or request.method not in ("GET", "HEAD"):
            yield session
            session.commit()
            return
    with team_sessions() as session:
        tenancy.narrow(session, reader.sees)
        yield session
        session.commit()


DbSession = Annotated[Session, Depends(get_session, scope="function")]


async def audit(request: Request, principal: Principal, session: Session) -> None:
    """Note a write, in its own transaction: it is noted if it is carried out, and not otherwise."""
    entry = AuditEntry(
        key_name=principal.name,
        method=request.method,
        path=request.url.path,
        request_id=request.scope.get("request_id", ""),
        body=await _small_body(request),
    )
    session.add(entry)


async def _small_body(request: Request) -> Any:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_AUDITED_BODY:
        return None
    try:
        return masked(json.loads(await request.body()))
    except (ValueError, RecursionError):
        return None


async def require_scoped_writer(
    request: Request, principal: Annotated[Principal, Depends(check_writer)], session: DbSession
) -> Principal:
    """Return who writes. The route has to see to it that it writes in the key's namespaces only."""
    await audit(request, principal, session)
    return principal


async def require_writer(principal: Annotated[Principal, Depends(require_scoped_writer)]) -> Principal:
    """Return who writes, on a route that no key bound to namespaces may use."""
    if principal.namespaces is not None:
        raise ProblemError(403, f"The key {principal.name!r} is bound to namespaces, and this belongs to none.")
    return principal


async def require_admin(
    request: Request, principal: Annotated[Principal, Depends(identify)], session: DbSession
) -> Principal:
    """Return who administrates."""
    if principal.role != "admin":
        raise ProblemError(403, f"The key {principal.name!r} is no admin's.")
    if request.method != "GET":
        await audit(request, principal, session)
    return principal


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
    gzipped = (b"content-encoding", b"gzip") in request.scope["headers"]
    unpack = zlib.decompressobj(wbits=31) if gzipped else None
    more = True
    parts: list[bytes] = []
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ProblemError(400, "The client went away.")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        try:
            parts.append(unpack.decompress(chunk, limit + 1) if unpack else chunk)
        except zlib.error:
            raise ProblemError(400, "The body is not gzip, though Content-Encoding says so.") from None
        limit -= len(parts[-1])
        if limit < 0:
            raise ProblemError(413, f"The body is larger than {request.app.state.settings.max_body_bytes} bytes.")
    if unpack and (not unpack.eof or unpack.unused_data):
        raise ProblemError(400, "The body is not one whole gzip stream.")
    return parts[0] if len(parts) == 1 else b"".join(parts)


Sessions = Annotated[sessionmaker[Session], Depends(get_sessions)]
TeamSessions = Annotated[sessionmaker[Session], Depends(get_team_sessions)]
PageOf = Annotated[Paging, Depends(get_paging)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
Telemetry = Annotated[TelemetryStore, Depends(get_telemetry)]
ServiceMetrics = Annotated[Metrics, Depends(get_metrics)]
ScopedWriter = Annotated[Principal, Depends(require_scoped_writer)]
Admin = Annotated[Principal, Depends(require_admin)]
writer = Depends(require_writer)
admin = Depends(require_admin)
