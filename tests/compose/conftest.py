"""The platform on Docker Compose, in a project, on ports and with folders of its own, started once for all tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import containers
from dataplatform_cli.stack.containers import Container

DP = Path(sys.executable).parent / "dp"
PORTS = ("postgres", "minio", "minio_console", "metadata", "airflow", "superset")


@dataclass(frozen=True)
class Deployment:
    """A stack of one kind, driven by `dp` with an environment of its own."""

    settings: StackSettings
    environment: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)

    def dp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dp` on this stack."""
        return subprocess.run([str(DP), *arguments], env=self.environment, capture_output=True, text=True, check=False)

    def must(self, *arguments: str) -> str:
        """Run `dp` on this stack and return what it printed."""
        done = self.dp(*arguments)
        assert done.returncode == 0, f"dp {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, query: str, role: str = "loader") -> list[tuple[Any, ...]]:
        """Return what a query on the warehouse answers."""
        with psycopg.connect(self.settings.dsn(role), autocommit=True) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type, unused-ignore]

    def containers(self) -> dict[str, Container]:
        """Return the containers by service."""
        return {item.service: item for item in containers.of_project(self.settings.project)}


@pytest.fixture(scope="session")
def new_deployment(new_home: Callable[[], Path], free_port: Callable[[], int], repository: Path) -> Callable[..., Any]:
    """A function that returns a deployment of a kind: not started, sharing its sample with others of the same home."""
    home = new_home()
    for name, source in (("contracts", "data-quality/contracts"), ("dags", "pipelines/dags")):
        shutil.copytree(repository / source, home / name, ignore=shutil.ignore_patterns("__pycache__"))

    def make(kind: str) -> Deployment:
        chosen: dict[str, Any] = {f"{name}_port": free_port() for name in PORTS}
        chosen |= {"dp_home": home / "home", "contracts_dir": home / "contracts", "dags_dir": home / "dags"}
        chosen |= {"stack": kind, "compose_project_name": f"dataplatform-test-{os.getpid()}", "metadata_api_key": "key"}
        chosen |= {"airflow_jwt_secret": "s" * 64, "superset_secret_key": "s" * 64}
        chosen |= {"airflow_fernet_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
        settings = StackSettings(_env_file=None, **chosen)  # type: ignore[call-arg]
        return Deployment(settings, {**os.environ, **{name.upper(): str(value) for name, value in chosen.items()}})

    return make


@pytest.fixture(scope="session")
def compose(new_deployment: Callable[..., Deployment]) -> Iterator[Deployment]:
    """The platform on Compose after `dp start` and `dp test-pipeline`."""
    if "DP_TEST_COMPOSE" not in os.environ:
        pytest.skip("`make test-compose` runs it")
    deployment = new_deployment("compose")
    try:
        deployment.must("start")
        done = deployment.dp("test-pipeline", "--json")
        assert done.stdout, done.stderr
        yield Deployment(deployment.settings, deployment.environment, json.loads(done.stdout))
    finally:
        deployment.dp("destroy", "--yes")


@pytest.fixture
def local(compose: Deployment, new_deployment: Callable[..., Deployment]) -> Iterator[Deployment]:
    """The local stack, beside the one on Compose and with the same sample, after `dp demo`."""
    deployment = new_deployment("local")
    try:
        done = deployment.dp("demo", "--json")
        assert done.stdout, done.stderr
        yield Deployment(deployment.settings, deployment.environment, json.loads(done.stdout))
    finally:
        deployment.dp("destroy", "--yes")
