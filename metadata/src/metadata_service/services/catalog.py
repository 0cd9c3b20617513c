"""The catalog: datasets and jobs as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import Dataset, Job
from metadata_service.naming import layer_of, split_uri, uri_of
from metadata_service.problems import FieldError, NotFoundError, UnprocessableError
from metadata_service.repositories import aliases, datasets, jobs, quality_state
from metadata_service.repositories.aliases import Claim
from metadata_service.repositories.datasets import DatasetFilter
from metadata_service.repositories.facets import facet_text, load_facets
from metadata_service.repositories.schema_versions import SchemaSeen, columns_of, save_versions
from metadata_service.schemas.catalog import (
    ColumnDetail,
    DatasetDetail,
    DatasetIn,
    DatasetOut,
    DatasetUpdate,
    JobDetail,
    JobOut,
)
from metadata_service.schemas.common import DatasetLink, DatasetRef, Page
from metadata_service.services import quality
from metadata_service.services.inheritance import inherited_tags
from metadata_service.services.lookup import find_listed
from metadata_service.services.projection import dataset_facets, project

DEFAULT_NAMESPACE = "default"
JOB_FACETS = ("jobType", "documentation", "ownership", "sql")


def register_dataset(session: Session, given: DatasetIn) -> tuple[DatasetOut, bool]:
    """Register a dataset or change what is declared of it; return it and whether it is new to the catalog."""
    now = datetime.now(UTC)
    name = identity(session, given)
    existed = datasets.is_listed(session, name)
    dataset_id = datasets.upsert_datasets(session, {name: now})[name]
    session.expire_all()
    dataset = find_listed(session, dataset_id)
    _declare(session, dataset, dataset.declared | _declared(given, exclude_unset=True), now)
    return _out(session, [dataset])[0], not existed


def replace_dataset(session: Session, dataset_id: UUID, given: DatasetUpdate) -> DatasetOut:
    """Replace what is declared of a dataset."""
    dataset = find_listed(session, dataset_id)
    for field in ("namespace", "name"):
        wanted = getattr(given, field)
        if wanted is not None and wanted != getattr(dataset, field):
            message = f"can't be changed from {getattr(dataset, field)!r}; register the dataset anew"
            raise UnprocessableError("A dataset keeps its name.", [FieldError(field, message)])
    _declare(session, dataset, _declared(given, exclude_unset=False), datetime.now(UTC))
    return _out(session, [dataset])[0]


def delete_dataset(session: Session, dataset_id: UUID) -> None:
    """Take a dataset out of the catalog. It keeps its place in the graph; what names it again brings it back."""
    datasets.mark_deleted(session, find_listed(session, dataset_id), datetime.now(UTC))


def list_datasets(session: Session, wanted: DatasetFilter, limit: int, offset: int) -> Page[DatasetOut]:
    """Return a page of datasets, newest change first."""
    found, total = datasets.list_datasets(session, wanted, limit, offset)
    return Page(items=_out(session, found), total=total, limit=limit, offset=offset)


def describe_dataset(session: Session, dataset_id: UUID) -> DatasetDetail:
    """Return a dataset with its facets and other names."""
    dataset = find_listed(session, dataset_id)
    facets = dataset_facets(session, [dataset.id])[dataset.id]
    aliases = [DatasetRef(namespace=a.namespace, name=a.name) for a in datasets.get_aliases(session, [dataset.id])]
    shown = dict(_out(session, [dataset])[0])
    inherited = inherited_tags(session, dataset)
    columns = [ColumnDetail(**dict(column), inherited_tags=inherited[column.name]) for column in shown.pop("columns")]
    return DatasetDetail(
        **shown, columns=columns, facets=facets, aliases=aliases, suspect_because=quality.causes(session, dataset.id)
    )


def dataset_link(dataset: Dataset) -> DatasetLink:
    """Return a dataset's name and id."""
    return DatasetLink(id=dataset.id, namespace=dataset.namespace, name=dataset.name)


def list_jobs(session: Session, q: str | None, namespace: str | None, limit: int, offset: int) -> Page[JobOut]:
    """Return a page of jobs, newest change first."""
    found, total = jobs.list_jobs(session, q, namespace, limit, offset)
    return Page(items=jobs_out(session, found), total=total, limit=limit, offset=offset)


