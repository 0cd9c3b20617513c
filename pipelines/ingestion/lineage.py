"""OpenLineage events of an ingestion run: the raw folder in, the staged Parquet and the warehouse table out.

Built from the contract and the files' outcomes alone; sending them is the caller's work. Datasets are named by the
OpenLineage naming rules. A folder is one dataset, its files are the input's subset: 10,000 files are not 10,000 nodes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    documentation_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    ownership_dataset,
    schema_dataset,
    tags_dataset,
)
from openlineage.client.generated.base_subset_dataset import InputSubsetInputDatasetFacet, LocationSubsetCondition

from data_quality.contract import Contract
from pipelines.ingestion.columns import duckdb_type, postgres_type
from pipelines.ingestion.model import FileOutcome

PRODUCER = "https://github.com/dataplatform/pipelines"
MAX_LOCATIONS = 1000  # an event stays well below a megabyte

State = Literal["START", "COMPLETE", "FAIL"]


def lineage_event(
    state: State,
    contract: Contract,
    outcomes: Sequence[FileOutcome],
    *,
    run_id: str,
    job: str,
    job_namespace: str,
    warehouse_namespace: str,
    database: str = "warehouse",
    raw_bucket: str = "raw",
    staging_bucket: str = "staging",
    event_time: dt.datetime | None = None,
    run_facets: dict[str, Any] | None = None,
) -> RunEvent:
    """Return a RunEvent of loading a dataset's files.

    Args:
        state: START, COMPLETE or FAIL.
        contract: The dataset's contract: schema, owner, description, tags, PII marks.
        outcomes: The files of the run; may be empty for START.
        run_id: UUID of the run, the same in all its events.
        job: Name of the job, for example `ingest__sales.load`.
        job_namespace: Namespace of the job.
        warehouse_namespace: `postgres://host:port`.
        database: Database of the warehouse.
        raw_bucket: Bucket of the input.
        staging_bucket: Bucket of the staged Parquet.
        event_time: Now unless given.
        run_facets: Further run facets, such as the parent run.
    """
    folder = InputDataset(f"s3://{raw_bucket}", contract.name, facets=_facets(contract, schema=False))
    if outcomes:
        locations = [outcome.path for outcome in outcomes[:MAX_LOCATIONS]]
        folder.inputFacets = {
            "subset": InputSubsetInputDatasetFacet(inputCondition=LocationSubsetCondition(locations=locations)),
            "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                rowCount=sum(outcome.rows_read for outcome in outcomes),
                size=sum(outcome.size for outcome in outcomes),
                fileCount=len(outcomes),
            ),
        }
    staged = OutputDataset(f"s3://{staging_bucket}", contract.name, facets=_facets(contract, types="duckdb"))
    table = OutputDataset(warehouse_namespace, f"{database}.staging.{contract.table}", facets=_facets(contract))
    for output in (staged, table):
        output.facets["columnLineage"] = _column_lineage(contract, folder)
    if outcomes and state != "START":
        loaded = [outcome for outcome in outcomes if outcome.status == "succeeded"]
        changed = sum(outcome.rows_inserted + outcome.rows_updated for outcome in loaded)
        clean = changed + sum(outcome.rows_unchanged for outcome in loaded)
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        staged.outputFacets = {"outputStatistics": statistics(rowCount=clean, fileCount=len(loaded))}
        table.outputFacets = {"outputStatistics": statistics(rowCount=changed)}
    facets = dict(run_facets or {})
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed and state == "FAIL":
        message = "\n".join(f"{outcome.path}: {outcome.stage}: {outcome.error}" for outcome in failed[:20])
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="DATAPLATFORM", jobType="INGESTION")
    return RunEvent(
        eventType=RunState[state],
        eventTime=(event_time or dt.datetime.now(dt.UTC)).isoformat(),
        run=Run(run_id, facets),
        job=Job(job_namespace, job, {"jobType": kind}),
        inputs=[folder],
        outputs=[staged, table],
        producer=PRODUCER,
    )


def _facets(
    contract: Contract, *, schema: bool = True, types: Literal["duckdb", "postgres"] = "postgres"
) -> dict[str, Any]:
    """Return what the contract says of the dataset. Files spell columns as `name`, tables as `column`."""
    name_type = postgres_type if types == "postgres" else duckdb_type
    fields = [
        schema_dataset.SchemaDatasetFacetFields(
            name=column.column if schema else column.name,
            type=name_type(column) if schema else column.logical_type,
            description=column.description or None,
        )
        for column in contract.columns
    ]
    tag = tags_dataset.TagsDatasetFacetFields
    tags = [tag(name, "true", "contract") for name in contract.tags]
    for column in contract.columns:
        names = dict.fromkeys([*column.tags, *(["pii"] if column.is_pii else [])])
        tags += [tag(name, "true", "contract", column.column if schema else column.name) for name in names]
    owner = ownership_dataset.Owner(contract.owner, "OWNER")
    facets: dict[str, Any] = {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        "ownership": ownership_dataset.OwnershipDatasetFacet(owners=[owner]),
        "tags": tags_dataset.TagsDatasetFacet(tags=tags),
    }
    if contract.description:
        facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(description=contract.description)
    return facets


def _column_lineage(contract: Contract, source: InputDataset) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    """Every column comes from the column of its name: ingestion casts and filters, it computes nothing."""
    identity = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY", masking=False)
    return column_lineage_dataset.ColumnLineageDatasetFacet(
        fields={
            column.column: column_lineage_dataset.Fields(
                inputFields=[
                    column_lineage_dataset.InputField(
                        namespace=source.namespace, name=source.name, field=column.name, transformations=[identity]
                    )
                ]
            )
            for column in contract.columns
        }
    )
