"""What Marquez' clients write. As far as OpenLineage has words for it, it becomes an event like any other.

Such an event is stored and projected in the transaction of the request, so the answer shows it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job, Run
from metadata_service.openlineage import RunEvent, read_event
from metadata_service.problems import NotFoundError
from metadata_service.repositories import datasets, marquez
from metadata_service.repositories.events import PROJECTION_LOCK, Stored
from metadata_service.repositories.facets import load_facets
from metadata_service.schemas.catalog import Column
from metadata_service.schemas.catalog import DatasetIn as CatalogIn
from metadata_service.schemas.marquez import DatasetIn, JobIn, RunIn
from metadata_service.services import access, catalog
from metadata_service.services.access import Principal
from metadata_service.services.events import project_events
from metadata_service.services.marquez import listing, registry
from metadata_service.services.marquez.names import find_dataset, find_job
from metadata_service.services.marquez.shapes import OWN_FACET, Shape

PRODUCER = "https://github.com/MarquezProject/marquez"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json"


def put_dataset(session: Session, by: Principal, namespace: str, name: str, given: DatasetIn) -> Shape:
    """Create a dataset, or say anew what it is; as an output of a run, where one is named."""
    tags: list[dict[str, str]] = [{"key": tag, "value": "true"} for tag in given.tags]
    tags += [{"key": tag, "value": "true", "field": field.name} for field in given.fields for tag in field.tags]
    fields = [field.model_dump(include={"name", "type", "description"}, exclude_none=True) for field in given.fields]
    own = given.model_dump(include={"type", "physicalName", "schemaLocation"}, exclude_none=True)
    facets = {
        "schema": _facet(fields=fields),
        "dataSource": _facet(name=given.sourceName, uri=_address(session, by, given.sourceName)),
        "tags": _facet(tags=tags),
        OWN_FACET: _facet(**own),
        **({"documentation": _facet(description=given.description)} if given.description else {}),
    }
    dataset = {"namespace": namespace, "name": name, "facets": facets}
    access.authorize_runs(session, by, [given.runId] if given.runId else [])
    run = session.get(Run, given.runId) if given.runId else None
    job = session.get(Job, run.job_id) if run and run.job_id else None
    if run is not None and job is not None:
        _tell(session, by, _run_event(run.id, job, outputs=[dataset]))
    else:
        _tell(session, by, {"dataset": dataset})
    with access.seen_by(session, by):
        return listing.get_dataset(session, namespace, name)


def put_job(session: Session, by: Principal, namespace: str, name: str, given: JobIn) -> Shape:
    """Create a job, or say anew what it is, reads and writes; in a run, where one is named."""
    kind = "STREAMING" if given.type == "STREAM" else given.type
    facets: dict[str, Any] = {"jobType": _facet(processingType=kind, integration="MARQUEZ", jobType="JOB")}
    if given.description:
        facets["documentation"] = _facet(description=given.description)
    if given.location:
        facets["sourceCodeLocation"] = _facet(type="git", url=given.location)
    sql = next((text for word, text in given.context.items() if word.lower() == "sql"), None)
    if sql:
        facets["sql"] = _facet(query=sql)
    job = {"namespace": namespace, "name": name, "facets": facets}
    sides = {side: [item.model_dump() for item in getattr(given, side)] for side in ("inputs", "outputs")}
    _tell(session, by, {"job": job, **sides})
    if given.runId:
        _tell(session, by, {"eventType": "OTHER", "run": {"runId": given.runId}, "job": job, **sides})
    with access.seen_by(session, by):
        return listing.get_job(session, namespace, name)


def create_run(session: Session, by: Principal, namespace: str, name: str, given: RunIn) -> Shape:
    """Create a run of a job, or add to a known one."""
    job = find_job(session, namespace, name)
    facets: dict[str, Any] = {OWN_FACET: _facet(args=given.args)} if given.args else {}
    if given.nominalStartTime:
        ends = {"nominalEndTime": _zulu(given.nominalEndTime)} if given.nominalEndTime else {}
        facets["nominalTime"] = _facet(nominalStartTime=_zulu(given.nominalStartTime), **ends)
    run_id = given.id or str(uuid4())
    _tell(session, by, _run_event(run_id, job, facets=facets))
    with access.seen_by(session, by):
        return listing.get_run(session, run_id)


def job_of_run(session: Session, run_id: str) -> Job:
    """Return the job of a run.

    Raises:
        NotFoundError: there is no such run, or its job is not known.
    """
    run = session.get(Run, run_id)
    job = session.get(Job, run.job_id) if run and run.job_id else None
    if job is None:
        raise NotFoundError("run", run_id)
    return job


def mark_run(session: Session, by: Principal, run_id: str, event_type: str, at: datetime | None) -> Shape:
    """Start or end a run, as the event of that type does."""
    job = job_of_run(session, run_id)
    access.require_own(by, [job.namespace], NotFoundError("run", run_id))
    _tell(session, by, _run_event(run_id, job, event_type), at)
    with access.seen_by(session, by):
        return listing.get_run(session, run_id)


def tag_dataset(session: Session, by: Principal, namespace: str, name: str, tag: str, field: str | None) -> Shape:
    """Put a tag on a dataset, or on one of its fields."""
    dataset = _find_own(session, by, namespace, name)
    marquez.note_tag(session, tag, datetime.now(UTC))
    if field is None:
        _declare(session, dataset, tags=list(dict.fromkeys([*(dataset.declared.get("tags") or []), tag])))
    else:
        columns = _declared_columns(dataset, field)
        columns[field]["tags"] = list(dict.fromkeys([*(columns[field].get("tags") or []), tag]))
        _declare(session, dataset, schema=list(columns.values()))
    with access.seen_by(session, by):
        return listing.get_dataset(session, namespace, name)


def untag_dataset(session: Session, by: Principal, namespace: str, name: str, tag: str, field: str | None) -> Shape:
    """Take a tag off a dataset, or off one of its fields, whether somebody put it there or an event told of it."""
    dataset = _find_own(session, by, namespace, name)
    told = load_facets(session, "dataset", [str(dataset.id)], ["tags"]).get(str(dataset.id), {}).get("tags", {})
    kept = [item for item in told.get("tags") or () if (item.get("key"), item.get("field")) != (tag, field)]
    if len(kept) != len(told.get("tags") or ()):
        facets = {"tags": told | {"tags": kept}}
        _tell(session, by, {"dataset": {"namespace": dataset.namespace, "name": dataset.name, "facets": facets}})
        session.expire_all()
    if field is None:
        _declare(session, dataset, tags=[own for own in dataset.declared.get("tags") or [] if own != tag])
    else:
        columns = _declared_columns(dataset, field)
        columns[field]["tags"] = [own for own in columns[field].get("tags") or [] if own != tag]
        _declare(session, dataset, schema=list(columns.values()))
    with access.seen_by(session, by):
        return listing.get_dataset(session, namespace, name)


def _find_own(session: Session, by: Principal, namespace: str, name: str) -> Dataset:
    """Return the dataset that a name stands for, which may lie in another namespace than the name."""
    dataset = find_dataset(session, namespace, name)
    access.require_own(by, [dataset.namespace], NotFoundError("dataset", f"{name!r} in {namespace!r}"))
    return dataset


def _declared_columns(dataset: Dataset, field: str) -> dict[str, dict[str, Any]]:
    if all(column["name"] != field for column in dataset.fields):
        raise NotFoundError("field", f"{field!r} of {dataset.name!r}")
    columns = {column["name"]: dict(column) for column in dataset.declared.get("schema") or []}
    columns.setdefault(field, {"name": field})
    return columns


def _declare(session: Session, dataset: Dataset, **declared: Any) -> None:
    if "schema" in declared:
        declared["schema"] = [Column.model_validate(column) for column in declared["schema"]]
    catalog.register_dataset(session, CatalogIn(namespace=dataset.namespace, name=dataset.name, **declared))


def delete_dataset(session: Session, by: Principal, namespace: str, name: str) -> Shape:
    """Take a dataset out of the lists; return it as it was."""
    with access.seen_by(session, by):
        shown = listing.get_dataset(session, namespace, name)
    datasets.mark_deleted(session, _find_own(session, by, namespace, name), datetime.now(UTC))
    return shown | {"deleted": True}


def delete_job(session: Session, by: Principal, namespace: str, name: str) -> Shape:
    """Take a job out of the lists; return it as it was."""
    with access.seen_by(session, by):
        shown = listing.get_job(session, namespace, name)
    find_job(session, namespace, name).deleted_at = datetime.now(UTC)
    return shown


def delete_namespace(session: Session, name: str) -> Shape:
    """Take all that is in a namespace out of the lists; return the namespace."""
    shown = registry.get_namespace(session, name)
    for table in (Dataset, Job):
        session.execute(
            update(table)
            .where(table.namespace == name, table.deleted_at.is_(None))
            .values(deleted_at=datetime.now(UTC))
        )
    return shown | {"isHidden": True}


def _address(session: Session, by: Principal, source: str) -> str:
    """Return the address of a source as far as the key may know it, else its name."""
    known, _ = marquez.sources(session, source, 1, 0) if by.covers(source) else ([], 0)
    return (known[0][2] or known[0][4] or source) if known else source


def _run_event(run_id: str, job: Job, event_type: str = "OTHER", **more: Any) -> Shape:
    run = {"runId": run_id, "facets": more.pop("facets", {})}
    return {"eventType": event_type, "run": run, "job": {"namespace": job.namespace, "name": job.name}, **more}


def _facet(**values: Any) -> Shape:
    return {"_producer": PRODUCER, "_schemaURL": SCHEMA, **values}


def _zulu(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _tell(session: Session, by: Principal, event: Shape, at: datetime | None = None) -> None:
    """Store an event, if this key may send it, and project it now. Others that project wait, and are waited for."""
    event = {"eventTime": _zulu(at or datetime.now(UTC)), "producer": PRODUCER, "schemaURL": SCHEMA, **event}
    read = access.authorize_event(by, read_event(msgspec.json.encode(event), by.name))
    if isinstance(read.event, RunEvent):
        access.authorize_runs(session, by, [read.event.run.run_id])
    session.flush()
    session.execute(select(func.pg_advisory_xact_lock(PROJECTION_LOCK)))
    stored = marquez.append_event(session, read)
    if stored is not None:
        project_events(session, [Stored(stored, read.payload.decode())])
    session.expire_all()
