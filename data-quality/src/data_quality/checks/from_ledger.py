"""The check that a dataset's table holds what the file ledger says was loaded into it."""

from __future__ import annotations

from data_quality.checks.model import Check, Severity, Threshold, quoted
from data_quality.checks.rules import Query
from data_quality.contract import Contract

_COUNTED = """
WITH held AS (SELECT _file_id AS file_id, count(*) AS rows FROM {table} GROUP BY _file_id)
SELECT coalesce(held.file_id, ledger.id) AS file_id, held.rows, ledger.path, ledger.rows_inserted, ledger.rows_updated
FROM held
FULL JOIN (SELECT * FROM audit.file_ingestion_log WHERE dataset = {dataset} AND status = 'succeeded') AS ledger
ON held.file_id = ledger.id
WHERE ledger.id IS NULL OR coalesce(held.rows, 0) {differs}
"""


def check_from_ledger(contract: Contract, schema: str = "staging") -> Check:
    """Return the check that every row of a table is of a file that was loaded, and of none more than was counted.

    Where rows are appended they are as many as were counted; in the other modes later files take rows' places.
    """
    exact = contract.ingest.write == "append"
    failing = _COUNTED.format(
        table=f"{quoted(schema)}.{quoted(contract.table)}",
        dataset="'" + contract.name.replace("'", "''") + "'",
        differs="!= ledger.rows_inserted" if exact else "> ledger.rows_inserted + ledger.rows_updated",
    ).strip()
    return Check(
        name=f"{contract.table}_agrees_with_ledger",
        schema=schema,
        table=contract.table,
        threshold=Threshold("mustBe", 0),
        severity=Severity.CRITICAL,
        dimension="consistency",
        description="Every row is of a file that the ledger has as loaded, and of none more than it counted.",
        rule=Query(f"SELECT count(*) FROM (\n{failing}\n) AS failing", failing),
    )
