"""The stages of ingestion as tasks. Everything they do is in pipelines.ingestion; here are arguments and lineage.

Files go from task to task as lists of plain dictionaries (SourceFile, FileOutcome), one list a batch.
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

from pipelines.config.settings import get_settings
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

        contract = self.contract()
        batches = core.plan(core.discover(object_store(self.store_conn_id), contract), contract)
        if not batches:
            raise AirflowSkipException("no file is waiting")
        self.log.info("%d files in %d batches", sum(map(len, batches)), len(batches))
        return [[source.to_dict() for source in batch] for batch in batches]


class IngestFilesOperator(_ContractOperator):
    """Take a batch of files in: check every row, load the good ones, keep the bad ones with their reasons.

    Data, ledger and rejected rows of a file are one transaction; the file is moved out of `incoming/` after it.

    Args:
        files: A batch of SourceFile dictionaries.

    Returns:
        A FileOutcome dictionary for each file; a file that broke its contract says so in `status` and `stage`.
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
        from pipelines.ingestion.model import SourceFile

        # For lineage, which is told beside the task and should not have to ask Airflow for the address.
        self.outcomes, self.namespace = [], warehouse_namespace(self.warehouse_conn_id)
        self.outcomes = core.ingest_batch(
            map(SourceFile.from_dict, self.files),
            self.contract(),
            warehouse_dsn(self.warehouse_conn_id),
            object_store(self.store_conn_id),
            run_id=context["run_id"],
            limits=get_settings().reading_limits,
        )
        for outcome in self.outcomes:
            counts = ", ".join(f"{name} {count:,}" for name, count in outcome.counts.to_dict().items())
            self.log.info("%s: %s %s: %s", outcome.path, outcome.status, outcome.error or "", counts)
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


class FailedFilesOperator(BaseOperator):
    """A failure branch: show the files that failed at a stage. They are in the ledger and out of `incoming/` by then.

    Args:
        files: FileOutcome dictionaries of a batch.
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
        failed = [item for item in self.files or () if item["status"] == "failed" and item["stage"] == self.stage]
        for item in failed:
            self.log.warning("%s: %s; moved to %s", item["path"], item["error"], item["moved_to"])
        if not failed:
            raise AirflowSkipException(f"no file failed at {self.stage}")
        return failed
