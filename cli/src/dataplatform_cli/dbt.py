"""`dp dbt`: dbt by hand, on the stack's warehouse as the role transformer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.supervisor import clean_environment


def run_dbt(settings: StackSettings, arguments: list[str]) -> int:
    """Run dbt with the given arguments and return its exit code."""
    project = str(settings.root / "transformations")
    environment = {
        "WAREHOUSE_HOST": settings.loopback,
        "WAREHOUSE_PORT": str(settings.postgres_port),
        "WAREHOUSE_USER": "transformer",
        "WAREHOUSE_PASSWORD": settings.password("transformer"),
        "SUPERSET_URL": settings.superset_url,
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
        # Apart from what Airflow's builds leave, which the demo and lineage read.
        "DBT_TARGET_PATH": str(settings.home / "dbt" / "by-hand"),
        "DBT_LOG_PATH": str(settings.home / "dbt" / "by-hand"),
    }
    command = [str(Path(sys.executable).parent / "dbt"), *arguments]
    return subprocess.run(command, env=clean_environment(environment), check=False).returncode
