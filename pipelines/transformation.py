"""dbt as the platform runs it: what starts a build, the build itself, and its lineage from dbt's artifacts.

No Airflow here. dbt runs as a process of its own: its state is global, and a crash must not end the worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/main/integration/dbt"


class BuildError(Exception):
    """A build that ended with failures: which models and tests, and what they said.

    `of_data` says that tests failed and nothing else did: building again will not help.
    """

    def __init__(self, message: str, *, of_data: bool = False) -> None:
        super().__init__(message)
        self.of_data = of_data


@dataclass(frozen=True)
class NodeResult:
    """What became of one model, test or seed of a build. Status is dbt's: success, pass, fail, error, skipped…"""

    unique_id: str
    kind: str
    name: str
    status: str
    seconds: float
    message: str | None
    failures: int | None

    @property
    def failed(self) -> bool:
        """Whether it broke, as opposed to being skipped because something before it did."""
        return self.status in ("error", "fail", "runtime error")


def run_dbt(
    command: list[str],
    *,
    project: Path,
    target: Path,
    environment: Mapping[str, str],
    echo: Callable[[str], None],
) -> list[NodeResult]:
    """Run dbt and return what became of each node.

    Args:
        command: dbt's arguments, such as `["build", "--select", "fct_sales+"]`.
        project: The dbt project, which holds `profiles.yml` too.
        target: Folder for the artifacts.
        environment: What profiles.yml reads.
        echo: Called with each line that dbt prints.

    Raises:
        BuildError: dbt could not run, or a node failed; the message has every failure.
    """
    target.mkdir(parents=True, exist_ok=True)
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "dbt"), "--no-use-colors", *command),
            *("--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", str(target), "--log-path", str(target / "logs")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        echo(line.rstrip())
    code = process.wait()
    if not results.exists():
        raise BuildError(f"dbt ended with code {code} before it built anything:\n" + "\n".join(lines[-15:]))
    nodes = read_results(target)
    if code != 0:
        failed = [node for node in nodes if node.failed]
        told = [f"{node.kind} {node.name}: {node.message}" for node in failed]
        raise BuildError(
            f"{len(failed)} of {len(nodes)} nodes failed:\n" + "\n".join(told),
            of_data=bool(failed) and all(node.status == "fail" for node in failed),
        )
    return nodes


def read_results(target: Path) -> list[NodeResult]:
    """Return the results that dbt left in its target folder."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    return [
        NodeResult(
            unique_id=result["unique_id"],
            kind=result["unique_id"].split(".", 1)[0],
            name=result["unique_id"].split(".")[2],
            status=result["status"],
            seconds=result["execution_time"],
            message=result.get("message"),
            failures=result.get("failures"),
        )
        for result in results
    ]


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
    tables: dict[str, Any] = {}
    with _environment_variables(environment):
        events = list(processor.parse().events())
    for event in events:
        for output in event.outputs or ():
            tables[output.name.rsplit(".", 1)[-1]] = output
            _drop_unknown_columns(output, {dataset.name for dataset in event.inputs or ()})
    manifest = json.loads((target / "manifest.json").read_text())
    return [*events, *_dashboard_events(manifest, tables, namespace, dashboards)]


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
        field.inputFields = [column for column in field.inputFields if column.name in inputs]


def _dashboard_events(
    manifest: dict[str, Any], tables: dict[str, Any], namespace: str, dashboards: str
) -> Iterator[Any]:
    import datetime as dt

    from openlineage.client.event_v2 import InputDataset, Job, JobEvent, OutputDataset
    from openlineage.client.facet_v2 import documentation_dataset, job_type_job, ownership_dataset

    for exposure in manifest["exposures"].values():
        reads = [tables[node.split(".")[2]] for node in exposure["depends_on"]["nodes"] if node.split(".")[2] in tables]
        if not reads:
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
            inputs=[InputDataset(namespace=table.namespace, name=table.name) for table in reads],
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
