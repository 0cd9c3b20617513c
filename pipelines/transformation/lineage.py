"""The lineage of a build: OpenLineage events made of dbt's artifacts, and of the dashboards that its exposures name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/main/integration/dbt"
CANDIDATE, PUBLISHED = "candidate", "curated"


def lineage_events(
    *,
    project: Path,
    target: Path,
    environment: Mapping[str, str],
    namespace: str,
    dashboards: str,
    parent: tuple[str, str, str] | None = None,
) -> list[Any]:
    """Return the OpenLineage events of a build: a run of each model and test, and the dashboards that read them.

    Args:
        project: The dbt project.
        target: Folder of the artifacts.
        environment: What profiles.yml reads: the table names in lineage begin with the warehouse's address.
        namespace: Job namespace.
        dashboards: Dataset namespace of dashboards: `superset://host:port`.
        parent: Run id, job namespace and job name of the run that this build is a part of.
    """
    from openlineage.common.provider.dbt.facets import ParentRunMetadata
    from openlineage.common.provider.dbt.local import DbtLocalArtifactProcessor

    processor = DbtLocalArtifactProcessor(
        project_dir=str(project), target_path=str(target.absolute()), producer=PRODUCER, job_namespace=namespace
    )
    if parent:
        run_id, job_namespace, job_name = parent
        processor.dbt_run_metadata = ParentRunMetadata(run_id=run_id, job_name=job_name, job_namespace=job_namespace)
    with _environment_variables(environment):
        events = list(processor.parse().events())
    for event in events:
        for dataset in (*(event.inputs or ()), *(event.outputs or ())):
            dataset.name = published_name(dataset.name)
        for output in event.outputs or ():
            _drop_unknown_columns(output, {dataset.name for dataset in event.inputs or ()})
    manifest = json.loads((target / "manifest.json").read_text())
    warehouse = next((output.namespace for event in events for output in event.outputs or ()), None)
    return [*events, *(_dashboard_events(manifest, warehouse, namespace, dashboards) if warehouse else ())]


def published_name(name: str) -> str:
    """Return the name by which a table is known: a candidate is the next version of the published one, not another."""
    database, _, rest = name.partition(".")
    schema, dot, table = rest.partition(".")
    return f"{database}.{PUBLISHED}.{table}" if dot and schema == CANDIDATE else name


@contextmanager
def _environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a while: the reader of dbt's artifacts fills in profiles.yml from them, as dbt does."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _drop_unknown_columns(output: Any, inputs: set[str]) -> None:
    """Leave out column edges from names that are no input: the SQL parser takes some CTEs for tables."""
    facet = (output.facets or {}).get("columnLineage")
    for field in facet.fields.values() if facet else ():
        for column in field.inputFields:
            column.name = published_name(column.name)
        field.inputFields = [column for column in field.inputFields if column.name in inputs]


def _dashboard_events(manifest: dict[str, Any], warehouse: str, namespace: str, dashboards: str) -> Iterator[Any]:
    """Yield an event for each exposure with all that it reads, whichever part of it this build has built."""
    import datetime as dt

    from openlineage.client.event_v2 import InputDataset, Job, JobEvent, OutputDataset
    from openlineage.client.facet_v2 import documentation_dataset, job_type_job, ownership_dataset

    for exposure in manifest["exposures"].values():
        read = [manifest["nodes"][node] for node in exposure["depends_on"]["nodes"] if node in manifest["nodes"]]
        if not read:
            continue
        owner = ownership_dataset.Owner(name=exposure["owner"].get("name") or exposure["owner"].get("email"))
        yield JobEvent(
            eventTime=dt.datetime.now(dt.UTC).isoformat(),
            job=Job(
                namespace=namespace,
                name=f"exposure.{exposure['name']}",
                facets={
                    "jobType": job_type_job.JobTypeJobFacet(
                        processingType="BATCH", integration="DBT", jobType="EXPOSURE"
                    )
                },
            ),
            inputs=[
                InputDataset(
                    namespace=warehouse,
                    name=published_name(f"{node['database']}.{node['schema']}.{node['alias']}"),
                )
                for node in read
            ],
            outputs=[
                OutputDataset(
                    namespace=dashboards,
                    name=f"dashboard/{exposure['name']}",
                    facets={
                        "documentation": documentation_dataset.DocumentationDatasetFacet(
                            description=exposure["description"]
                        ),
                        "ownership": ownership_dataset.OwnershipDatasetFacet(owners=[owner]),
                    },
                )
            ],
            producer=PRODUCER,
        )
