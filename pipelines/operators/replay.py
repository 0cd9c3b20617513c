"""Failed files and rejected rows, taken in again after something was mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.config.settings import get_settings
from pipelines.utils.connections import MINIO, WAREHOUSE_LOADER, object_store, warehouse_dsn

if TYPE_CHECKING:
    from airflow.sdk import Context

    from data_quality.contract import Contract


class _ReplayOperator(BaseOperator):
    """What both share: which dataset, which files of it.

    Args:
        contracts: Folder of the contracts.
        dataset: Name of a dataset; every one where it is empty.
        match: Shell pattern for the files' names.
    """

    template_fields: Sequence[str] = ("dataset", "match")
    ui_color = "#d9ead3"

    def __init__(self, *, contracts: str, dataset: str = "", match: str = "*", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.contracts, self.dataset, self.match = contracts, dataset, match

    def chosen(self) -> list[Contract]:
        """Return the contracts of the chosen datasets."""
        from data_quality.contract import load_contracts

        known = {contract.name: contract for contract in load_contracts(Path(self.contracts))}
        if self.dataset and self.dataset not in known:
            raise ValueError(f"there is no contract {self.dataset!r}; known: {', '.join(known)}")
        return [known[self.dataset]] if self.dataset else list(known.values())


class PutBackFailedFilesOperator(_ReplayOperator):
    """Move failed files back to `incoming/`, where their datasets' ingest DAGs take them.

    Args:
        stage: Only what failed at validation, processing or loading; all where it is empty.

    Returns:
        The addresses they have now.

    Raises:
        AirflowSkipException: no file has failed.
    """

    template_fields: Sequence[str] = ("dataset", "match", "stage")

    def __init__(self, *, stage: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage

    def execute(self, context: Context) -> list[str]:
        """Return what was put back."""
        from pipelines.ingestion import core, replay

        store, found = object_store(MINIO), []
        with core.connected(warehouse_dsn(WAREHOUSE_LOADER)) as connection:
            for contract in self.chosen():
                options: dict[str, Any] = {"stage": self.stage or None, "match": self.match}
                for entry in replay.failed_files(connection, contract.name, **options):
                    try:
                        found.append(replay.put_back(entry, store).uri)
                    except replay.NotReplayable as error:
                        self.log.warning("not put back: %s", error)
                    else:
                        self.log.info("%s is back in incoming; it had failed: %s", entry.path, entry.error)
        if not found:
            raise AirflowSkipException("no file has failed")
        return found


class ReplayRejectedRowsOperator(_ReplayOperator):
    """Take rejected rows of loaded files in again, by the contract as it is now.

    Args:
        enabled: False to leave them.

    Returns:
        A FileOutcome dictionary for each file whose rows were replayed.

    Raises:
        AirflowSkipException: no row waits.
    """

    template_fields: Sequence[str] = ("dataset", "match", "enabled")

    def __init__(self, *, enabled: Any = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.enabled = enabled

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return what became of the rows."""
        from pipelines.ingestion import core, replay

        if not self.enabled:
            raise AirflowSkipException("rejected rows are left as they are")
        store, outcomes = object_store(MINIO), []
        limits = get_settings().reading_limits
        with core.connected(warehouse_dsn(WAREHOUSE_LOADER)) as connection:
            for contract in self.chosen():
                for entry in replay.rejected_files(connection, contract.name, match=self.match):
                    try:
                        outcome = replay.replay_rejected(
                            entry, contract, connection, store, run_id=context["run_id"], limits=limits
                        )
                    except replay.NotReplayable as error:
                        self.log.warning("not replayed: %s", error)
                        continue
                    self.log.info("%s: %d rows again: %s", entry.path, outcome.rows_read, outcome.counts)
                    outcomes.append(outcome.to_dict())
        if not outcomes:
            raise AirflowSkipException("no rejected row waits")
        return outcomes
