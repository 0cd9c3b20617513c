"""The stack on Docker Compose: the services of docker-compose.yml, driven through the `docker` command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.setup import MACHINE_SECRETS
from dataplatform_cli.stack import containers
from dataplatform_cli.stack.containers import Container
from dataplatform_cli.stack.model import ServiceStatus
from dataplatform_cli.stack.ports import TakenPort, can_bind, holder_of

AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
STORES = ("postgres", "minio")
GROUPS: Mapping[str, tuple[str, ...]] = {"airflow": AIRFLOW, "s3": ("minio",)}
"""Names that the local stack has for services, and what they are here."""
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "postgres": ("POSTGRES_PORT",),
    "minio": ("MINIO_PORT", "MINIO_CONSOLE_PORT"),
    "airflow-api-server": ("AIRFLOW_PORT",),
    "superset": ("SUPERSET_PORT",),
    "metadata": ("METADATA_PORT",),
}
PUBLISHED_BY_PROFILE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lineage": {
        "kafka": ("KAFKA_PORT",),
        "marquez": ("MARQUEZ_PORT",),
        "marquez-web": ("MARQUEZ_WEB_PORT",),
        "platform-web": ("PLATFORM_WEB_PORT",),
    },
    "observability": {
        "clickhouse": ("CLICKHOUSE_PORT",),
        "grafana": ("GRAFANA_PORT",),
        "prometheus": ("PROMETHEUS_PORT",),
        "otel-collector": ("OTEL_PORT",),
    },
}
"""Service → the variables of the ports that it publishes."""
NO_DOCKER = "install Docker Engine with its Compose plugin, or run `make demo`, which needs neither"
STARTING = ("up", "run")
"""Compose's commands that make containers."""


