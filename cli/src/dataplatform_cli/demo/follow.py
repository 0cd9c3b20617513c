"""Follow the sample through Airflow: files taken in, the curated layer built from them, the warehouse checked."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dataplatform_cli.airflow_api import AirflowClient
from dataplatform_cli.demo.sample import DATASET, ledger
from dataplatform_cli.display import err
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

if TYPE_CHECKING:
    from pipelines.ingestion.generator import Manifest

INGEST, BUILD, CHECK = f"ingest__{DATASET}", "build__curated", "check__warehouse"
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
    check: str
    done: bool


def until_checked(settings: StackSettings, manifest: Manifest) -> None:
    """Return once every file is in the ledger and a build and a check have followed the last change.

    Raises:
        PlatformError: a run failed (with what its task said), or nothing has moved for too long.
    """
    airflow = AirflowClient(settings)
    columns = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), TimeElapsedColumn(), console=err) as progress:
        bars = {
            "ingest": progress.add_task(f"{INGEST}: files taken in", total=len(manifest.files), state=""),
            "build": progress.add_task(f"{BUILD}: dbt models", total=1, state=""),
            "check": progress.add_task(f"{CHECK}: checks", total=1, state=""),
        }
        before, moved = None, time.monotonic()
        while True:
            state = _state(settings, airflow, manifest)
            progress.update(bars["ingest"], completed=state.files, state=state.ingest)
            progress.update(bars["build"], completed=int(state.build == "success"), state=state.build)
            progress.update(bars["check"], completed=int(state.check == "success"), state=state.check)
            if state.done:
                return
            if state != before:
                before, moved = state, time.monotonic()
            elif time.monotonic() - moved > PATIENCE_SECONDS:
                raise PlatformError(_stuck(airflow, state), "`dp logs airflow` shows what Airflow is doing")
            time.sleep(POLL_SECONDS)


def _state(settings: StackSettings, airflow: AirflowClient, manifest: Manifest) -> State:
    try:
        files = len(ledger(settings, manifest))
        runs = {dag_id: airflow.runs(dag_id) for dag_id in (INGEST, BUILD, CHECK)}
        changed = _last_start(airflow, INGEST, runs[INGEST], "publish")
        built = _last_start(airflow, BUILD, runs[BUILD], "dbt_build")
    except httpx.TransportError:  # the api-server restarts now and then; the supervisor sees to it
        return State(0, "", "", "", done=False)
    quiet = not any(run["state"] in ACTIVE for found in runs.values() for run in found)
    # A run that was started by a change carries a time after it.
    build = _after(runs[BUILD], changed)
    check = _after(runs[CHECK], built) if build == "success" else "waiting"
    for dag_id, outcome in ((INGEST, _newest(runs[INGEST])), (BUILD, build), (CHECK, check)):
        if outcome == "failed":
            raise PlatformError(airflow.failure(dag_id, runs[dag_id][0]["dag_run_id"]), f"see {settings.airflow_url}")
    done = quiet and files == len(manifest.files) and build == check == "success"
    return State(files, _newest(runs[INGEST]), build, check, done)


def _newest(runs: list[dict[str, Any]]) -> str:
    return str(runs[0]["state"]) if runs else "waiting"


def _after(runs: list[dict[str, Any]], when: dt.datetime | None) -> str:
    """Return the state of the newest run if it was started after a moment, else `waiting`."""
    if not runs or when is None or dt.datetime.fromisoformat(runs[0]["run_after"]) < when:
        return "waiting"
    return str(runs[0]["state"])


def _last_start(airflow: AirflowClient, dag_id: str, runs: list[dict[str, Any]], task_id: str) -> dt.datetime | None:
    """Return when the newest successful instance of a task was started."""
    for run in runs:
        for task in airflow.task_instances(dag_id, run["dag_run_id"]):
            if task["task_id"] == task_id and task["state"] == "success":
                return dt.datetime.fromisoformat(task["start_date"])
    return None


def _stuck(airflow: AirflowClient, state: State) -> str:
    told = f"nothing has moved for {PATIENCE_SECONDS:.0f} s: {state.files} files taken in, "
    told += f"ingest {state.ingest}, build {state.build}, check {state.check}"
    missing = sorted({INGEST, BUILD, CHECK} - airflow.dag_ids())
    if missing:
        told += f"; Airflow does not know or has paused {', '.join(missing)}"
    return "\n".join([told, *airflow.import_errors()])
