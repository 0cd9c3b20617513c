"""DAGs made from declarations: one ingest DAG for every data contract.

discover ─▶ batch[…] ( ingest ─▶ validation_failed, processing_failed, loading_failed ) ─▶ publish
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.assets import arriving_files, staging_table
from pipelines.operators.ingestion import (
    DiscoverFilesOperator,
    FailedFilesOperator,
    IngestFilesOperator,
)
from pipelines.utils.connections import WAREHOUSE_LOADER, warehouse_dsn
from pipelines.utils.defaults import default_args

if TYPE_CHECKING:
    from data_quality.contract import Contract


def ingest_dags(contracts: Path) -> Iterator[DAG]:
    """Yield the ingest DAG of every contract in a folder.

    A contract that can't be used has no DAG, and the others have theirs: `contract_problems` tells of it.
    """
    from data_quality.contract import load_contracts

    for contract in load_contracts(contracts).contracts:
        yield ingest_dag(contract)


def contract_problems(contracts: Path) -> str:
    """Return what is wrong with the contracts of a folder, one problem a line; empty where nothing is."""
    from data_quality.contract import load_contracts

    return "\n".join(str(problem) for problem in load_contracts(contracts).problems)


def ingest_dag(contract: Contract) -> DAG:
    """Return the DAG that takes a dataset's files from `incoming/` into its staging table."""
    common = {"contract_path": contract.path}

    @dag(
        dag_id=f"ingest__{contract.name}",
        schedule=[arriving_files(contract)],
        # One run at a time: files that arrive meanwhile are the next run's.
        max_active_runs=1,
        catchup=False,
        tags=["ingest", contract.domain, *contract.tags],
        default_args=default_args(owner=contract.owner),
        doc_md=f"{contract.description}\n\nContract: `{Path(contract.path).name}`, version {contract.version}.",
    )
    def ingest() -> None:
        discover = DiscoverFilesOperator(task_id="discover", **common)

        @task_group(group_id="batch")
        def batch(files: Any) -> Any:
            ingest = IngestFilesOperator(task_id="ingest", files=files, pool="warehouse_load", **common)
            for stage in ("validation", "processing", "loading"):
                FailedFilesOperator(task_id=f"{stage}_failed", files=ingest.output, stage=stage)
            return ingest.output

        # It runs whatever became of the batches: what one of them loaded is there, even where another failed.
        @task(outlets=[staging_table(contract.table)], trigger_rule="all_done")
        def publish(batches: Any) -> dict[str, int]:
            """Tell what depends on the table that it changed, where it did, and its owner of files that failed."""
            outcomes = list(_flattened(batches))
            _report(contract, outcomes)
            outcomes = [outcome for outcome in outcomes if outcome["status"] != "failed"]
            changed = sum(outcome["rows_inserted"] + outcome["rows_updated"] for outcome in outcomes)
            if not changed:
                raise AirflowSkipException("the table is as it was")
            return {"files": len(outcomes), "rows_changed": changed}

        publish(batch.expand(files=discover.output))

    return ingest()


def _report(contract: Contract, outcomes: list[dict[str, Any]]) -> None:
    from pipelines.alerts import report_outcomes
    from pipelines.ingestion.model import FileOutcome

    run = get_current_context()["dag_run"]
    told = [FileOutcome.from_dict(outcome) for outcome in outcomes]
    report_outcomes(contract, told, run_id=run.run_id, dag_id=run.dag_id, dsn=warehouse_dsn(WAREHOUSE_LOADER))


def _flattened(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the dictionaries in lists of lists: Airflow hands on one batch's list as it is, several as a list."""
    if isinstance(value, dict):
        yield value
        return
    for item in value or ():
        yield from _flattened(item)
