"""Records as OpenLineage events, built on openlineage-python's classes.

Importing those takes half a second, and making an event of them a quarter of a millisecond: so this module is imported
by the thread that sends, and what stays the same from run to run (job, datasets, the envelope) is made of the classes
once and kept as JSON-ready dictionaries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import attr
from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent, RunState
from openlineage.client.event_v2 import Job as EventJob
from openlineage.client.event_v2 import Run as EventRun
from openlineage.client.generated.base import RunFacet
from openlineage.client.generated.dataset_type_dataset import DatasetTypeDatasetFacet
from openlineage.client.generated.documentation_job import DocumentationJobFacet
from openlineage.client.generated.error_message_run import ErrorMessageRunFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet
from openlineage.client.generated.parent_run import Job as ParentJob
from openlineage.client.generated.parent_run import ParentRunFacet, Root, RootJob, RootRun
from openlineage.client.generated.parent_run import Run as ParentRun
from openlineage.client.generated.storage_dataset import StorageDatasetFacet
from openlineage.client.serde import Serde

from data_lineage_hub_sdk.lineage.datasets import Dataset
from data_lineage_hub_sdk.lineage.runs import Job, Record
from data_lineage_hub_sdk.settings import RunRef

PRODUCER = "https://github.com/dataplatform/data-lineage-hub-sdk"
_MAX_MESSAGE = 10_000
_MAX_STACK = 30_000
_NO_RUN = "00000000-0000-7000-8000-000000000000"


@attr.define
class TelemetryRunFacet(RunFacet):  # type: ignore[misc]
    """The span that covers a run.

    Attributes:
        traceId: 32 hexadecimal digits.
        spanId: 16 hexadecimal digits.
    """

    traceId: str
    spanId: str


def encode_record(record: Record) -> bytes:
    """Return the event's JSON."""
    run = record.run
    facets: dict[str, Any] = {name: to_json(facet) for name, facet in record.facets.items()}
    if run.parent is not None:
        facets["parent"] = _parent(run.parent, run.root)
    if run.trace is not None:
        trace_id, span_id = run.trace
        facets["telemetry"] = _filled("telemetry", {"traceId": f"{trace_id:032x}", "spanId": f"{span_id:016x}"})
    if record.error is not None:
        facets["errorMessage"] = _filled("errorMessage", _error(record))
    event = {
        **_envelope(),
        "eventType": record.state,
        "eventTime": datetime.fromtimestamp(record.nanoseconds / 1e9, timezone.utc).isoformat(timespec="microseconds"),
        "run": {"runId": run.run_id, "facets": facets},
        "job": _job(run.job),
        "inputs": [_dataset(dataset, "input") for dataset in record.inputs],
        "outputs": [_dataset(dataset, "output") for dataset in record.outputs],
    }
    return json.dumps(event, separators=(",", ":"), default=str).encode()


def to_json(thing: Any) -> dict[str, Any]:
    """Return an event, or facet, of openlineage-python or given as a dictionary, as JSON has it."""
    if isinstance(thing, Mapping):
        return dict(thing)
    content: dict[str, Any] = Serde.to_dict(thing)
    return content


@lru_cache(1)
def _envelope() -> dict[str, Any]:
    event = RunEvent(
        eventType=RunState.START,
        eventTime="1970-01-01T00:00:00Z",
        run=EventRun(_NO_RUN),
        job=EventJob("", ""),
        producer=PRODUCER,
    )
    return to_json(event)


@lru_cache(4096)
def _job(job: Job) -> dict[str, Any]:
    facets: dict[str, Any] = {"jobType": JobTypeJobFacet("BATCH", "PYTHON", job.type, producer=PRODUCER)}
    if job.description:
        facets["documentation"] = DocumentationJobFacet(job.description, producer=PRODUCER)
    return to_json(EventJob(job.namespace, job.name, facets))


@lru_cache(16384)
def _dataset(dataset: Dataset, side: str) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if dataset.type:
        facets["datasetType"] = DatasetTypeDatasetFacet(dataset.type.upper(), producer=PRODUCER)
    if dataset.format:
        scheme, is_address, _ = dataset.namespace.partition("://")
        layer = scheme if is_address else dataset.type or "file"
        facets["storage"] = StorageDatasetFacet(layer, dataset.format, producer=PRODUCER)
    made = InputDataset if side == "input" else OutputDataset
    return to_json(made(dataset.namespace, dataset.name, facets=facets))


@lru_cache(4096)
def _parent(parent: RunRef, root: RunRef) -> dict[str, Any]:
    facet = ParentRunFacet(
        run=ParentRun(parent.run_id),
        job=ParentJob(parent.namespace, parent.job),
        root=Root(run=RootRun(root.run_id), job=RootJob(root.namespace, root.job)),
        producer=PRODUCER,
    )
    return to_json(facet)


@lru_cache(4)
def _empty(facet: str) -> dict[str, Any]:
    if facet == "telemetry":
        made: Any = TelemetryRunFacet  # its base's arguments are unknown to type checkers
        return to_json(made(traceId="", spanId="", producer=PRODUCER))
    return to_json(ErrorMessageRunFacet(message="", programmingLanguage="python", producer=PRODUCER))


def _filled(facet: str, content: Mapping[str, str]) -> dict[str, Any]:
    return {**_empty(facet), **content}


def _error(record: Record) -> dict[str, str]:
    error = record.error
    if error is None:
        return {}
    message = "".join(error.format_exception_only()).strip()
    stack = "".join(error.format())
    if len(stack) > _MAX_STACK:  # the last frames are where it broke
        stack = f"…{stack[-_MAX_STACK:]}"
    return {"message": message[:_MAX_MESSAGE], "stackTrace": stack}
