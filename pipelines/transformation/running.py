"""A run of dbt, followed node by node."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAILED = ("error", "fail", "runtime error", "partial success")
_PR_SET_PDEATHSIG = 1
_TAIL = 15


class BuildError(Exception):
    """dbt could not run: the message has what it said last."""


@dataclass(frozen=True)
class NodeResult:
    """What is known of one node of a build: a model, test, unit test, seed, snapshot or exposure.

    Status is dbt's: started, success, pass, warn, fail, error, skipped, no-op. Times are ISO 8601, UTC.
    """

    unique_id: str
    status: str
    started_at: str | None = None
    ended_at: str | None = None
    seconds: float | None = None
    message: str | None = None

    @property
    def kind(self) -> str:
        """Such as model or test."""
        return self.unique_id.split(".", 1)[0]

    @property
    def name(self) -> str:
        """As the project's files name it."""
        # A unit test's id names its model before itself, a generic test's ends with a hash.
        return self.unique_id.split(".")[3 if self.kind == "unit_test" else 2]

    @property
    def failed(self) -> bool:
        """Whether it broke, as opposed to being skipped because something before it did."""
        return self.status in FAILED


def run_dbt(
    command: list[str],
    *,
    project: Path,
    target: Path,
    environment: Mapping[str, str],
    echo: Callable[[str], None],
    on_node: Callable[[NodeResult], None] = lambda node: None,
) -> list[NodeResult]:
    """Run dbt and return what became of each node.

    Args:
        command: dbt's arguments, such as `["build", "--select", "fct_sales+"]`.
        project: The dbt project, which holds `profiles.yml` too.
        target: Folder for the artifacts.
        environment: What profiles.yml reads.
        echo: Called with each line that dbt prints.
        on_node: Called whenever dbt begins or ends a node.

    Raises:
        BuildError: dbt could not run. Nodes that failed are in the results.
    """
    target.mkdir(parents=True, exist_ok=True)
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "dbt"), "--no-use-colors", "--log-format", "json", *command),
            *("--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", str(target), "--log-path", str(target / "logs")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=_die_with_parent,
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    lines: list[str] = []
    try:
        for line in process.stdout:
            text, node = _read_line(line)
            lines = [*lines[-_TAIL:], text]
            echo(text)
            if node:
                on_node(node)
        code = process.wait()
    finally:
        if process.poll() is None:  # the task is being stopped
            process.terminate()
            process.wait()
    if not results.exists():
        raise BuildError(f"dbt ended with code {code} before it built anything:\n" + "\n".join(lines))
    return read_results(target)


def read_results(target: Path) -> list[NodeResult]:
    """Return the results that dbt left in its target folder."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    return [_result(result) for result in results]


def _die_with_parent() -> None:
    """Have the kernel end dbt with the task, even one killed outright: two builds at once would mix their tables."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _read_line(line: str) -> tuple[str, NodeResult | None]:
    """Return the message of a line of dbt's JSON log, and the node that it tells of, if any."""
    try:
        event: dict[str, Any] = json.loads(line)
        message, info = str(event["info"]["msg"]), event["data"].get("node_info")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line.rstrip(), None
    if not info or info["node_status"] in ("None", "compiling", "executing"):
        return message, None
    seconds = event["data"].get("execution_time")
    node = NodeResult(
        unique_id=info["unique_id"],
        status=str(info["node_status"]),
        started_at=_utc(info["node_started_at"]),
        ended_at=_utc(info["node_finished_at"]),
        seconds=seconds,
    )
    return message, node


def _result(result: dict[str, Any]) -> NodeResult:
    phases = {phase["name"]: phase for phase in result["timing"]}
    begun, done = phases.get("compile", {}), phases.get("execute", {})
    return NodeResult(
        unique_id=result["unique_id"],
        status=result["status"],
        started_at=begun.get("started_at"),
        ended_at=done.get("completed_at"),
        seconds=result["execution_time"],
        message=result.get("message"),
    )


def _utc(text: str) -> str | None:
    return f"{text}+00:00" if text else None
