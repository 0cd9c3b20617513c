"""`dp ingest`: the ingestion core by hand, without Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psycopg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dataplatform_cli.airflow_api import AirflowClient
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError, told_by_postgres
from dataplatform_cli.settings import StackSettings
from pipelines.ingestion.model import FileOutcome
from pipelines.utils.naming import staging_uri

if TYPE_CHECKING:
    from data_quality.contract import Contract
    from pipelines.ingestion.objects import ObjectStore

FIELDS = (
    "path", "status", "rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted", "rows_updated",
    "rows_unchanged", "error", "seconds",
)  # fmt: skip
GOOD = ("succeeded", "duplicate")


def ingest_files(settings: StackSettings, files: list[str], contract: str, dsn: str | None) -> list[dict[str, Any]]:
    """Take files in, one after the other, and return what became of each, in the order given.

    Args:
        settings: The stack, for its object store and, where no `dsn` is given, its warehouse.
        files: Local paths or `s3://bucket/key`.
        contract: Path of a contract, or the name of a dataset in data-quality/contracts.
        dsn: libpq URL of the warehouse.

    Raises:
        PlatformError: the contract can't be used, or the warehouse is away.
    """
    chosen = find_contract(settings, contract)
    target = dsn or settings.dsn("loader")
    store = object_store(settings) if any(file.startswith("s3://") for file in files) else None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    run_id = str(uuid4())
    outcomes = []
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("ingesting", total=len(files))
        for file in files:
            progress.update(task, description=Path(file).name)
            outcomes.append(_ingest_one(file, chosen, target, store, run_id))
            progress.advance(task)
    if dsn is None:  # the stack is told of its own warehouse only
        report(settings, chosen, [outcome for outcome in outcomes if isinstance(outcome, FileOutcome)], run_id)
    return [told(file, outcome) for file, outcome in zip(files, outcomes, strict=True)]


def find_contract(settings: StackSettings, given: str) -> Contract:
    """Return the contract of a path or of a dataset's name.

    Raises:
        PlatformError: there is none, or it can't be used.
    """
    from data_quality.contract import ContractError, load_contract, load_contracts

    if Path(given).is_file():
        try:
            return load_contract(Path(given))
        except ContractError as error:
            raise PlatformError(str(error)) from error
    known = {contract.name: contract for contract in load_contracts(settings.contracts)}
    if given not in known:
        raise PlatformError(f"there is no contract '{given}'", f"give a file, or one of: {', '.join(known)}")
    return known[given]


def print_outcomes(outcomes: list[dict[str, Any]]) -> None:
    """Print a table of what became of each file."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("file", "outcome", "read", "rejected", "dedup", "inserted", "updated", "unchanged", "s"):
        table.add_column(name, justify="left" if name in ("file", "outcome") else "right")
    for item in outcomes:
        colour = "green" if item["status"] == "succeeded" else "yellow" if item["status"] == "duplicate" else "red"
        counts = [f"{item[name]:,}" for name in FIELDS if name.startswith("rows_")]
        seconds = f"{item['seconds']:.1f}"
        table.add_row(Path(item["path"]).name, f"[{colour}]{item['status']}[/]", *counts, seconds)
    out.print(table)
    for item in outcomes:
        if item["error"]:
            out.print(f"[red]{Path(item['path']).name}[/]: ", end="")
            out.print(item["error"], markup=False, soft_wrap=True)


def _ingest_one(
    file: str, contract: Contract, dsn: str, store: ObjectStore | None, run_id: str
) -> FileOutcome | OSError:
    """Return what became of a file, or why it could not be opened."""
    from pipelines.ingestion import core

    try:
        return core.ingest_file(file, contract, dsn, store, run_id=run_id)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        return error
    except psycopg.OperationalError as error:
        raise told_by_postgres(error) from error


def told(file: str, outcome: FileOutcome | OSError) -> dict[str, Any]:
    """Return what is told of a file: its outcome, or why it could not be opened."""
    if isinstance(outcome, OSError):
        facts: dict[str, Any] = {"status": "failed", "error": f"{outcome.strerror or outcome}: {file}", "seconds": 0.0}
    else:
        facts = outcome.to_dict()
    counts = {name: facts.get(name, 0) for name in FIELDS if name.startswith("rows_")}
    return {"path": file, "status": facts["status"], **counts, "error": facts["error"], "seconds": facts["seconds"]}


def report(settings: StackSettings, contract: Contract, outcomes: list[FileOutcome], run_id: str) -> None:
    """Tell the metadata service of a load, and Airflow, which builds what depends on the table."""
    _report_lineage(settings, contract, outcomes, run_id)
    if any(outcome.counts.rows_inserted + outcome.counts.rows_updated for outcome in outcomes):
        _start_build(settings, contract)


def _start_build(settings: StackSettings, contract: Contract) -> None:
    try:
        known = AirflowClient(settings).update_asset(staging_uri(contract.table))
    except httpx.HTTPError:
        known = False
    if not known:
        err.print(f"[dim]Airflow was not told: what is built of staging.{contract.table} follows with its next file[/]")


def _report_lineage(settings: StackSettings, contract: Contract, outcomes: list[FileOutcome], run_id: str) -> None:
    """Tell the metadata service; where it is away, the event waits in the spool."""
    from data_lineage_hub_sdk import spool
    from data_lineage_hub_sdk.transport import client_from
    from dataplatform_cli.stack.kinds import warehouse_namespace
    from pipelines.ingestion.lineage import lineage_event

    if not outcomes:
        return
    loaded = any(outcome.status in GOOD for outcome in outcomes)
    event = lineage_event(
        "COMPLETE" if loaded else "FAIL",
        contract,
        outcomes,
        run_id=run_id,
        job=f"ingest.{contract.name}",
        job_namespace="dp",
        warehouse_namespace=warehouse_namespace(settings),
    )
    key = settings.metadata_api_key.get_secret_value()
    waiting = str(settings.home / "lineage-spool")
    client_from(settings.metadata_url, key, waiting).emit(event)
    if spool.pending(waiting):  # from a time when the service was away; nothing else may come to send it
        spool.drain(waiting, settings.metadata_url, key)


def object_store(settings: StackSettings) -> ObjectStore:
    """Return the stack's buckets."""
    from dataplatform_cli.stack.s3 import client
    from pipelines.ingestion.objects import ObjectStore

    return ObjectStore(client(settings))
