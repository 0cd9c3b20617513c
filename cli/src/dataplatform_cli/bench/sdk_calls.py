"""What a decorated call costs its caller, in a process of its own: `python -m dataplatform_cli.bench.sdk_calls`.

A JSON object on stdin: {"url", "key", "spool", "calls", "pause" (seconds between two calls, 0 for none)}. Prints a line
of JSON: for each way the microseconds of every call beyond the bare function's median.

The ways take turns, a hundred calls each, so that whatever else the machine does hits them alike.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from data_lineage_hub_sdk import configure, flush, lineage_track, telemetry_track

_TURN = 100


def _bare(day: str) -> str:
    return day


def _ways() -> dict[str, Callable[[str], str]]:
    inputs = [{"type": "file", "name": "s3://raw/orders/{day}", "format": "csv"}]
    tracked = lineage_track("bench", inputs=inputs, outputs=[{"type": "table", "name": "orders"}])
    return {
        "bare": _bare,
        "lineage_track": tracked(_bare),
        "telemetry_track": telemetry_track("bench")(_bare),
        "both": tracked(telemetry_track("bench")(_bare)),
    }


def _turn(function: Callable[[str], str], pause: float) -> list[int]:
    """Call a function a hundred times and return the nanoseconds of each call."""
    took = []
    for number in range(_TURN):
        day = f"2026-01-{number % 28:02d}"
        began = time.perf_counter_ns()
        function(day)
        took.append(time.perf_counter_ns() - began)
        if pause:
            time.sleep(pause)
    return took


def measure(calls: int, pause: float) -> dict[str, Any]:
    """Return median, 99th percentile and mean of each way's microseconds beyond the bare function's median."""
    ways = _ways()
    for function in ways.values():  # imports, and the first time of everything
        _turn(function, 0)
    flush(5)
    took: dict[str, list[int]] = {way: [] for way in ways}
    for _ in range(max(calls // _TURN, 1)):
        for way, function in ways.items():
            took[way] += _turn(function, pause)
    bare = statistics.median(took["bare"])
    figures = {}
    for way, nanoseconds in took.items():
        beyond = sorted((each - bare) / 1000 for each in nanoseconds)
        figures[way] = {
            "median": statistics.median(beyond),
            "p99": beyond[int(len(beyond) * 0.99)],
            "mean": statistics.fmean(beyond),
        }
    return {"bare": bare / 1000, "calls": len(took["bare"]), "beyond": figures}


def main() -> None:
    """Measure what stdin asks for."""
    given = json.load(sys.stdin)
    configure(url=given["url"], api_key=given["key"], namespace="bench", spool_dir=given["spool"], transport="http")
    figures = measure(given["calls"], given["pause"])
    flush(0)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
