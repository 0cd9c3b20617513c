"""Airflow's REST API, asked with a user's name and password."""

from __future__ import annotations

from collections.abc import Generator

import httpx


def airflow_client(url: str, login: tuple[str, str], *, timeout: float) -> httpx.Client:
    """Return a client of Airflow's API that signs in with its first request.

    Args:
        url: Airflow's address.
        login: User and password.
        timeout: Seconds to wait for a connection or an answer.
    """
    return httpx.Client(base_url=url, timeout=timeout, auth=_Login(url, login))


class _Login(httpx.Auth):
    requires_response_body = True

    def __init__(self, url: str, login: tuple[str, str]) -> None:
        self._url, self._login = f"{url.rstrip('/')}/auth/token", login
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token is None:
            user, password = self._login
            answer = yield httpx.Request("POST", self._url, json={"username": user, "password": password})
            self._token = answer.raise_for_status().json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
