"""Datasets, their versions and tags."""

from __future__ import annotations

from fastapi import Response

from metadata_service.dependencies import DbSession, ScopedWriter
from metadata_service.rendering import encoded
from metadata_service.routers.marquez.routing import Limit, NameInPath, Offset, make_router
from metadata_service.schemas.marquez import Dataset, DatasetIn, Datasets, DatasetVersion, DatasetVersions
from metadata_service.services.marquez import listing, writing

router = make_router()
_DATASETS = "/namespaces/{namespace:name}/datasets"
_DATASET = _DATASETS + "/{dataset:name}"
_TAG = _DATASET + "/tags/{tag:name}"
_FIELD_TAG = _DATASET + "/fields/{field:name}/tags/{tag:name}"


@router.get(_DATASETS, response_model=Datasets)
def list_datasets(session: DbSession, namespace: NameInPath, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the datasets of a namespace by name."""
    return encoded(listing.list_datasets(session, namespace, limit, offset))


@router.get(_DATASET, response_model=Dataset)
def get_dataset(session: DbSession, namespace: NameInPath, dataset: NameInPath) -> Response:
    """Return a dataset, by any of its names."""
    return encoded(listing.get_dataset(session, namespace, dataset))


@router.put(_DATASET, response_model=Dataset)
def put_dataset(
    session: DbSession, by: ScopedWriter, namespace: NameInPath, dataset: NameInPath, given: DatasetIn
) -> Response:
    """Create or change a dataset."""
    by.require([namespace])
    return encoded(writing.put_dataset(session, by, namespace, dataset, given))


@router.delete(_DATASET, response_model=Dataset)
def delete_dataset(session: DbSession, by: ScopedWriter, namespace: NameInPath, dataset: NameInPath) -> Response:
    """Take a dataset out of the lists; an event that names it brings it back."""
    by.require([namespace])
    return encoded(writing.delete_dataset(session, by, namespace, dataset))


@router.get(_DATASET + "/versions", response_model=DatasetVersions)
def list_versions(
    session: DbSession, namespace: NameInPath, dataset: NameInPath, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """List the versions of a dataset, newest first: one for each run that wrote it."""
    return encoded(listing.list_dataset_versions(session, namespace, dataset, limit, offset))


@router.get(_DATASET + "/versions/{version:name}", response_model=DatasetVersion)
def get_version(session: DbSession, namespace: NameInPath, dataset: NameInPath, version: NameInPath) -> Response:
    """Return a version of a dataset."""
    return encoded(listing.get_dataset_version(session, namespace, dataset, version))


@router.post(_TAG, response_model=Dataset)
def tag_dataset(
    session: DbSession, by: ScopedWriter, namespace: NameInPath, dataset: NameInPath, tag: NameInPath
) -> Response:
    """Put a tag on a dataset."""
    by.require([namespace])
    return encoded(writing.tag_dataset(session, by, namespace, dataset, tag, None))


@router.delete(_TAG, response_model=Dataset)
def untag_dataset(
    session: DbSession, by: ScopedWriter, namespace: NameInPath, dataset: NameInPath, tag: NameInPath
) -> Response:
    """Take a tag off a dataset."""
    by.require([namespace])
    return encoded(writing.untag_dataset(session, by, namespace, dataset, tag, None))


@router.post(_FIELD_TAG, response_model=Dataset)
def tag_field(
    session: DbSession,
    by: ScopedWriter,
    namespace: NameInPath,
    dataset: NameInPath,
    field: NameInPath,
    tag: NameInPath,
) -> Response:
    """Put a tag on a field of a dataset."""
    by.require([namespace])
    return encoded(writing.tag_dataset(session, by, namespace, dataset, tag, field))


@router.delete(_FIELD_TAG, response_model=Dataset)
def untag_field(
    session: DbSession,
    by: ScopedWriter,
    namespace: NameInPath,
    dataset: NameInPath,
    field: NameInPath,
    tag: NameInPath,
) -> Response:
    """Take a tag off a field of a dataset."""
    by.require([namespace])
    return encoded(writing.untag_dataset(session, by, namespace, dataset, tag, field))
