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


@pytest.fixture
def stack(new_home: Callable[[], Path], free_port: Callable[[], int]) -> Iterator[Stack]:
    """A stack that is taken down, and its data with it, at the end of the test."""
    home = new_home() / "home"
    ports = {f"{name}_port": free_port() for name in ("postgres", "minio", "metadata", "airflow", "superset")}
    settings = StackSettings(dp_home=home, metadata_api_key="test-key", _env_file=None, **ports)  # type: ignore[arg-type, call-arg]
    environment = {
        **os.environ,
        **{name.upper(): str(port) for name, port in ports.items()},
        "STACK": "local",  # whatever this machine runs on Compose is left alone
        "DP_HOME": str(home),
        "METADATA_API_KEY": "test-key",
    }
    made = Stack(home, environment, settings)
    yield made
    made.dp("destroy", "--yes")
