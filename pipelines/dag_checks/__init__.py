"""What is wrong with DAG files: `dp dag check`, and `assert_good_dag` of `pipelines.testing`.

Three looks, one list of findings. Nothing of the platform has to run.

  source.py     the text: imports that moved, a start date that moves, calls that name what does not exist
  reading.py    the import, as Airflow does it: errors, time, what it asks the network and Airflow's database for
  declared.py   the DAGs that came of it: owner, tags, ids, connections, pools, schedule
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines.dag_checks.declared import check_read
from pipelines.dag_checks.isolation import read_files as read_isolated
from pipelines.dag_checks.known import Known, known_to_the_platform
from pipelines.dag_checks.model import Finding, ReadFile, Report
from pipelines.dag_checks.reading import read_files
from pipelines.dag_checks.source import check_source

__all__ = ["Finding", "Known", "ReadFile", "Report", "check", "dag_files", "known_to_the_platform"]


def check(paths: Iterable[Path], folder: Path, known: Known, *, isolated: bool = True) -> Report:
    """Return what is wrong with DAG files.

    Args:
        paths: DAG files, or folders of them.
        folder: Airflow's DAG folder: the files' DAGs may not have the id of another there.
        known: The connections and pools that there are.
        isolated: Import the files in a process of their own, with an Airflow that knows nothing. Otherwise in this
            one, which has its Airflow already (tests).

    Raises:
        FileNotFoundError: a path does not exist; the message names it.
        RuntimeError: the importing process ended without an answer: a file ended it, or it took too long.
    """
    chosen = [file for path in paths for file in dag_files(path)]
    others = [path for path in dag_files(folder) if path not in chosen] if folder.is_dir() else []
    read = (read_isolated if isolated else read_files)([*chosen, *others])
    by_path = {item.path: item for item in read}
    findings = []
    for path in chosen:
        text = path.read_text(encoding="utf-8", errors="replace")
        others_read = [item for item in read if item.path != str(path)]
        findings += check_source(path, text, known)
        findings += check_read(by_path[str(path)], text, others_read, known)
    dag_ids = [dag.dag_id for path in chosen for dag in by_path[str(path)].dags]
    return Report([str(path) for path in chosen], dag_ids, _without_repeats(findings))


def dag_files(path: Path) -> list[Path]:
    """Return a file itself, or the Python files of a folder, as absolute paths in their order.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = path.resolve()
    if path.is_dir():
        return sorted(file for file in path.rglob("*.py") if file.name != "__init__.py")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return [path]


def _without_repeats(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings by place, what two looks saw at one line once."""
    unique: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        unique.setdefault((finding.path, finding.line, finding.rule), finding)
    return sorted(unique.values(), key=lambda item: (item.path, item.line, item.rule))
