"""`dp dbt`: dbt by hand, on the stack's warehouse as the role transformer."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg

from dataplatform_cli.display import err
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.supervisor import clean_environment

WRITING = ("build", "run", "seed", "snapshot", "retry", "clone", "run-operation")
"""Commands of dbt that write tables."""


def run_dbt(settings: StackSettings, arguments: list[str]) -> int:
    """Run dbt with the given arguments, its sources those of the contracts, and return its exit code."""
    from data_quality.contract import load_contracts
    from pipelines.sources import current_project
    from pipelines.transformation.builds import lock_builds, note_by_hand

    # Apart from what Airflow's builds leave, which the demo and lineage read.
    work = settings.home / "dbt" / "by-hand"
    project = str(current_project(load_contracts(settings.contracts), settings.root / "transformations", work))
    environment = {
        "WAREHOUSE_HOST": settings.loopback,
        "WAREHOUSE_PORT": str(settings.postgres_port),
        "WAREHOUSE_USER": "transformer",
        "WAREHOUSE_PASSWORD": settings.password("transformer"),
        "SUPERSET_URL": settings.superset_url,
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
        "DBT_TARGET_PATH": str(work),
        "DBT_LOG_PATH": str(work),
    }
    command = [str(Path(sys.executable).parent / "dbt"), *arguments]
    with ExitStack() as turn:
        if any(word in WRITING for word in arguments):
            connection = turn.enter_context(psycopg.connect(settings.dsn("transformer"), autocommit=True))
            # Airflow's builds write the same tables.
            lock_builds(connection, lambda: err.print("waiting for the build that is at work …"))
            note_by_hand(connection)
        return subprocess.run(command, env=clean_environment(environment), check=False).returncode
