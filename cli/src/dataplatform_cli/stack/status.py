"""What the local stack is doing now: state, address, process and memory of every service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import ProcessStatus, Service, ServiceStatus
from dataplatform_cli.stack.services import all_services
from dataplatform_cli.stack.supervisor import Supervisor


def status(settings: StackSettings) -> list[ServiceStatus]:
    """Return the status of every service, in listing order."""
    states = Supervisor(settings).states()
    return [_service_status(service, states) for service in all_services(settings).values()]


def _service_status(service: Service, states: dict[str, dict[str, Any]]) -> ServiceStatus:
    processes = [_process_status(program.name, states.get(program.name, {})) for program in service.programs]
    kinds = {process["state"] for process in processes}
    if kinds == {"running"}:
        state = "running" if _answers(service) else "starting"
    elif len(kinds) == 1:
        state = kinds.pop()
    else:
        state = "failed" if "failed" in kinds else "degraded"
    return {
        "name": service.name,
        "state": state,
        "url": service.url,
        "pid": processes[0]["pid"],
        "memory_mb": round(sum(process["memory_mb"] for process in processes), 1),
        "processes": processes,
    }


def _process_status(name: str, info: dict[str, Any]) -> ProcessStatus:
    words = {"RUNNING": "running", "STARTING": "starting", "BACKOFF": "starting", "FATAL": "failed"}
    state = words.get(info.get("statename", ""), "stopped")
    pid = info.get("pid") or None
    return {"name": name, "state": state, "pid": pid, "memory_mb": round(_memory(pid), 1) if pid else 0.0}


def _answers(service: Service) -> bool:
    try:
        return service.is_ready()
    except Exception:  # whatever keeps it from answering, it is not ready
        return False


def _memory(pid: int) -> float:
    """Return the MB that a process and its children hold, pages shared with others counted in part (PSS)."""
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(map(_pss, tree)) / 1e6


def _pss(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return int(process.memory_info().rss)
    except (OSError, psutil.Error):
        return 0
