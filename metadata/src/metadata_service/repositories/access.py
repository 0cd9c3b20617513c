"""Keys, the trail of writes, and whose runs are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, union
from sqlalchemy.orm import Session

from metadata_service.models import ApiKey, AuditEntry, Dataset, Event, Job, QualityResult, Run

_USE_NOTED_EVERY = timedelta(minutes=1)


def use_key(session: Session, digest: bytes) -> ApiKey | None:
    """Return the key of this digest if it is valid, and note that it was used."""
    now = datetime.now(UTC)
    key = session.scalars(
        select(ApiKey).where(
            ApiKey.digest == digest,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    ).first()
    if key is not None and (key.last_used_at is None or now - key.last_used_at > _USE_NOTED_EVERY):
        key.last_used_at = now
    return key


def find_key(session: Session, name: str) -> ApiKey | None:
    """Return the key of this name that is not revoked."""
    return session.scalars(select(ApiKey).where(ApiKey.name == name, ApiKey.revoked_at.is_(None))).first()


def list_keys(session: Session, limit: int, offset: int) -> tuple[list[ApiKey], int]:
    """Return a page of keys, those in force first, and how many there are."""
    total = session.scalar(select(func.count()).select_from(ApiKey)) or 0
    query = select(ApiKey).order_by(ApiKey.revoked_at.is_not(None), ApiKey.name, ApiKey.created_at)
    return list(session.scalars(query.limit(limit).offset(offset))), total


def list_entries(
    session: Session, key_name: str | None, path: str | None, limit: int, offset: int
) -> tuple[list[AuditEntry], int]:
    """Return a page of the trail, newest first, and how many entries there are.

    Args:
        session: The transaction.
        key_name: Only what was written with this key.
        path: Only paths that begin so.
        limit: Entries on the page.
        offset: Entries to pass over.
    """
    where = []
    if key_name is not None:
        where.append(AuditEntry.key_name == key_name)
    if path is not None:
        where.append(AuditEntry.path.startswith(path, autoescape=True))
    total = session.scalar(select(func.count()).select_from(AuditEntry).where(*where)) or 0
    query = select(AuditEntry).where(*where).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    return list(session.scalars(query.limit(limit).offset(offset))), total


def namespaces_of_runs(session: Session, run_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Return (run, namespace) of the runs that are known, projected or not.

    The namespace is that of the run's job. Of a run that nothing names a job of, it is those of the datasets that it
    checked, and '' for checks of none.
    """
    ids = list(run_ids)
    if not ids:
        return []
    stored = select(Event.run_id, Event.job_namespace).where(Event.run_id.in_(ids), Event.job_namespace.is_not(None))
    recorded = select(Run.id, Job.namespace).join(Job, Job.id == Run.job_id).where(Run.id.in_(ids))
    checked = (
        select(Run.id, func.coalesce(Dataset.namespace, ""))
        .join(QualityResult, QualityResult.run_id == Run.id)
        .outerjoin(Dataset, Dataset.id == QualityResult.dataset_id)
        .where(Run.id.in_(ids), Run.job_id.is_(None))
    )
    found: Iterable[Any] = session.execute(union(stored, recorded, checked))
    return [(run_id, namespace) for run_id, namespace in found]
