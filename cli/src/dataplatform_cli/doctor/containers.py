"""What the stack on Docker Compose needs: an engine, its plugin, room, and images that are here or can be pulled."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dataplatform_cli.doctor.finding import Finding
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.compose import ComposeStack, require_docker
from dataplatform_cli.stack.containers import docker

COMPOSE_TESTED = (2, 26)
# Images and the cache of their build hold about 7 GB.
DISK_WANTED, DISK_NEEDED = 12.0, 8.0


def examine(settings: StackSettings) -> list[Finding]:
    """Return what was found; a single line where there is no Docker and none is asked for."""
    wanted = settings.stack == "compose"
    try:
        require_docker()
    except PlatformError as error:
        if wanted:
            return [Finding("docker", "stop", str(error), error.cure)]
        return [Finding("docker", "ok", f"{error}; only `make start` needs it")]
    return [_versions(), *_disk(), *_images(settings)]


def _versions() -> Finding:
    engine = docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    plugin = docker("compose", "version", "--short").stdout.strip()
    message = f"Docker Engine {engine}, Compose {plugin}"
    number = tuple(int(part) for part in re.findall(r"\d+", plugin)[:2])
    if number < COMPOSE_TESTED:
        oldest = ".".join(map(str, COMPOSE_TESTED))
        return Finding("docker", "warn", message, f"the stack was tested with Compose {oldest}: update the plugin")
    return Finding("docker", "ok", message)


def _disk() -> list[Finding]:
    folder = Path(docker("info", "--format", "{{.DockerRootDir}}").stdout.strip())
    if not folder.exists():  # the engine runs on another machine, or in one of its own
        return []
    free = shutil.disk_usage(folder).free / 2**30
    message = f"{free:.1f} GB free at {folder}"
    if free < DISK_WANTED:
        cure = "`docker system prune` frees what no container uses"
        return [Finding("docker disk", "warn" if free >= DISK_NEEDED else "stop", message, cure)]
    return [Finding("docker disk", "ok", message)]


def _images(settings: StackSettings) -> list[Finding]:
    """Tell of every image that is not made here whether it is here, or can be had."""
    try:
        found = _named_images(ComposeStack(settings).model())
    except PlatformError as error:
        return [Finding("compose", "warn", str(error), error.cure)]
    with ThreadPoolExecutor(len(found) or 1) as pool:
        return list(pool.map(lambda item: _image(*item), found.items()))


def _named_images(model: dict[str, Any]) -> dict[str, str]:
    """Return {image: variable of `.env` that names another} of a Compose model."""
    found: dict[str, str] = {}
    for service, about in model["services"].items():
        arguments = about.get("build", {}).get("args", {})
        found |= {image: variable for variable, image in arguments.items() if variable.endswith("_IMAGE")}
        if "build" not in about and not about["image"].endswith(":local"):
            found.setdefault(about["image"], f"{service.partition('-')[0].upper()}_IMAGE")
    return found


def _image(image: str, variable: str) -> Finding:
    if docker("image", "inspect", image).returncode == 0:
        return Finding("image", "ok", f"{image} is here")
    answer = docker("manifest", "inspect", image)
    if answer.returncode == 0:
        return Finding("image", "ok", f"{image} can be pulled")
    reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
    cure = f"look at the network and `docker login`, or name another image: {variable} in .env"
    return Finding("image", "warn", f"{image} can't be pulled: {reason}", cure)
