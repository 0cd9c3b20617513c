"""What the catalog is told of a dataset before any file has come: its folder, its staged Parquet, its table.

The facets are those of the ingestion's own lineage (`pipelines.ingestion.lineage`), so a first load changes nothing of
what the catalog shows.
"""

from __future__ import annotations

import datetime as dt

from openlineage.client.event_v2 import DatasetEvent, StaticDataset

from data_quality.contract import Contract
from pipelines.ingestion.lineage import PRODUCER, lineage_event


def dataset_events(
    contract: Contract, *, warehouse_namespace: str, database: str = "warehouse", event_time: dt.datetime | None = None
) -> list[DatasetEvent]:
    """Return an event for each place a dataset lies in: schema, owner, description, tags and PII marks.

    Args:
        contract: The dataset's contract.
        warehouse_namespace: `postgres://host:port`.
        database: Database of the warehouse.
        event_time: Now unless given.
    """
    time = (event_time or dt.datetime.now(dt.UTC)).isoformat()
    run = lineage_event(
        "START",
        contract,
        (),
        run_id="00000000-0000-0000-0000-000000000000",
        job=f"ingest.{contract.name}",
        job_namespace="",
        warehouse_namespace=warehouse_namespace,
        database=database,
    )
    return [
        DatasetEvent(
            eventTime=time,
            producer=PRODUCER,
            dataset=StaticDataset(
                dataset.namespace,
                dataset.name,
                # Columns' origins are told by the runs that move them.
                facets={name: facet for name, facet in (dataset.facets or {}).items() if name != "columnLineage"},
            ),
        )
        for dataset in (*(run.inputs or ()), *(run.outputs or ()))
    ]