def describe_job(session: Session, job_id: UUID) -> JobDetail:
    """Return a job with its SQL, facets and current edges."""
    job = session.get(Job, job_id)
    if job is None or job.deleted_at is not None:
        raise NotFoundError("job", job_id)
    facets = load_facets(session, "job", [str(job_id)]).get(str(job_id), {})
    sides: dict[str, list[DatasetLink]] = {"input": [], "output": []}
    for edge in jobs.current_edges(session, [job_id]).get(job_id, []):
        if not edge.is_deleted:
            sides[edge.direction].append(DatasetLink(id=edge.dataset_id, namespace=edge.namespace, name=edge.name))
    return JobDetail(
        **dict(jobs_out(session, [job])[0]),
        sql=facet_text(facets, "sql", "query"),
        facets=facets,
        inputs=sides["input"],
        outputs=sides["output"],
    )


def jobs_out(session: Session, found: Sequence[Job]) -> list[JobOut]:
    """Return jobs with what their facets and last runs tell."""
    facets = load_facets(session, "job", [str(job.id) for job in found], JOB_FACETS)
    last = jobs.latest_runs(session, [job.id for job in found])
    shown = []
    for job in found:
        mine = facets.get(str(job.id), {})
        owners = mine.get("ownership", {}).get("owners") or []
        names = [owner["name"] for owner in owners if isinstance(owner, dict) and isinstance(owner.get("name"), str)]
        run = last.get(job.id)
        shown.append(
            JobOut(
                id=job.id,
                namespace=job.namespace,
                name=job.name,
                type=facet_text(mine, "jobType", "jobType"),
                integration=facet_text(mine, "jobType", "integration"),
                description=facet_text(mine, "documentation", "description"),
                owner=", ".join(names) or None,
                state=run.state if run else None,  # type: ignore[arg-type]
                last_run_at=run.updated_at if run else None,
                created_at=job.created_at,
                updated_at=job.updated_at,
            )
        )
    return shown


def identity(session: Session, given: DatasetIn) -> datasets.DatasetName:
    """Return the name under which a dataset is registered."""
    if given.namespace is not None:
        return given.namespace, given.name
    if given.uri is None:
        return DEFAULT_NAMESPACE, given.name
    known = datasets.find_by_uri(session, given.uri)
    if known is not None:
        return known.namespace, known.name
    split = split_uri(given.uri)
    return (split[0] if split else DEFAULT_NAMESPACE), given.name


def _declared(given: DatasetIn, *, exclude_unset: bool) -> dict[str, Any]:
    return given.model_dump(mode="json", by_alias=True, exclude={"namespace", "name"}, exclude_unset=exclude_unset)


def _declare(session: Session, dataset: Dataset, declared: dict[str, Any], now: datetime) -> None:
    dataset.declared = declared
    dataset.updated_at = max(dataset.updated_at, now)
    session.flush()
    address = split_uri(declared["uri"]) if declared.get("uri") else None
    if address is not None and address != (dataset.namespace, dataset.name):
        alias = datasets.upsert_datasets(session, {address: now})[address]
        affected = aliases.claim(session, [Claim(alias, dataset.id, (dataset.namespace, dataset.name), now)])
        quality_state.refresh(session, dataset_ids=affected)
        dataset.layer = dataset.layer or layer_of(*address)
        session.flush()
    project(session, [dataset.id])
    session.flush()
    found = columns_of(dataset.fields)
    if found is not None:
        digest, columns = found
        save_versions(session, [(dataset.id, digest, SchemaSeen(columns, now, now))])


def _out(session: Session, found: Sequence[Dataset]) -> list[DatasetOut]:
    states = quality.states(session, [dataset.id for dataset in found])
    return [
        DatasetOut(
            id=dataset.id,
            namespace=dataset.namespace,
            name=dataset.name,
            uri=dataset.uri or uri_of(dataset.namespace, dataset.name),
            layer=dataset.layer,
            type=dataset.type,
            description=dataset.description,
            owner=dataset.owner,
            domain=dataset.domain,
            tags=dataset.tags,
            columns=dataset.fields,  # type: ignore[arg-type]
            quality=states[dataset.id],
            created_at=dataset.created_at,
            updated_at=dataset.updated_at,
        )
        for dataset in found
    ]
