"""Datasets, their quality and runs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from metadata_service.dependencies import DbSession, PageOf, ScopedWriter
from metadata_service.repositories.datasets import DatasetFilter
from metadata_service.schemas.catalog import DatasetDetail, DatasetIn, DatasetOut, DatasetUpdate, SchemaVersionOut
from metadata_service.schemas.common import Page
from metadata_service.schemas.quality import DatasetQuality
from metadata_service.schemas.runs import DatasetRunOut
from metadata_service.services import access, catalog, history, runs

router = APIRouter(tags=["datasets"])


@router.get("/datasets")
def list_datasets(session: DbSession, paging: PageOf, wanted: Annotated[DatasetFilter, Depends()]) -> Page[DatasetOut]:
    """List datasets, newest change first. `q`: words that name, namespace, description, owner or tags contain."""
    return catalog.list_datasets(session, wanted, paging.limit, paging.offset)


@router.post("/datasets", status_code=201, responses={200: {"model": DatasetOut}})
def register_dataset(session: DbSession, by: ScopedWriter, dataset: DatasetIn, response: Response) -> DatasetOut:
    """Register a dataset (201) or change the fields that are given of a known one (200)."""
    access.authorize_uri(by, dataset.uri)
    access.authorize_name(session, by, catalog.identity(session, dataset))
    registered, new = catalog.register_dataset(session, dataset)
    response.status_code = 201 if new else 200
    return registered


@router.get("/datasets/{dataset_id}")
def get_dataset(session: DbSession, dataset_id: UUID) -> DatasetDetail:
    """Return a dataset with its facets and other names."""
    return catalog.describe_dataset(session, dataset_id)


@router.put("/datasets/{dataset_id}")
def replace_dataset(session: DbSession, by: ScopedWriter, dataset_id: UUID, dataset: DatasetUpdate) -> DatasetOut:
    """Replace what is declared of a dataset."""
    access.authorize_dataset(session, by, dataset_id, dataset.uri)
    return catalog.replace_dataset(session, dataset_id, dataset)


@router.delete("/datasets/{dataset_id}", status_code=204)
def delete_dataset(session: DbSession, by: ScopedWriter, dataset_id: UUID) -> None:
    """Forget a dataset. A later event that names it brings it back."""
    access.authorize_dataset(session, by, dataset_id)
    catalog.delete_dataset(session, dataset_id)


@router.get("/datasets/{dataset_id}/versions")
def list_versions(session: DbSession, dataset_id: UUID, paging: PageOf) -> Page[SchemaVersionOut]:
    """List the columns that a dataset had, the newest first, each with what changed and what that breaks."""
    return history.list_versions(session, dataset_id, paging.limit, paging.offset)


@router.get("/datasets/{dataset_id}/quality")
def get_quality(session: DbSession, dataset_id: UUID, paging: PageOf) -> DatasetQuality:
    """Return the newest result of each check, and a page of all results."""
    return runs.describe_quality(session, dataset_id, paging.limit, paging.offset)


@router.get("/datasets/{dataset_id}/runs")
def list_runs_of_dataset(session: DbSession, dataset_id: UUID, paging: PageOf) -> Page[DatasetRunOut]:
    """List the runs that read or wrote a dataset, newest first."""
    return runs.list_runs_of_dataset(session, dataset_id, paging.limit, paging.offset)
