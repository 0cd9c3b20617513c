"""DAG files as Airflow reads them: imported by its own importer, with the platform's policy applied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.dag_processing.dagbag import DagBag

if TYPE_CHECKING:
    from airflow.sdk import DAG


def load_dags(file: str | Path) -> dict[str, DAG]:
    """Return the DAGs of a file by id.

    Raises:
        AssertionError: there is no such file, it can't be imported, or it has no DAG; the message says why.
    """
    file = Path(file).resolve()
    if not file.is_file():
        raise AssertionError(f"there is no DAG file {file}")
    bag = DagBag(file, safe_mode=False)
    if bag.import_errors:
        raise AssertionError("\n".join(bag.import_errors.values()))
    if not bag.dags:
        raise AssertionError(f"{file} has no DAG: is its function called?")
    return dict(bag.dags)


def load_dag(file: str | Path, dag_id: str | None = None) -> DAG:
    """Return the DAG of a file; of one that has several, the one named.

    Raises:
        AssertionError: as `load_dags`; or it is unclear which.
    """
    dags = load_dags(file)
    if dag_id is None and len(dags) == 1:
        return next(iter(dags.values()))
    if dag_id not in dags:
        raise AssertionError(f"{file} has the DAGs {', '.join(sorted(dags))}, not {dag_id}")
    return dags[dag_id]
