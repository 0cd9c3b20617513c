"""The kit's fixtures, which pytest finds by the entry point `pytest11` of the installed package.

`airflow_environment` says which Airflow the tests run in, and so which services: this process' environment, unless a
conftest.py defines the fixture anew. The repository's own starts Postgres and S3 in a scratch folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from pipelines.testing.running import Run


@pytest.fixture(scope="session")
def airflow_environment() -> dict[str, str]:
    """Environment variables of the Airflow to test in. Its database has been migrated, its connections are made."""
    return {}


@pytest.fixture(scope="module")
def airflow(airflow_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Airflow in this process, for the length of a module."""
    from pipelines.config.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        for name, value in airflow_environment.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        yield airflow_environment
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def load_dag(airflow: Any) -> Callable[..., DAG]:
    """A function that returns the DAG of a file: `load_dag(path, dag_id=None)`."""
    from pipelines.testing.loading import load_dag

    return load_dag


@pytest.fixture(scope="module")
def run_dag(airflow: Any) -> Callable[..., Run]:
    """A function that runs a DAG in this process: `run_dag(dag, **conf)`, see `pipelines.testing.Run`."""
    from pipelines.testing.running import run

    return lambda dag, **conf: run(dag, conf)


@pytest.fixture(scope="module")
def assert_good_dag(airflow: Any) -> Callable[..., None]:
    """A function that fails the test for anything `dp dag check` finds: `assert_good_dag(path, allow=("no-tags",))`."""
    from pipelines import dag_checks
    from pipelines.config.settings import get_settings

    package = get_settings().platform_root / "pipelines"

    def check(file: str | Path, allow: tuple[str, ...] = ()) -> None:
        known = dag_checks.known_to_the_platform(package / "config" / "connections.yaml")
        report = dag_checks.check([Path(file)], package / "dags", known, isolated=False)
        found = [str(finding) for finding in report.findings if finding.rule not in allow]
        assert not found, "\n".join(found)  # noqa: S101 - what a test calls

    return check
