"""The Compose file, the Dockerfiles and the make targets, as far as they can be judged without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.airflow import connection_values
from dataplatform_cli.stack.compose import environment

PROFILES = {
    "lineage": {
        "kafka", "hub-topics", "lineage-consumer", "otel-consumer", "marquez-init", "marquez", "marquez-web",
        "platform-web",
    },
    "observability": {"clickhouse", "otel-collector", "postgres-exporter", "prometheus", "grafana"},
}  # fmt: skip
ONCE = {"postgres-init", "minio-init", "airflow-init", "superset-init", "hub-topics", "marquez-init"}
LONG_RUNNING = {
    "postgres", "minio", "metadata", "superset",
    "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
    *PROFILES["lineage"] - ONCE, *PROFILES["observability"],
}  # fmt: skip
TARGETS = {
    "help", "setup", "start", "stop", "restart", "status", "test", "logs", "clean", "demo",
    "minio-buckets", "minio-upload-sample", "minio-verify", "minio-console",
    "airflow-cli", "airflow-logs", "airflow-test-dag", "airflow-connections", "airflow-reset",
    "install", "install-dev", "dev-setup", "venv-info", "run-api", "run-lineage-consumer", "run-otel-consumer",
    "format", "lint", "fix", "check", "test-pipeline",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((repository / "docker-compose.yml").read_text())
    return found


@pytest.fixture(scope="module")
def services(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model["services"]
    return found


def test_the_services_are_those_of_the_platform(services: dict[str, dict[str, Any]]) -> None:
    assert services.keys() == ONCE | LONG_RUNNING
    for name, service in services.items():
        assert service.get("profiles", []) == [profile for profile, own in PROFILES.items() if name in own], name


def test_profiles_are_found_by_what_needs_them() -> None:
    settings = StackSettings(_env_file=None, compose_profiles="lineage,observability")  # type: ignore[call-arg]
    told = environment(settings)
    assert told["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:29092"
    assert told["TELEMETRY_URL"] == "http://platform:clickhouse@clickhouse:8123/telemetry"
    assert told["MARQUEZ_URL"] == "http://marquez:5000"
    own = settings.model_copy(update={"kafka_bootstrap_servers": "elsewhere:9092", "compose_profiles": "lineage"})
    assert environment(own)["KAFKA_BOOTSTRAP_SERVERS"] == "elsewhere:9092"
    assert environment(own)["TELEMETRY_URL"] == ""
    with pytest.raises(ValidationError, match="'linage' is no profile: use lineage, observability"):
        StackSettings(_env_file=None, compose_profiles="linage")  # type: ignore[call-arg]


def test_what_runs_on_has_a_health_check_and_comes_back(services: dict[str, dict[str, Any]]) -> None:
    for name in LONG_RUNNING:
        # The collector's image has nothing to ask with; whoever needs what it collects asks it.
        assert services[name]["healthcheck"].get("test") or name == "otel-collector", name
        assert services[name]["restart"] == "unless-stopped", name
    for name in ONCE:
        assert services[name]["restart"] == "no", name


def test_every_service_is_limited_and_unprivileged(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["mem_limit"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["logging"]["options"]["max-size"], name
        assert not service.get("privileged"), name


def test_every_limit_says_why(repository: Path) -> None:
    lines = (repository / "docker-compose.yml").read_text().splitlines()
    limits = [number for number, line in enumerate(lines) if line.strip().startswith("mem_limit:")]
    # The consumers and Marquez' two web pages have theirs by an anchor or each; none is without.
    assert len(limits) == len(ONCE | LONG_RUNNING) - len({"platform-web"})
    unexplained = [lines[number] for number in limits if "#" not in lines[number] + lines[number - 1]]
    assert not unexplained


def test_ports_are_on_loopback_unless_told_otherwise(services: dict[str, dict[str, Any]]) -> None:
    ports = {port for service in services.values() for port in service.get("ports", ())}
    published = {9092: 9092, 5000: 5000, 3000: 3000, 3002: 3000, 8123: 8123, 3001: 3000, 9090: 9090, 4318: 4318}
    published |= {port: port for port in (5432, 9000, 9001, 8000, 8080, 8088)}
    assert {re.sub(r"\$\{\w+:-(\d+)\}", r"\1", port) for port in ports} == {
        f"${{BIND_ADDRESS:-127.0.0.1}}:{outside}:{inside}" for outside, inside in published.items()
    }


def test_what_a_service_waits_for_is_ready_and_not_only_there(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how == {"condition": wanted}, f"{name} → {needed}"
    waits = {name for name, service in services.items() if service.get("depends_on")}
    assert services.keys() - waits == {"postgres", "minio", "kafka", "clickhouse", "otel-collector", "prometheus"}


def test_images_are_pinned_and_can_be_replaced(repository: Path, services: dict[str, dict[str, Any]]) -> None:
    names = []
    for service in services.values():
        arguments = service.get("build", {}).get("args", {})
        names += [value for name, value in arguments.items() if name.endswith("_IMAGE")]
        if not service["image"].startswith("dataplatform-"):
            names.append(service["image"])
    pinned = re.compile(r"\$\{[A-Z_]+_IMAGE:-([a-z0-9/-]+):[\w.-]*\d[\w.-]*\}")
    assert {match[1] if (match := pinned.fullmatch(name)) else name for name in names} == {
        "postgres", "pgsty/silo", "apache/airflow", "apache/superset", "python", "apache/kafka",
        "marquezproject/marquez", "marquezproject/marquez-web", "clickhouse/clickhouse-server", "grafana/grafana",
        "prom/prometheus", "otel/opentelemetry-collector", "prometheuscommunity/postgres-exporter",
    }  # fmt: skip
    built = {service["image"] for service in services.values() if "build" in service}
    platform = {service["image"] for service in services.values() if "profiles" not in service}
    assert platform - built == {"${POSTGRES_IMAGE:-postgres:17}"}


def test_volumes_are_named_or_of_this_repository(model: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.rsplit(":/", 1)[0]
            named, own = source in model["volumes"], source.startswith(("./", "${")) and volume.endswith(":ro")
            assert named or own, f"{name}: {volume}"


def test_every_variable_is_documented(repository: Path) -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (repository / "docker-compose.yml").read_text()))
    documented = set(re.findall(r"^([A-Z_]+)=", (repository / ".env.example").read_text(), re.MULTILINE))
    # Made of the ports, the address and the profiles that are.
    assert used - documented == {"AIRFLOW_URL", "SUPERSET_URL", "AIRFLOW_METRICS"}


def test_both_stacks_fill_in_the_same_connections(repository: Path, services: dict[str, dict[str, Any]]) -> None:
    text = (repository / "pipelines" / "config" / "connections.yaml").read_text()
    words = set(re.findall(r"\$\{(\w+)\}", text.split("connections:", 1)[1]))
    assert words <= services["airflow-init"]["environment"].keys()
    assert words <= connection_values(StackSettings(_env_file=None)).keys()  # type: ignore[call-arg]


def test_dockerfiles_bring_no_compiler_and_name_no_registry(repository: Path) -> None:
    files = sorted((repository / "infrastructure").glob("*/Dockerfile"))
    assert [file.parent.name for file in files] == ["airflow", "metadata", "minio", "superset"]
    for file in files:
        text = file.read_text()
        assert "# syntax" not in text, file
        assert not re.search(r"apt-get|\bgcc\b|build-essential|index-url|[a-z]\.(io|com|org)/", text), file
        last = [line.split()[1] for line in text.splitlines() if line.startswith("USER ")][-1]
        assert last not in ("0", "root"), file


def pins(path: Path) -> dict[str, set[str]]:
    """Return the version and the hashes of each requirement of a lock."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)==(\S+)", line):
            found[match[1]] = {match[2]}
            hashes = found[match[1]]
        elif match := re.match(r" +--hash=(\S+)", line):
            hashes.add(match[1])
    return found


