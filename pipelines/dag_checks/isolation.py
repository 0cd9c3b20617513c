"""Importing DAG files in a process of their own: they may end it, hang it, or leave things behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipelines.dag_checks.model import ReadFile

SECONDS = 120


def read_files(paths: Iterable[Path]) -> list[ReadFile]:
    """Import DAG files as Airflow does, with an Airflow that has no database and no connection.

    Raises:
        RuntimeError: the process ended without an answer; the message says why.
    """
    with tempfile.TemporaryDirectory(prefix="dag-check-") as home:
        answer = Path(home) / "read.json"
        command = [sys.executable, "-m", "pipelines.dag_checks", str(answer), *map(str, paths)]
        try:
            done = subprocess.run(
                command, env=_environment(Path(home)), capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"importing the files took more than {SECONDS} s") from None
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"the importing process ended with {done.returncode}: {last}")
        return [ReadFile.from_dict(item) for item in json.loads(answer.read_text())]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    configuration = Path(__file__).resolve().parents[2] / "infrastructure" / "airflow" / "airflow.cfg"
    return {
        **kept,
        **({"AIRFLOW_CONFIG": str(configuration)} if configuration.exists() else {}),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/none.db",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "50",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "30",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__OPENLINEAGE__DISABLED": "true",
    }
