"""Airflow's REST interface (v2), as far as the command line needs it."""

from __future__ import annotations

from typing import Any

import httpx

from dataplatform_cli.settings import StackSettings


class AirflowClient:
    """A client that has logged in."""

    def __init__(self, settings: StackSettings) -> None:
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=20)
        answer = self._http.post(
            "/auth/token",
            json={
                "username": settings.airflow_admin_user,
                "password": settings.airflow_admin_password.get_secret_value(),
            },
        )
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def dag_ids(self) -> set[str]:
        """Return the ids of the DAGs that Airflow has read and that are not paused."""
        found = self._get("/api/v2/dags", limit=500, paused=False)
        return {dag["dag_id"] for dag in found["dags"]}

    def import_errors(self) -> list[str]:
        """Return what is wrong with DAG files: file and last line of the error."""
        found = self._get("/api/v2/importErrors", limit=100)["import_errors"]
        return [f"{item['filename']}: {item['stack_trace'].strip().splitlines()[-1]}" for item in found]

    def connections(self) -> list[dict[str, Any]]:
        """Return the connections by id. Airflow itself leaves their secrets out."""
        found: list[dict[str, Any]] = self._get("/api/v2/connections", limit=100)["connections"]
        return sorted(found, key=lambda connection: str(connection["connection_id"]))

    def knows(self, dag_id: str) -> bool:
        """Whether Airflow has read a DAG."""
        return self._http.get(f"/api/v2/dags/{dag_id}").status_code == 200

    def trigger(self, dag_id: str) -> str:
        """Start a run of a DAG, which is unpaused for it, and return the run's id."""
        self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}})
        run_id: str = answer.raise_for_status().json()["dag_run_id"]
        return run_id

    def update_asset(self, uri: str) -> bool:
        """Tell that an asset has changed, which starts what is scheduled on it. Returns whether Airflow knows it."""
        found = self._get("/api/v2/assets", uri_pattern=uri, limit=100)["assets"]
        ids = [asset["id"] for asset in found if asset["uri"] == uri]
        for asset_id in ids:
            self._http.post("/api/v2/assets/events", json={"asset_id": asset_id}).raise_for_status()
        return bool(ids)

    def runs(self, dag_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return a DAG's runs, newest first; none where Airflow does not know it yet."""
        answer = self._http.get(f"/api/v2/dags/{dag_id}/dagRuns", params={"limit": limit, "order_by": "-run_after"})
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        runs: list[dict[str, Any]] = answer.json()["dag_runs"]
        return runs

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=500)[
            "task_instances"
        ]
        return found

    def failure(self, dag_id: str, run_id: str) -> str:
        """Return why a run failed: each failed task with the end of its log."""
        told = []
        for task in self.task_instances(dag_id, run_id):
            if task["state"] == "failed":
                told.append(f"{dag_id}.{task['task_id']}: {self._log_end(dag_id, run_id, task)}")
        return "\n".join(told) or f"{dag_id} failed"

    def _log_end(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        instance = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}"
        path = f"{instance}/logs/{max(task['try_number'], 1)}"
        answer = self._http.get(path, params={"map_index": task["map_index"], "full_content": True})
        if answer.status_code != 200:
            return "its log could not be read"
        lines = answer.json()["content"]
        errors = [line for line in lines if isinstance(line, dict) and line.get("level") in ("error", "critical")]
        if not errors:
            return "its log has no error"
        detail = errors[0].get("error_detail") or []
        reason = f": {detail[-1]['exc_value']}" if detail else ""
        return f"{errors[0]['event']}{reason}"

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
