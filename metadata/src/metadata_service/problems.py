"""Errors as problem details (RFC 9457): every error the service answers has this shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from metadata_service.rendering import templates

log = structlog.get_logger(__name__)

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": _TEXT, "message": _TEXT},
            },
        },
    },
}
# What any request may be answered with, as the OpenAPI document has it.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/problem+json": {"schema": _PROBLEM}}}
    for status, description in {
        400: "The request can't be read.",
        401: "A key is needed, or the one given is wrong.",
        403: "The key may not do this.",
        404: "There is no such thing.",
        409: "It does not go together with what is there.",
        413: "The body is too large.",
        422: "Fields are wrong; `errors` names them.",
        503: "The database does not answer.",
    }.items()
}


@dataclass(frozen=True)
class FieldError:
    """One fault of the input: the field's path (`inputs.0.name`) and what is wrong with it."""

    field: str
    message: str


class ProblemError(Exception):
    """An error that becomes a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers


class NotFoundError(ProblemError):
    """404: there is no such thing."""

    def __init__(self, what: str, key: object) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, f"There is no {what} {key}.")


class UnprocessableError(ProblemError):
    """422: the input can't be used; `errors` name the fields."""

    def __init__(self, detail: str, errors: Sequence[FieldError]) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)

    @classmethod
    def from_validation(cls, detail: str, error: ValidationError | RequestValidationError) -> UnprocessableError:
        """Make one of pydantic's errors."""
        return cls(detail, [_field_error(item) for item in error.errors()])


def reason_of(problem: ProblemError) -> str:
    """Return what a problem says, and its fields' faults, in a line."""
    faults = "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in problem.errors)
    return f"{problem.detail} {faults}".strip()


def first_line(error: object) -> str:
    """Return the first line of an error's text, which with Postgres' says what is wrong; its type if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _field_error(item: Any) -> FieldError:
    location = [str(part) for part in item["loc"] if part not in ("body", "query", "path", "header")]
    return FieldError(".".join(location), str(item["msg"]).removeprefix("Value error, "))


def problem_response(request: Request, problem: ProblemError) -> Response:
    """Return the problem document of an error, or for a browser on one of the pages a page that says it."""
    detail = problem.detail
    if problem.errors:
        detail += " " + "; ".join(f"{e.field or 'body'}: {e.message}" for e in problem.errors[:5]) + "."
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": request.scope.get("request_id"),
    }
    if "text/html" in request.headers.get("accept", "") and is_page(request.url.path):
        return templates.TemplateResponse(request, "error.html", body, problem.status, headers=problem.headers)
    if problem.errors:
        body["errors"] = [{"field": error.field, "message": error.message} for error in problem.errors]
    return JSONResponse(body, problem.status, problem.headers, media_type="application/problem+json")


def is_page(path: str) -> bool:
    """Tell whether a path is one of the web pages'."""
    return path in ("/", "/sign-in", "/docs", "/redoc") or path.startswith("/ui/")


def install_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem document."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(request, UnprocessableError.from_validation("The request is not valid.", error))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return problem_response(request, ProblemError(error.status_code, str(error.detail), headers=headers))

    @app.exception_handler(DataError)
    @app.exception_handler(IntegrityError)
    async def on_bad_data(request: Request, error: DataError) -> Response:
        refused = UnprocessableError(f"The store refused the data: {first_line(error.orig)}", [])
        return problem_response(request, refused)

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    async def on_database_away(request: Request, error: Exception) -> Response:
        log.warning("database_unavailable", reason=first_line(error))
        problem = ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer; try again.", headers={"Retry-After": "5"}
        )
        return problem_response(request, problem)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        log.error("unhandled_error", path=request.url.path, exc_info=error)
        problem = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed; its log has the request id.")
        return problem_response(request, problem)