class ComposeStack:
    """See `dataplatform_cli.stack.kinds.Stack`."""

    kind = "compose"
    warehouse = "postgres:5432"

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._project = settings.project

    def is_up(self) -> bool:
        return any(container.running for container in self._containers())

    def start(self) -> None:
        require_docker()
        self._check_passwords()
        self._check_ports()
        # One-shot initialisations run again with every start: they complete what is missing.
        done = self._compose("up", "--detach", "--build", "--wait", "--remove-orphans")
        if done != 0:
            raise PlatformError(*self._why_not_up())

    def stop(self, services: Sequence[str] = ()) -> list[str]:
        chosen = self._named(services) if services else None
        stopped = [
            container.service
            for container in self._containers()
            if container.running and (chosen is None or container.service in chosen)
        ]
        command = ["stop", *sorted(chosen)] if chosen else ["down", "--remove-orphans"]
        if stopped or not chosen:
            self._must("stop", *command)
        return stopped

    def status(self) -> list[ServiceStatus]:
        memory = containers.memory_mb(self._project)
        return [self._status(container, memory.get(container.id, 0.0)) for container in self._containers()]

    def logs(self, program: str | None, lines: int, follow: bool) -> None:
        chosen = sorted(self._named([program])) if program else []
        arguments = ["logs", "--no-log-prefix"] if len(chosen) == 1 else ["logs"]
        self._must("logs", *arguments, "--tail", str(lines), *(["--follow"] if follow else []), *chosen)

    def destroy(self) -> None:
        if containers.anything_of(self._project):
            self._must("down", "down", "--volumes", "--remove-orphans")
        shutil.rmtree(self._settings.home / "sample", ignore_errors=True)

    def airflow(self, arguments: Sequence[str]) -> int:
        terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--no-TTY"]
        return self._compose("exec", *terminal, "airflow-scheduler", "airflow", *arguments)

    def write_connections(self) -> None:
        self._once("airflow-init")

    def make_buckets(self) -> None:
        self._once("minio-init")

    def start_stores(self) -> None:
        require_docker()
        self._must("start", "up", "--detach", "--build", "--wait", *STORES)
        self._once("postgres-init")

    def stop_all_but_stores(self) -> None:
        others = {container.service for container in self._containers() if container.running} - set(STORES)
        if others:
            self._must("stop", "stop", *sorted(others))

    def stop_airflow(self) -> None:
        self._must("stop", "stop", *AIRFLOW)

    def start_airflow(self) -> None:
        self._once("postgres-init")
        self._must("start", "up", "--detach", "--wait", *AIRFLOW)

    def model(self) -> dict[str, Any]:
        """Return docker-compose.yml as Compose understands it, its variables filled in.

        Raises:
            PlatformError: Compose finds a mistake in it.
        """
        done = subprocess.run(
            [*self._command(), "config", "--format", "json"],
            env={**os.environ, **environment(self._settings)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PlatformError(f"docker-compose.yml can't be used: {done.stderr.strip()}", "mend it, or the .env")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    # --- inside ----------------------------------------------------------------------------------------------------

    def _containers(self) -> list[Container]:
        return containers.of_project(self._project)

    def _named(self, names: Sequence[str]) -> set[str]:
        """Return the services behind names, some of which are groups."""
        known = {container.service for container in self._containers()}
        chosen: set[str] = set()
        for name in names:
            found = set(GROUPS.get(name, (name,)))
            if not found <= known:
                raise PlatformError(f"there is no service '{name}'", f"the services are {', '.join(sorted(known))}")
            chosen |= found
        return chosen

    def _status(self, container: Container, memory: float) -> ServiceStatus:
        return {
            "name": container.service,
            "state": container.state,
            "url": self._address(container.service),
            "pid": container.pid or None,
            "memory_mb": memory,
            "processes": [
                {
                    "name": container.name,
                    "state": container.state,
                    "pid": container.pid or None,
                    "memory_mb": memory,
                }
            ],
        }

    def _address(self, service: str) -> str:
        settings = self._settings
        return {
            "postgres": f"postgresql://{settings.loopback}:{settings.postgres_port}",
            "minio": settings.s3_endpoint,
            "airflow-api-server": settings.airflow_url,
            "superset": settings.superset_url,
            "metadata": settings.metadata_url,
            "kafka": f"{settings.loopback}:{settings.kafka_port}",
            **{
                name: f"http://{settings.loopback}:{getattr(settings, variables[0].lower())}"
                for published in PUBLISHED_BY_PROFILE.values()
                for name, variables in published.items()
                if name != "kafka"
            },
        }.get(service, "")

    def _check_passwords(self) -> None:
        """Refuse database passwords that docker-compose.yml can't put into a URL as they are."""
        for role in ("airflow", "metadata", "superset", "reporter", "marquez"):
            if quote(self._settings.password(role), safe="") != self._settings.password(role):
                raise PlatformError(
                    f"the password of the database role {role} has characters that Compose can't put into an address",
                    "use letters, digits and - . _ ~ for it in .env",
                )

    def _check_ports(self) -> None:
        running = {container.service for container in self._containers() if container.running}
        published = dict(PUBLISHED)
        for profile in self._settings.profiles:
            published |= PUBLISHED_BY_PROFILE[profile]
        taken = [
            TakenPort(service, variable, port, holder_of(port))
            for service, variables in published.items()
            if service not in running
            for variable in variables
            for port in [int(getattr(self._settings, variable.lower()))]
            if not can_bind(self._settings.bind_address, port)
        ]
        if taken:
            raise PlatformError("; ".join(map(str, taken)), "; ".join(port.cure for port in taken))

    def _why_not_up(self) -> tuple[str, str]:
        """Return what to tell of a start that failed, and what helps."""
        for container in self._containers():
            if container.state in ("failed", "degraded"):
                end = containers.log_end(container.id, 12)
                return (
                    f"{container.service} did not start. The end of its log:\n{end}",
                    f"`dp logs {container.service}`",
                )
        return "the stack did not start", "what Docker said is above; `dp status` shows how far it came"

    def _once(self, service: str) -> None:
        self._must(service, "run", "--rm", "--no-TTY", service)

    def _must(self, what: str, *arguments: str) -> None:
        if self._compose(*arguments) != 0:
            raise PlatformError(f"docker compose: {what} failed", "what Docker said is above")

    def _command(self) -> list[str]:
        root = self._settings.root
        return ["docker", "compose", "--project-directory", str(root), "--file", str(root / "docker-compose.yml")]

    def _compose(self, *arguments: str, quiet: bool = False) -> int:
        """Run `docker compose` on the repository's file and return its exit code. It reports to standard error."""
        reports = arguments[0] not in ("logs", "exec")  # their output is the result
        values = environment(self._settings)
        if arguments[0] not in STARTING:  # what runs can be looked at and stopped without the secrets it runs with
            values = {name: value or "-" if name in MACHINE_SECRETS else value for name, value in values.items()}
        return subprocess.run(
            [*self._command(), *arguments],
            env={**os.environ, **values},
            stdout=subprocess.DEVNULL if quiet else sys.stderr.fileno() if reports else None,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
        ).returncode


def environment(settings: StackSettings) -> dict[str, str]:
    """Return the variables of docker-compose.yml. Given to it, so that `.env` has one reader, and one way to quote."""
    values: dict[str, Any] = settings.model_dump()
    found = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }
    return {
        **found,
        **_of_profiles(settings),
        "COMPOSE_PROJECT_NAME": settings.project,
        "CONTRACTS_DIR": str(settings.contracts.resolve()),
        "DAGS_DIR": str(settings.dags.resolve()),
        "AIRFLOW_URL": settings.airflow_url,
        "SUPERSET_URL": settings.superset_url,
    }


def _of_profiles(settings: StackSettings) -> dict[str, str]:
    """Return where the profiles' own Kafka, Marquez and ClickHouse are, as far as the settings name no others."""
    found: dict[str, str] = {}
    if "lineage" in settings.profiles:
        found["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers or "kafka:29092"
        found["MARQUEZ_URL"] = settings.marquez_url or "http://marquez:5000"
    if "observability" in settings.profiles:
        found["TELEMETRY_URL"] = settings.telemetry_url.get_secret_value() or settings.clickhouse_url("clickhouse:8123")
        found["AIRFLOW_METRICS"] = "true"
    return found


def require_docker() -> None:
    """Return if an engine answers and has the Compose plugin.

    Raises:
        PlatformError: one of them is missing; the cure is that of what is.
    """
    if not shutil.which("docker"):
        raise PlatformError("Docker is not installed", NO_DOCKER)
    if containers.docker("compose", "version").returncode != 0:
        raise PlatformError("Docker has no Compose plugin", "install the package docker-compose-plugin; or `make demo`")
    answer = containers.docker("version", "--format", "{{json .Server.Version}}")
    if answer.returncode != 0:
        raise PlatformError(
            f"Docker's engine does not answer: {answer.stderr.strip()}",
            "start it (`systemctl start docker`), or join the group docker; `make demo` needs no Docker",
        )
