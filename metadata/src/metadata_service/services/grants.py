"""Grants: what a team allows others to see of its namespaces, and what a team finds of others'."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from metadata_service.models import NamespaceGrant
from metadata_service.problems import NotFoundError
from metadata_service.repositories import datasets, grants, jobs, tenancy
from metadata_service.repositories.datasets import DatasetFilter
from metadata_service.schemas.access import Discovered, GrantIn, GrantOut
from metadata_service.schemas.common import Page
from metadata_service.services import catalog
from metadata_service.services.access import Principal, covers, receives


def create_grant(session: Session, given: GrantIn, by: Principal) -> tuple[GrantOut, bool]:
    """Grant something of a namespace that the key covers; return it and whether it is new.

    Raises:
        ProblemError: 403, the namespace is not the key's.
    """
    by.require([given.namespace])
    grant, new = grants.add_grant(session, given.namespace, given.grantee, given.permission, by.name)
    return _out(grant, by), new


def revoke_grant(session: Session, grant_id: UUID, by: Principal) -> None:
    """Take a grant back.

    Raises:
        NotFoundError: there is no such grant of the key's namespaces.
    """
    grant = grants.find_grant(session, grant_id)
    if grant is None or not by.covers(grant.namespace):
        raise NotFoundError("grant", grant_id)
    session.delete(grant)


def list_grants(session: Session, by: Principal, limit: int, offset: int) -> Page[GrantOut]:
    """Return a page of the grants that a key gives or receives; all of them for one that is bound to no namespaces."""
    known = [
        grant
        for grant in grants.list_grants(session)
        if by.covers(grant.namespace) or receives(by.namespaces or (), grant.grantee)
    ]
    items = [_out(grant, by) for grant in known[offset : offset + limit]]
    return Page(items=items, total=len(known), limit=limit, offset=offset)


def discover(
    sessions: sessionmaker[Session], by: Principal | None, q: str | None, limit: int, offset: int
) -> Page[Discovered]:
    """Return a page of the datasets, then jobs, of other teams that a key may find.

    Words are looked for in what is shown of them, and in nothing else.
    """
    where = [] if by is None else [p for p in by.discoverable if not any(covers(own, p) for own in by.sees or ())]
    if not where:
        return Page(items=[], total=0, limit=limit, offset=offset)
    with sessions() as session:
        tenancy.narrow(session, where)
        found, datasets_total = datasets.list_datasets(session, DatasetFilter(q=q), limit, offset)
        rest = limit - len(found)
        others, jobs_total = jobs.list_jobs(session, q, None, rest, max(offset - datasets_total, 0))
        items = [
            Discovered(
                type="dataset",
                namespace=dataset.namespace,
                name=dataset.name,
                description=dataset.description,
                owner=dataset.owner,
                tags=dataset.tags,
            )
            for dataset in found
        ]
        items += [
            Discovered(
                type="job",
                namespace=job.namespace,
                name=job.name,
                description=job.description,
                owner=job.owner,
                tags=[],
            )
            for job in catalog.jobs_out(session, others)
        ]
    return Page(items=items, total=datasets_total + jobs_total, limit=limit, offset=offset)


def _out(grant: NamespaceGrant, by: Principal) -> GrantOut:
    return GrantOut(
        id=grant.id,
        namespace=grant.namespace,
        grantee=grant.grantee,
        permission=grant.permission,  # type: ignore[arg-type]
        created_at=grant.created_at,
        created_by=grant.created_by if by.covers(grant.namespace) else None,
    )
