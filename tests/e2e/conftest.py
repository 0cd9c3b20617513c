"""The whole platform in a scratch folder, started by `dp demo` once for all end-to-end tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.s3 import client

DP = Path(sys.executable).parent / "dp"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class Platform:
    """A running platform and what `dp demo --json` said of it."""

    settings: StackSettings
    contracts: Path
    environment: dict[str, str]
    facts: dict[str, Any]
    output: str

    def dp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dp` against this platform."""
        return subprocess.run([str(DP), *arguments], env=self.environment, capture_output=True, text=True, check=False)

    def rows(self, query: str, role: str = "loader") -> list[tuple[Any, ...]]:
        """Return what a query on the warehouse answers."""
        with psycopg.connect(self.settings.dsn(role)) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type, unused-ignore]

    @property
    def s3(self) -> Any:
        """A boto3 client of its object store."""
        return client(self.settings)


@pytest.fixture(scope="session")
def platform(new_home: Callable[[], Path], free_port: Callable[[], int], repository: Path) -> Iterator[Platform]:
    """The platform after its demo."""
    scratch = new_home()
    contracts = scratch / "contracts"
    shutil.copytree(repository / "data-quality" / "contracts", contracts)
    ports = {f"{name}_port": free_port() for name in ("postgres", "minio", "metadata", "airflow", "superset")}
    places = {"dp_home": scratch / "home", "contracts_dir": contracts}
    environment = {
        **os.environ,
        **{name.upper(): str(value) for name, value in {**ports, **places}.items()},
        "STACK": "local",  # whatever this machine runs on Compose is left alone
        "METADATA_API_KEY": "e2e-key",
    }
    settings = StackSettings(metadata_api_key="e2e-key", _env_file=None, **ports, **places)  # type: ignore[arg-type, call-arg]
    done = subprocess.run([str(DP), "demo", "--json"], env=environment, capture_output=True, text=True, check=False)
    try:
        assert done.stdout, f"dp demo ended with {done.returncode}: {done.stderr}"
        yield Platform(settings, contracts, environment, json.loads(done.stdout), done.stderr)
    finally:
        subprocess.run([str(DP), "destroy", "--yes"], env=environment, capture_output=True, check=False)


@pytest.fixture(scope="session")
def page() -> Iterator[Any]:
    """A page of a headless Chromium, 1400 by 1200."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine: scripts/install-browser.sh installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(BROWSER_FLAGS))
        yield browser.new_page(viewport={"width": 1400, "height": 1200})
        browser.close()
