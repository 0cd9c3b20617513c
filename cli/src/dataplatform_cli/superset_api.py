"""Superset's REST interface, as far as the command line and the tests need it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

Filter = dict[str, Any]
"""As the dashboards' filters are sent: `{"col": "region", "op": "IN", "val": ["North"]}`, or the op TEMPORAL_RANGE
with a val such as `2026-01-01 : 2026-02-01`, the end not included."""


class SupersetClient:
    """A client that has logged in: as the administrator, or as the one who only looks."""

    def __init__(self, settings: StackSettings, reporter: bool = False) -> None:
        user, password = (
            (settings.superset_reporter_user, settings.superset_reporter_password)
            if reporter
            else (settings.superset_admin_user, settings.superset_admin_password)
        )
        self.http = httpx.Client(base_url=settings.superset_url, timeout=60)
        answer = self.http.post(
            "/api/v1/security/login",
            json={"username": user, "password": password.get_secret_value(), "provider": "db"},
        )
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def chart_data(self, name: str, filters: Sequence[Filter] = ()) -> list[dict[str, Any]]:
        """Return the rows behind a chart, read anew from the warehouse.

        Args:
            name: The chart's title.
            filters: What a dashboard's filters add. Without any the chart has all there is.

        Raises:
            PlatformError: there is no chart of that name, or its query failed.
        """
        query = json.dumps({"filters": [{"col": "slice_name", "opr": "eq", "value": name}]})
        found = self.http.get("/api/v1/chart/", params={"q": query}).raise_for_status().json()["result"]
        if not found:
            raise PlatformError(f"Superset has no chart named '{name}'", "`dp up superset` imports the dashboards")
        chart = self.http.get(f"/api/v1/chart/{found[0]['id']}").raise_for_status().json()["result"]
        context = {**json.loads(chart["query_context"]), "force": True}
        for part in context["queries"]:
            part["filters"] = [*part["filters"], *filters]
        answer = self.http.post("/api/v1/chart/data", json=context)
        if answer.status_code != 200:
            raise PlatformError(f"the chart '{name}' can't be drawn: {answer.text[:300]}")
        rows: list[dict[str, Any]] = answer.json()["result"][0]["data"]
        return rows
