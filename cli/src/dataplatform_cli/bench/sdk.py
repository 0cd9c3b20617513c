"""`dp bench sdk`: what the SDK's decorators cost the functions they stand on, with the hub up, slow and down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rich.table import Table

from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.ports import free_port_above

HUBS = ("up", "slow", "down")
PACES = {"back to back": 0.0, "one a millisecond": 0.001}
LIMIT = 100.0  # microseconds a call, the median
_SLOW_SECONDS = 2.0
_FIRST_PORT = 43_000


def bench_sdk(settings: StackSettings, calls: int) -> dict[str, Any]:
    """Call decorated functions and return how many microseconds a call takes beyond the bare function.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        calls: Calls of each way, hub and pace.
    """
    runs = []
    with scratch_stack(settings, ("postgres", "metadata")) as (scratch, folder), _slow_hub() as slow:
        urls = {"up": scratch.metadata_url, "slow": slow, "down": f"http://127.0.0.1:{free_port_above(_FIRST_PORT)}"}
        for hub in HUBS:
            for pace, pause in PACES.items():
                given = {
                    "url": urls[hub],
                    "key": scratch.metadata_api_key.get_secret_value(),
                    "spool": str(folder / f"spool-{hub}"),
                    "calls": calls,
                    "pause": pause,
                }
                runs.append({"hub": hub, "pace": pace, **_measure(given)})
    worst = max(way["median"] for run in runs for way in run["beyond"].values())
    return {"calls": calls, "limit": LIMIT, "worst_median": worst, "runs": runs}


def _measure(given: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "dataplatform_cli.bench.sdk_calls"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PlatformError(f"calling decorated functions failed: {reason}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


class _SlowHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(_SLOW_SECONDS)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _slow_hub() -> Iterator[str]:
    """Run a hub that takes seconds for an answer, which is that it can't; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    title = f"microseconds a call beyond the bare function, {figures['calls']:,} calls each"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("hub")
    table.add_column("calls")
    ways = [way for way in figures["runs"][0]["beyond"] if way != "bare"]
    for way in ways:
        table.add_column(f"{way}: median", justify="right")
        table.add_column("p99", justify="right")
    for run in figures["runs"]:
        cells = [f"{run['beyond'][way][name]:,.0f}" for way in ways for name in ("median", "p99")]
        table.add_row(run["hub"], run["pace"], *cells)
    out.print(table)
    out.print(f"the worst median is {figures['worst_median']:.0f} µs; it should stay under {figures['limit']:.0f}")
