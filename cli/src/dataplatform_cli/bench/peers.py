"""`dp bench peers`: the metadata service beside a real Marquez, on the same Postgres, with the same events.

Marquez comes from Maven Central (marquez-api and what it needs). Where Java or Maven are missing, or nothing can be
fetched, the benchmark says so and ends.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from rich.table import Table

from dataplatform_cli.bench.event_data import LINKED_NAMESPACE
from dataplatform_cli.bench.events import send_events, wait_until_projected
from dataplatform_cli.bench.maven import NoPeerError, class_path
from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import postgres
from dataplatform_cli.stack.ports import free_port_above

COORDINATES = "io.github.marquezproject:marquez-api:0.50.0"
AIMS = {"ingestion": 10.0, "lineage": 100.0}
_DEPTH = 5

_CONFIG = """
server:
  applicationConnectors: [{{type: http, port: {port}, bindHost: 127.0.0.1}}]
  adminConnectors: [{{type: http, port: {admin_port}, bindHost: 127.0.0.1}}]
  requestLog: {{appenders: []}}
db:
  driverClass: org.postgresql.Driver
  url: jdbc:postgresql://127.0.0.1:{database_port}/marquez
  user: marquez
  password: marquez
migrateOnStartup: true
search: {{enabled: false}}
logging: {{level: WARN, appenders: [{{type: console}}]}}
"""


def bench_peers(settings: StackSettings, events: int, clients: int, questions: int) -> dict[str, Any]:
    """Send the same events to both, ask both for lineage, and return the figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        events: Events for each, one a request.
        clients: How many send at the same time.
        questions: How often lineage is asked for.

    Raises:
        NoPeerError: Java, Maven or Marquez can't be had.
    """
    marquez_class_path = class_path("Marquez", COORDINATES)
    with scratch_stack(settings, ("postgres", "metadata")) as (scratch, folder):
        figures: dict[str, Any] = {"events": events, "clients": clients, "depth": _DEPTH}
        key = scratch.metadata_api_key.get_secret_value()
        figures["ours"] = _measure(scratch, scratch.metadata_port, events, clients, questions, key)
        with _marquez(scratch, folder, marquez_class_path) as port:
            figures["marquez"] = _measure(scratch, port, events, clients, questions, None)
    ours, theirs = figures["ours"], figures["marquez"]
    figures["ratios"] = {"ingestion": ours["rate"] / theirs["rate"], "lineage": theirs["p50"] / ours["p50"]}
    return figures


@contextmanager
def _marquez(settings: StackSettings, folder: Path, classes: str) -> Iterator[int]:
    """Run Marquez on a database of its own in the scratch Postgres; give its port."""
    with postgres.connect(settings) as admin:
        admin.execute("CREATE ROLE marquez LOGIN PASSWORD 'marquez'")
        admin.execute("CREATE DATABASE marquez OWNER marquez")
    port = free_port_above(43_000)
    admin_port = free_port_above(port + 1)
    given = {"port": port, "admin_port": admin_port, "database_port": settings.postgres_port}
    (folder / "marquez.yml").write_text(_CONFIG.format(**given))
    command = ["java", "-cp", classes, "marquez.MarquezApp", "server", "marquez.yml"]
    with (folder / "marquez.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_until_up(process, port, folder / "marquez.log")
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/api/v1/namespaces", timeout=10).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            last = (log.read_text(errors="replace").strip().splitlines() or ["its log is empty"])[-1]
            raise NoPeerError(f"Marquez does not come up: {last}")
        time.sleep(0.5)


def _measure(
    settings: StackSettings, port: int, events: int, clients: int, questions: int, key: str | None
) -> dict[str, Any]:
    name = "ours" if key else "marquez"
    sent = send_events(settings, "single", events, clients, 0, port=port, linked=True)
    projected = wait_until_projected(settings) if key else 0.0
    base = f"http://127.0.0.1:{port}/api/v1/lineage"
    took, nodes = [], 0
    with httpx.Client(timeout=300, headers={"Authorization": f"Bearer {key}"} if key else {}) as client:
        for number in range(questions + 2):  # two to warm up
            table = f"dataset:{LINKED_NAMESPACE}:table_{400 + number * 13 % 300}"
            began = time.perf_counter()
            answer = client.get(f"{base}?nodeId={quote(table, safe='')}&depth={_DEPTH}")
            took.append(time.perf_counter() - began)
            answer.raise_for_status()
            nodes = max(nodes, len(answer.json()["graph"]))
    took = took[2:]
    err.print(f"[dim]{name}: {events / sent['seconds']:,.0f} events/s[/]")
    return {
        "rate": events / sent["seconds"],
        "projected_seconds": projected,
        "p50": statistics.median(took),
        "p95": statistics.quantiles(took, n=20)[-1],
        "nodes": nodes,
    }


def print_report(figures: dict[str, Any]) -> None:
    """Print the two side by side."""
    title = f"{figures['events']:,} events one by one from {figures['clients']} clients, lineage to depth {_DEPTH}"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", "metadata service", f"Marquez {COORDINATES.rpartition(':')[2]}", "ratio", "aim"):
        table.add_column(column, justify="right" if column else "left")
    ours, theirs, ratios = figures["ours"], figures["marquez"], figures["ratios"]
    rows = [
        ("events/s", f"{ours['rate']:,.0f}", f"{theirs['rate']:,.0f}", "ingestion"),
        ("lineage p50, ms", f"{ours['p50'] * 1000:.1f}", f"{theirs['p50'] * 1000:.1f}", "lineage"),
    ]
    for name, mine, other, ratio in rows:
        table.add_row(name, mine, other, f"{ratios[ratio]:.1f}", f"{AIMS[ratio]:.0f}")
    table.add_row("lineage p95, ms", f"{ours['p95'] * 1000:.1f}", f"{theirs['p95'] * 1000:.1f}", "", "")
    table.add_row("nodes of the largest answer", str(ours["nodes"]), str(theirs["nodes"]), "", "")
    out.print(table)
    out.print(f"our graph had all events {ours['projected_seconds']:.1f} s after the last was acknowledged")
