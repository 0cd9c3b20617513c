"""A scratch stack for the tests that start one: ports of its own, data in a scratch folder, driven by `dp` itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataplatform_cli.settings import StackSettings

DP = Path(sys.executable).parent / "dp"


@dataclass(frozen=True)
class Stack:
    """A stack of the test's own."""

    home: Path
    environment: dict[str, str]
    settings: StackSettings

    def dp(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `dp` with this stack's settings."""
        environment = {**self.environment, **more}
        return subprocess.run([str(DP), *arguments], env=environment, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what `dp status --json` says, by service."""
        return {item["name"]: item for item in json.loads(self.dp("status", "--json").stdout)["services"]}


# Keys of the tests' own, so that no test depends on this checkout's .env, or changes it.
KEYS = {
    "METADATA_API_KEY": "test-key",
    "AIRFLOW_FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "AIRFLOW_JWT_SECRET": "test-jwt-secret-" * 4,
    "SUPERSET_SECRET_KEY": "test-superset-secret",
}


@pytest.fixture
def new_stack(new_home: Callable[[], Path], free_port: Callable[[], int]) -> Iterator[Callable[[], Stack]]:
    """Give stacks that are taken down, and their data with them, at the end of the test."""
    made: list[Stack] = []

    def make() -> Stack:
        home = new_home() / "home"
        ports = {f"{name}_port": free_port() for name in ("postgres", "minio", "metadata", "airflow", "superset")}
        keys = {name.lower(): key for name, key in KEYS.items()}
        settings = StackSettings(stack="local", dp_home=home, _env_file=None, **keys, **ports)  # type: ignore[arg-type, call-arg]
        environment = {
            **os.environ,
            **{name.upper(): str(port) for name, port in ports.items()},
            "STACK": "local",  # whatever this machine runs on Compose is left alone
            "DP_HOME": str(home),
            **KEYS,
        }
        made.append(Stack(home, environment, settings))
        return made[-1]

    yield make
    for one in made:
        one.dp("destroy", "--yes")


@pytest.fixture
def stack(new_stack: Callable[[], Stack]) -> Stack:
    """A stack of the test's own."""
    return new_stack()
