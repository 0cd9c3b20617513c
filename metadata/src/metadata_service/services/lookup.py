"""Datasets by their ids."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.models import Dataset
from metadata_service.problems import NotFoundError
from metadata_service.repositories import datasets


def find_dataset(session: Session, dataset_id: UUID) -> Dataset:
    """Return a dataset, or the one it is another name of; a deleted one counts.

    Raises:
        NotFoundError: there is none.
    """
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    return dataset


def find_listed(session: Session, dataset_id: UUID) -> Dataset:
    """Return a dataset as `find_dataset` does, if it is not deleted.

    Raises:
        NotFoundError: there is none.
    """
    dataset = find_dataset(session, dataset_id)
    if dataset.deleted_at is not None:
        raise NotFoundError("dataset", dataset_id)
    return dataset
