"""Follow the sample through Airflow: files taken in, the marts built from them, checked, and published."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dataplatform_cli.airflow_api import AirflowClient
from dataplatform_cli.demo.sample import ledger
from dataplatform_cli.display import err
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

if TYPE_CHECKING:
    from pipelines.ingestion.generator import Manifest

BUILD = "build__curated"
ALL_DAGS = "~"  # as Airflow's interface has it
ACTIVE = ("queued", "running")
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 240.0
"""Give up when nothing has moved for this long."""


@dataclass(frozen=True)
class State:
    """How far the sample is."""

    files: int
    ingest: str
    build: str
    done: bool


def until_published(settings: StackSettings, manifest: Manifest) -> None:
    """Return once every file is in the ledger and a build that followed the last change is checked and published.

    Raises:
        PlatformError: a run failed (with what its task said), or nothing has moved for too long.
    """
    follower = _Follower(settings, manifest)
    columns = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), TimeElapsedColumn(), console=err) as progress:
        bars = {
            "ingest": progress.add_task("ingest__*: files taken in", total=len(manifest.files), state=""),
            "build": progress.add_task(f"{BUILD}: marts published", total=1, state=""),
        }
        before, moved = None, time.monotonic()
        while True:
            state = follower.look()
            progress.update(bars["ingest"], completed=state.files, state=state.ingest)
            progress.update(bars["build"], completed=int(state.build == "success"), state=state.build)
            if state.done:
                return
            if state != before:
                before, moved = state, time.monotonic()
            elif time.monotonic() - moved > PATIENCE_SECONDS:
                raise PlatformError(follower.stuck(state), "`dp logs airflow` shows what Airflow is doing")
            time.sleep(POLL_SECONDS)


class _Follower:
    """Reads from the ledger and from Airflow how far the sample is."""

    def __init__(self, settings: StackSettings, manifest: Manifest) -> None:
        self._settings, self._manifest = settings, manifest
        self._logged_in: AirflowClient | None = None
        self._ingest = [f"ingest__{dataset}" for dataset in manifest.tables]
        self._ends: dict[tuple[str, str], dt.datetime | None] = {}  # of tasks, by runs that have ended

    @property
    def _airflow(self) -> AirflowClient:
        """Airflow's interface, logged in to at its first use."""
        if self._logged_in is None:
            self._logged_in = AirflowClient(self._settings)
        return self._logged_in

    def look(self) -> State:
        """Return how far the sample is now.

        Raises:
            PlatformError: a run failed.
        """
        wanted = [*self._ingest, BUILD]
        try:
            files = len(ledger(self._settings, self._manifest))
            runs: dict[str, list[dict[str, Any]]] = {dag_id: [] for dag_id in wanted}
            for run in self._airflow.runs(ALL_DAGS, limit=200):
                runs.get(run["dag_id"], []).append(run)
            published = [self._last_end(runs[dag_id], "publish") for dag_id in self._ingest]
            changed = max(filter(None, published), default=None)
        except httpx.TransportError:  # the api-server restarts now and then; the supervisor sees to it
            return State(0, "", "", done=False)
        # A change that comes while a run waits for the one before it joins that run: what counts is when it started.
        build = _after(runs[BUILD], changed)
        newest = {dag_id: _newest(runs[dag_id]) for dag_id in self._ingest}
        for dag_id, outcome in (*newest.items(), (BUILD, build)):
            if outcome == "failed":
                reason = self._airflow.failure(dag_id, runs[dag_id][0]["dag_run_id"])
                raise PlatformError(reason, f"see {self._settings.airflow_url}")
        quiet = not any(run["state"] in ACTIVE for found in runs.values() for run in found)
        # Where Airflow knows of no load at all, its database was made anew since: there is nothing to wait for.
        done = quiet and files == len(self._manifest.files) and (build == "success" or changed is None)
        ingest = next((state for state in (*ACTIVE, "waiting") if state in newest.values()), "success")
        return State(files, ingest, build, done)

    def _last_end(self, runs: list[dict[str, Any]], task_id: str) -> dt.datetime | None:
        """Return when the newest successful instance of a task ended."""
        for run in runs:
            known = (run["dag_id"], run["dag_run_id"])
            end = self._ends[known] if known in self._ends else self._end(run, task_id)
            if run["state"] not in ACTIVE:
                self._ends[known] = end
            if end:
                return end
        return None

    def _end(self, run: dict[str, Any], task_id: str) -> dt.datetime | None:
        for task in self._airflow.task_instances(run["dag_id"], run["dag_run_id"]):
            if task["task_id"] == task_id and task["state"] == "success":
                return dt.datetime.fromisoformat(task["end_date"])
        return None

    def stuck(self, state: State) -> str:
        """Return what is known where nothing moves."""
        told = f"nothing has moved for {PATIENCE_SECONDS:.0f} s: {state.files} files taken in, "
        told += f"ingest {state.ingest}, build {state.build}"
        missing = sorted({*self._ingest, BUILD} - self._airflow.dag_ids())
        if missing:
            told += f"; Airflow does not know or has paused {', '.join(missing)}"
        return "\n".join([told, *self._airflow.import_errors()])


def _newest(runs: list[dict[str, Any]]) -> str:
    return str(runs[0]["state"]) if runs else "waiting"


def _after(runs: list[dict[str, Any]], when: dt.datetime | None) -> str:
    """Return the state of the newest run if it was started after a moment, else `waiting`."""
    if not runs or when is None:
        return "waiting"
    started = runs[0]["start_date"]
    if started and dt.datetime.fromisoformat(started) < when:
        return "waiting"
    return str(runs[0]["state"])
