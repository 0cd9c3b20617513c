"""The stages of ingestion as tasks. Everything they do is in pipelines.ingestion; here are arguments and lineage.

Files go from task to task as lists of plain dictionaries (SourceFile, PreparedFile, FileOutcome), one list a batch.
A file that breaks its contract fails alone, as data; a database or bucket that is away fails the task, which is
tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.utils.connections import MINIO, WAREHOUSE_LOADER, object_store, warehouse_dsn, warehouse_namespace

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from data_quality.contract import Contract

Batch = list[dict[str, Any]]


class _ContractOperator(BaseOperator):
    """What the stages share: the contract and the two connections."""

    def __init__(
        self,
        *,
        contract_path: str,
        store_conn_id: str = MINIO,
        warehouse_conn_id: str = WAREHOUSE_LOADER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contract_path = contract_path
        self.store_conn_id = store_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def contract(self) -> Contract:
        """Read the contract as it is now."""
        from data_quality.contract import load_contract

        return load_contract(Path(self.contract_path))


class DiscoverFilesOperator(_ContractOperator):
    """List the files waiting in `raw/<dataset>/incoming/`, oldest first, and plan them into batches.

    Returns:
        One list of SourceFile dictionaries for each batch.

    Raises:
        AirflowSkipException: no file is waiting.
    """

    ui_color = "#cfe2f3"

    def execute(self, context: Context) -> list[Batch]:
        """Return the batches."""
        from pipelines.ingestion import core

        batches = core.plan(core.discover(object_store(self.store_conn_id), self.contract()))
        if not batches:
            raise AirflowSkipException("no file is waiting")
        self.log.info("%d files in %d batches", sum(map(len, batches)), len(batches))
        return [[source.to_dict() for source in batch] for batch in batches]


class PrepareFilesOperator(_ContractOperator):
    """Read a batch of files, check every row against the contract, write the good rows as Parquet to staging.

    Args:
        files: A batch of SourceFile dictionaries.

    Returns:
        A PreparedFile dictionary for each file; a file that broke its contract says so in `status` and `stage`.
    """

    template_fields: Sequence[str] = ("files",)
    ui_color = "#cfe2f3"

    def __init__(self, *, files: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.files = files

    def execute(self, context: Context) -> Batch:
        """Return what became of each file."""
        from pipelines.ingestion import core
        from pipelines.ingestion.model import SourceFile

        contract, store = self.contract(), object_store(self.store_conn_id)
        prepared = []
        with core.connected(warehouse_dsn(self.warehouse_conn_id)) as warehouse:
            for source in map(SourceFile.from_dict, self.files):
                result = core.prepare(source, contract, store, dsn=warehouse)
                reason = f": {result.error}" if result.error else ""
                told = (source.uri, result.status, result.rows_read, result.rows_rejected, reason)
                self.log.info("%s: %s, %d rows read, %d rejected%s", *told)
                prepared.append(result.to_dict())
        return prepared


class LoadFilesOperator(_ContractOperator):
    """Load prepared files into the warehouse: data, ledger and rejected rows of a file in one transaction.

    Then move each loaded file from `incoming/` to `processed/`. What failed before is passed by.

    Args:
        files: A batch of PreparedFile dictionaries.

    Returns:
        A FileOutcome dictionary for each file that was staged or is a duplicate.
    """

    template_fields: Sequence[str] = ("files",)
    ui_color = "#cfe2f3"

    def __init__(self, *, files: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.files = files
        self.outcomes: list[Any] = []
        self.namespace = ""

    def execute(self, context: Context) -> Batch:
        """Return what became of each file."""
        from pipelines.ingestion import core
        from pipelines.ingestion.model import PreparedFile

        # Lineage is told in a fork of this process, which can ask Airflow for nothing: the address is kept from here.
        self.outcomes, self.namespace = [], warehouse_namespace(self.warehouse_conn_id)
        contract, store = self.contract(), object_store(self.store_conn_id)
        run_id = context["run_id"]
        with core.connected(warehouse_dsn(self.warehouse_conn_id)) as warehouse:
            for prepared in map(PreparedFile.from_dict, self.files):
                if prepared.status == "failed":
                    continue
                outcome = core.load(prepared, contract, warehouse, store, run_id=run_id)
                if outcome.status != "failed":
                    outcome = core.settle(outcome, contract, warehouse, store, run_id=run_id)
                counts = (outcome.rows_inserted, outcome.rows_updated, outcome.rows_unchanged)
                told = (outcome.path, outcome.status, *counts)
                self.log.info("%s: %s, %d inserted, %d updated, %d unchanged", *told)
                self.outcomes.append(outcome)
        if not self.outcomes:
            raise AirflowSkipException("no file of this batch is fit to be loaded")
        return [outcome.to_dict() for outcome in self.outcomes]

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the folder the files came from and the table they went to, with rows and columns."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, _: Any) -> OperatorLineage:
        """Name the same on failure, with what had been loaded by then."""
        return self._lineage()

    def _lineage(self) -> OperatorLineage:
        from airflow.providers.openlineage.extractors import OperatorLineage

        from pipelines.ingestion.lineage import lineage_event

        if not self.namespace:  # the task failed before it did anything
            return OperatorLineage()
        event = lineage_event(
            "COMPLETE",
            self.contract(),
            self.outcomes,
            # Airflow's provider knows the run and the job better: only the datasets are taken from here.
            run_id=str(UUID(int=0)),
            job=self.task_id,
            job_namespace="",
            warehouse_namespace=self.namespace,
        )
        return OperatorLineage(inputs=event.inputs, outputs=event.outputs)


class SettleFilesOperator(_ContractOperator):
    """A failure branch: record the files that failed at a stage in the ledger and move them to `failed/`.

    Args:
        files: PreparedFile or FileOutcome dictionaries of a batch; None where the stage before was skipped.
        stage: validation, processing or loading.

    Returns:
        A FileOutcome dictionary for each file that failed at this stage.

    Raises:
        AirflowSkipException: none did.
    """

    template_fields: Sequence[str] = ("files",)
    ui_color = "#f4cccc"

    def __init__(self, *, files: Any, stage: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.files, self.stage = files, stage

    def execute(self, context: Context) -> Batch:
        """Return the files that failed here."""
        from pipelines.ingestion import core
        from pipelines.ingestion.model import FileOutcome, PreparedFile

        contract, store = self.contract(), object_store(self.store_conn_id)
        dsn, run_id = warehouse_dsn(self.warehouse_conn_id), context["run_id"]
        settled = []
        for item in self.files or ():
            if item["status"] != "failed" or item["stage"] != self.stage:
                continue
            if "staged_uri" in item:
                outcome = core.load(PreparedFile.from_dict(item), contract, dsn, store, run_id=run_id)
            else:
                outcome = FileOutcome.from_dict(item)
            outcome = core.settle(outcome, contract, dsn, store, run_id=run_id)
            self.log.warning(
                "%s failed at %s: %s; moved to %s", outcome.path, self.stage, outcome.error, outcome.moved_to
            )
            settled.append(outcome.to_dict())
        if not settled:
            raise AirflowSkipException(f"no file failed at {self.stage}")
        return settled