@pytest.mark.parametrize("image", ["airflow", "metadata"])
def test_an_images_requirements_are_a_slice_of_the_platforms_lock(repository: Path, image: str) -> None:
    lock = pins(repository / "requirements" / "platform.txt")
    part = pins(repository / "infrastructure" / image / "requirements.txt")
    assert part == {name: lock[name] for name in part}
    assert len(part) > 20


def test_help_lists_every_target(repository: Path) -> None:
    command = [shutil.which("make") or "make", "--no-print-directory", "help"]
    told = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    listed = re.findall(r"^\s+\x1b\[1m([a-z-]+)\s*\x1b\[0m (\S.*)$", told.stdout, re.MULTILINE)
    assert dict(listed).keys() >= TARGETS
    defined = set(re.findall(r"^([a-z][a-z-]*):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert defined - dict(listed).keys() == {"installed"}


def dp(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `dp` where nothing is up."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "dp"), *arguments],
        env={**os.environ, "DP_HOME": str(tmp_path), "STACK": "local", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "restart", "test-pipeline", "run-api", "run-consumer lineage", "run-consumer otel",
        "minio buckets", "minio upload-sample", "minio verify", "minio console",
        "airflow cli version", "airflow connections", "airflow reset --yes",
    ],
)  # fmt: skip
def test_where_nothing_is_up_a_command_says_what_starts_it(tmp_path: Path, command: str) -> None:
    done = dp(tmp_path, *command.split())
    assert done.returncode == 1
    assert "no stack is up" in done.stderr
    assert "make start" in done.stderr
    assert "make up" in done.stderr


def test_without_docker_start_says_what_to_do(tmp_path: Path) -> None:
    done = dp(tmp_path, "start", STACK="compose", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "Docker is not installed" in done.stderr
    assert "make demo" in done.stderr


def test_without_an_engine_start_says_what_to_do(tmp_path: Path) -> None:
    """Docker's client and plugin are there, as a program of this test's own, and no engine answers."""
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\n[ "$1" = compose ] && exit 0\necho "cannot connect to the daemon" >&2\nexit 1\n')
    client.chmod(0o755)
    done = dp(tmp_path, "start", STACK="compose", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 1
    assert "engine does not answer: cannot connect to the daemon" in done.stderr
    assert "systemctl start docker" in done.stderr
