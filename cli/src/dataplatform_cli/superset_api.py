"""Superset's REST interface, as far as the command line needs it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings


class SupersetClient:
    """A client that has logged in."""

    def __init__(self, settings: StackSettings) -> None:
        self._http = httpx.Client(base_url=settings.superset_url, timeout=60)
        answer = self._http.post(
            "/api/v1/security/login",
            json={
                "username": settings.superset_admin_user,
                "password": settings.superset_admin_password.get_secret_value(),
                "provider": "db",
            },
        )
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def chart_data(self, name: str) -> list[dict[str, Any]]:
        """Return the rows behind a chart, read anew from the warehouse.

        Raises:
            PlatformError: there is no chart of that name, or its query failed.
        """
        query = json.dumps({"filters": [{"col": "slice_name", "opr": "eq", "value": name}]})
        found = self._http.get("/api/v1/chart/", params={"q": query}).raise_for_status().json()["result"]
        if not found:
            raise PlatformError(f"Superset has no chart named '{name}'", "`dp up superset` imports the dashboards")
        answer = self._http.get(f"/api/v1/chart/{found[0]['id']}/data/", params={"force": "true"})
        if answer.status_code != 200:
            raise PlatformError(f"the chart '{name}' can't be drawn: {answer.text[:300]}")
        rows: list[dict[str, Any]] = answer.json()["result"][0]["data"]
        return rows
