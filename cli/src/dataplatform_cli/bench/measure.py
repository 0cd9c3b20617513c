"""A process measured: its answer, and the most memory that it and its children had."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from typing import Any

import psutil

from dataplatform_cli.errors import PlatformError

_INTERVAL = 0.1


def run_measured(command: list[str], secret: str = "") -> dict[str, Any]:
    """Run a command that prints JSON as its last line and return that, with `peak_mb` of the whole process tree.

    Raises:
        PlatformError: it failed.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak, done = [0], threading.Event()

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not done.wait(_INTERVAL):
            peak[0] = max(peak[0], _memory(root))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        out, error = process.communicate(secret + "\n")
    finally:
        done.set()
        watcher.join()
        if process.poll() is None:
            process.kill()
    if process.returncode:
        reasons = re.findall(r"^[\w.]+: .*", error, re.MULTILINE)
        raise PlatformError(f"{' '.join(command[:4])} failed: {(reasons or ['no reason given'])[-1]}")
    answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return answer | {"peak_mb": round(peak[0] / 1024**2)}


def _memory(root: psutil.Process) -> int:
    """Return the resident bytes of a process and its children; what they share counts for each of them."""
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.Error:  # one of them has just ended
        pass
    return total
