"""The containers of a Compose project, as the `docker` command tells of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
UNITS = {"B": 1e-6, "kB": 1e-3, "KiB": 1024e-6, "MB": 1.0, "MiB": 1024**2 * 1e-6, "GB": 1e3, "GiB": 1024**3 * 1e-6}


@dataclass(frozen=True)
class Container:
    """A container of a service. State is one of those of `ServiceStatus`."""

    id: str
    name: str
    service: str
    image: str
    state: str
    running: bool
    pid: int


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `docker` and return what it said. Without Docker the exit code is 127."""
    program = shutil.which("docker")
    if program is None:
        return subprocess.CompletedProcess(["docker"], 127, "", "docker is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def of_project(project: str) -> list[Container]:
    """Return the containers of a project, by service; none where no engine answers."""
    found = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={PROJECT}={project}")
    ids = found.stdout.split()
    if found.returncode != 0 or not ids:
        return []
    told = json.loads(docker("inspect", *ids).stdout or "[]")
    return sorted(map(_container, told), key=lambda container: container.service)


def anything_of(project: str) -> bool:
    """Whether a project has containers, running or not, or volumes."""
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label={PROJECT}={project}")
    return bool(of_project(project) or (volumes.returncode == 0 and volumes.stdout.split()))


def memory_mb(project: str) -> dict[str, float]:
    """Return the megabytes that each running container of a project holds, by the container's id."""
    running = [container.id for container in of_project(project) if container.running]
    if not running:
        return {}
    told = docker("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}", *running).stdout
    return {words[0]: _megabytes(words[1]) for line in told.splitlines() if len(words := line.split()) > 1}


def log_end(container: str, lines: int) -> str:
    """Return the last lines that a container has printed."""
    told = docker("logs", "--tail", str(lines), container)
    return (told.stdout + told.stderr).strip()


def _container(told: dict[str, Any]) -> Container:
    state = told["State"]
    labels = told["Config"]["Labels"]
    return Container(
        id=told["Id"],
        name=told["Name"].removeprefix("/"),
        service=labels[SERVICE],
        image=told["Image"],
        state=_state(state, once=told["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")),
        running=state["Status"] in ("running", "restarting", "paused"),
        pid=state["Pid"],
    )


def _state(state: dict[str, Any], once: bool) -> str:
    """Return a state in the words of `ServiceStatus`."""
    if state["Status"] == "running":
        health = state.get("Health", {}).get("Status", "healthy")
        return {"healthy": "running", "starting": "starting"}.get(health, "degraded")
    if state["Status"] == "restarting":
        return "failed"  # it keeps ending
    if state["Status"] in ("exited", "dead"):
        if once:
            return "done" if state["ExitCode"] == 0 else "failed"
        return "stopped"
    return "starting" if state["Status"] == "created" else "stopped"


def _megabytes(text: str) -> float:
    """Return the megabytes of docker's words, such as `116.4MiB`."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text)
    return round(float(found[1]) * UNITS[found[2]], 1) if found and found[2] in UNITS else 0.0
