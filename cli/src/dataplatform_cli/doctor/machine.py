"""The machine: memory, disk, ports, versions, and what the local stack is made of."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

from dataplatform_cli.doctor.finding import Finding
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.compose import ComposeStack
from dataplatform_cli.stack.ports import taken_ports
from dataplatform_cli.stack.postgres import SERVER_MAJOR
from dataplatform_cli.stack.services import all_services
from dataplatform_cli.stack.supervisor import Supervisor

# All services together hold under 3 GB once a pipeline has run (`dp status` prints it); below half of it they swap.
MEMORY_WANTED, MEMORY_NEEDED = 4.0, 2.0
DISK_WANTED, DISK_NEEDED = 3.0, 1.0
PYTHON_OLDEST, PYTHON_NEWEST = (3, 11), (3, 13)


def examine(settings: StackSettings) -> list[Finding]:
    """Return what was found, in the order of the checks."""
    return [
        _memory(),
        _disk(settings),
        _versions(),
        _folder(settings),
        *_ports(settings),
        _object_store(),
        _superset(settings),
    ]


def _memory() -> Finding:
    free = psutil.virtual_memory().available / 2**30
    message = f"{free:.1f} GB free"
    if free < MEMORY_NEEDED:
        return Finding("memory", "warn", message, "all services together want 3 GB: close something, or start fewer")
    if free < MEMORY_WANTED:
        return Finding("memory", "warn", message, "enough, but tight: set AIRFLOW_PARALLELISM=2 in .env")
    return Finding("memory", "ok", message)


def _disk(settings: StackSettings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    message = f"{free:.1f} GB free at {folder}"
    if free < DISK_NEEDED:
        return Finding("disk", "stop", message, "free some space, or set DP_HOME in .env to a folder on another disk")
    if free < DISK_WANTED:
        return Finding("disk", "warn", message, "DP_HOME in .env moves the data to another disk")
    return Finding("disk", "ok", message)


def _versions() -> Finding:
    python = sys.version_info[:2]
    names = {
        "Airflow": "apache-airflow",
        "dbt": "dbt-core",
        "Great Expectations": "great-expectations",
        "DuckDB": "duckdb",
    }
    parts = [f"{name} {version(package)}" for name, package in names.items()]
    message = ", ".join([f"Python {python[0]}.{python[1]}", f"Postgres {SERVER_MAJOR}", *parts])
    if not PYTHON_OLDEST <= python <= PYTHON_NEWEST:
        return Finding("versions", "stop", message, "the lock serves Python 3.11 to 3.13: install one of them")
    return Finding("versions", "ok", message)


def _folder(settings: StackSettings) -> Finding:
    folder: Path = settings.home
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding("state", "stop", f"{folder} can't be written", "set DP_HOME in .env to a folder of yours")
    return Finding("state", "ok", f"{settings.home}")


def _ports(settings: StackSettings) -> list[Finding]:
    if ComposeStack(settings).is_up():
        return [Finding("ports", "ok", "held by the stack on Compose")]
    states = Supervisor(settings).states()
    down = [
        service
        for service in all_services(settings).values()
        if not any(states.get(program.name, {}).get("pid") for program in service.programs)
    ]
    taken = taken_ports(down, settings.bind_address)
    if taken:
        return [Finding("port", "stop", str(port), port.cure) for port in taken]
    return [Finding("ports", "ok", "free, or held by this stack")]


def _object_store() -> Finding:
    minio = shutil.which("minio")
    if minio:
        return Finding("object store", "ok", f"MinIO ({minio})")
    return Finding("object store", "ok", "rclone serve s3 (no minio on PATH)")


def _superset(settings: StackSettings) -> Finding:
    if (settings.root / ".venv-superset" / "bin" / "gunicorn").exists():
        return Finding("superset", "ok", "installed")
    return Finding("superset", "warn", "not installed", "`make install`; everything but the dashboards runs without it")
