"""`dp bench events`: what storing lineage events costs, beside a bare INSERT of the same JSON by as many clients."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx
import psycopg
from rich.table import Table

from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.bench.stored import fill
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

WAYS = ("insert", "single", "batch")
LIMITS = {"single": 0.5, "batch": 2.0}  # as a multiple of the bare INSERT's rate; a batch four times the half of it


def bench_events(settings: StackSettings, events: int, clients: int, repeat: int, stored: int) -> dict[str, Any]:
    """Store events in three ways and return the figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        events: Events of each way and run; batches have five times as many.
        clients: How many send at the same time.
        repeat: Runs of each way; the median counts.
        stored: Events that are there beforehand, with the runs and edges they tell of.
    """
    with scratch_stack(settings, ("postgres", "metadata")) as (scratch, _):
        dsn = scratch.dsn("metadata")
        with psycopg.connect(dsn, autocommit=True) as connection:
            if stored:
                began = time.monotonic()
                fill(connection, stored)
                err.print(f"[dim]{stored:,} events stored beforehand in {time.monotonic() - began:.0f} s[/]")
            connection.execute(
                "CREATE TABLE bench_insert (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload json)"
            )
        runs: list[dict[str, Any]] = []
        first = stored
        for turn in range(repeat + 1):  # the first is to warm up
            for way in WAYS:
                number = events if way != "batch" else 5 * events
                figures = send_events(scratch, way, number, clients, first)
                first += number
                if way != "insert":
                    figures["projected_seconds"] = wait_until_projected(scratch)
                if turn:
                    runs.append({"way": way, "events": number, "rate": number / figures["seconds"], **figures})
                    err.print(f"[dim]{way}: {runs[-1]['rate']:,.0f} events/s[/]")
        _check_nothing_failed(scratch)
    rates = {way: statistics.median(run["rate"] for run in runs if run["way"] == way) for way in WAYS}
    projected = [run["events"] / (run["seconds"] + run["projected_seconds"]) for run in runs if run["way"] != "insert"]
    return {
        "events": events,
        "clients": clients,
        "stored": stored,
        "event_bytes": runs[0]["bytes"],
        "runs": runs,
        "rates": rates,
        "projected_rate": statistics.median(projected),
        "ratios": {
            "single": rates["single"] / rates["insert"],
            "batch": rates["batch"] / rates["insert"],
            "batch_to_single": rates["batch"] / rates["single"],
        },
    }


def send_events(
    settings: StackSettings,
    way: str,
    events: int,
    clients: int,
    first: int,
    *,
    port: int | None = None,
    linked: bool = False,
) -> dict[str, Any]:
    """Send events in one of WAYS, to the metadata service unless another port is given; return how long it took."""
    given = {
        "way": way,
        "dsn": settings.dsn("metadata"),
        "port": port or settings.metadata_port,
        "linked": linked,
        "key": settings.metadata_api_key.get_secret_value(),
        "clients": clients,
        "events": events,
        "first": first,
    }
    command = [sys.executable, "-m", "dataplatform_cli.bench.sender"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PlatformError(f"sending events ({way}) failed: {reason}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def wait_until_projected(settings: StackSettings) -> float:
    """Return the seconds until all that is stored is in the graph."""
    began = time.monotonic()
    while httpx.get(f"{settings.metadata_url}/health/projection", timeout=30).json()["backlog"]:
        time.sleep(0.1)
    return time.monotonic() - began


def _check_nothing_failed(settings: StackSettings) -> None:
    failed = httpx.get(f"{settings.metadata_url}/health/projection", timeout=30).json()["failed"]
    if failed:
        raise PlatformError(f"{failed} events could not be projected: the benchmark measured nothing")


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    title = f"{figures['clients']} clients, events of {figures['event_bytes']:,} bytes"
    title += f", {figures['stored']:,} stored beforehand" if figures["stored"] else ""
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("way", "events/s", "of the bare INSERT"):
        table.add_column(name, justify="left" if name == "way" else "right")
    names = {
        "insert": "bare INSERT, one row a commit",
        "single": "one event a request",
        "batch": "100 events a request",
    }
    for way in WAYS:
        ratio = f"{figures['ratios'][way]:.2f}" if way in LIMITS else ""
        table.add_row(names[way], f"{figures['rates'][way]:,.0f}", ratio)
    out.print(table)
    out.print(
        f"single events should reach {LIMITS['single']}, batches {LIMITS['batch']} (four times that); "
        f"batches are {figures['ratios']['batch_to_single']:.1f} times single events; "
        f"from the first event until all are in the graph: {figures['projected_rate']:,.0f} events/s"
    )
