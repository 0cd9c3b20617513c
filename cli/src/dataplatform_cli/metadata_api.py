"""Asking the metadata service of whichever stack is up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dataplatform_cli.command import settings_of_repository
from dataplatform_cli.errors import PlatformError


@contextmanager
def opened(method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
    """Give the service's answer while it is still coming.

    Raises:
        PlatformError: it is away, or refuses.
    """
    settings = settings_of_repository()
    headers = {"Authorization": f"Bearer {settings.metadata_api_key.get_secret_value()}"}
    timeout = httpx.Timeout(30, read=None)
    try:
        with httpx.stream(method, settings.metadata_url + path, headers=headers, timeout=timeout, **given) as answer:
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            yield answer
    except httpx.TransportError as error:
        raise PlatformError(
            f"the metadata service at {settings.metadata_url} does not answer: {error}", "`dp up metadata` starts it"
        ) from error


def ask(method: str, path: str, **given: Any) -> Any:
    """Return what the service answers.

    Raises:
        PlatformError: it is away, or refuses.
    """
    with opened(method, path, **given) as answer:
        answer.read()
        return answer.json() if answer.content else None


def _refusal(answer: httpx.Response) -> PlatformError:
    is_problem = "json" in answer.headers.get("content-type", "")
    detail = answer.json()["detail"] if is_problem else f"{answer.status_code} {answer.reason_phrase}"
    cure = "METADATA_API_KEY of .env has to be the running service's" if answer.status_code == 401 else ""
    return PlatformError(detail, cure)
