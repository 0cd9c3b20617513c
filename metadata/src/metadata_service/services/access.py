"""Who may do what: keys, their roles, and the namespaces that a key is bound to.

A key bound to namespaces writes the jobs and datasets of these and no others. Its runs may read any dataset, of which
it can say nothing: facets of inputs elsewhere are left out. It reads what lies in these namespaces and in those that it
was granted (`metadata_service.repositories.tenancy`). What it doesn't see is to it as if it did not exist: refusals do
not say whose something is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from metadata_service.models import ApiKey, Dataset
from metadata_service.naming import split_uri
from metadata_service.openlineage import DatasetEvent, EventDataset, ReadEvent, given, read_event
from metadata_service.problems import NotFoundError, ProblemError
from metadata_service.repositories import access, datasets, grants, tenancy
from metadata_service.repositories.bulk import ids_by_name
from metadata_service.repositories.datasets import DatasetName

Role = Literal["reader", "writer", "admin"]
BOOTSTRAP = "API_KEY"  # the name of the key that the settings hold
REMEMBERED_SECONDS = 5.0  # how long a key that was revoked may still be taken for valid
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class Principal:
    """Who asks. `namespaces` None means all; a namespace that ends with `*` stands for all that begin so.

    `granted` are namespaces of others that a bound key may read, `discoverable` those where it may find what is there.
    """

    name: str
    role: Role
    namespaces: tuple[str, ...] | None = None
    granted: tuple[str, ...] = ()
    discoverable: tuple[str, ...] = ()

    @property
    def is_writer(self) -> bool:
        """Whether it may write at all."""
        return self.role != "reader"

    @property
    def sees(self) -> tuple[str, ...] | None:
        """The namespaces that it reads; None means all."""
        return None if self.namespaces is None else self.namespaces + self.granted

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace, or all that a pattern stands for, is its own."""
        return self.namespaces is None or any(covers(own, namespace) for own in self.namespaces)

    def require(self, namespaces: Iterable[str]) -> None:
        """Refuse what lies in other namespaces.

        Raises:
            ProblemError: 403, naming the namespace.
        """
        for namespace in namespaces:
            if not self.covers(namespace):
                own = ", ".join(self.namespaces or ())
                raise ProblemError(403, f"The key {self.name!r} may write in {own} only, not in {namespace!r}.")


def covers(pattern: str, namespace: str) -> bool:
    """Tell whether a pattern stands for a namespace, or for all that another pattern does."""
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace == pattern


class KeyRing:
    """Tells whose a key is. Answers are remembered for seconds, so that not every request asks the database."""

    def __init__(self, sessions: sessionmaker[Session], bootstrap: str) -> None:
        self._sessions = sessions
        self._bootstrap = hashlib.sha256(bootstrap.encode()).digest(), Principal(BOOTSTRAP, "admin")
        self._remembered: dict[bytes, tuple[float, Principal | None]] = {}
        self._lock = threading.Lock()

    def remembered(self, key: str) -> tuple[Principal | None, bool]:
        """Return whose a key is as far as it is remembered, and whether it is."""
        digest = hashlib.sha256(key.encode()).digest()
        bootstrap, admin = self._bootstrap
        if hmac.compare_digest(digest, bootstrap):
            return admin, True
        until, principal = self._remembered.get(digest, (0.0, None))
        return principal, time.monotonic() < until

    def find(self, key: str) -> Principal | None:
        """Return whose a key is, None if it is nobody's: unknown, revoked or expired."""
        principal, known = self.remembered(key)
        if known:
            return principal
        digest = hashlib.sha256(key.encode()).digest()
        with self._sessions.begin() as session:
            found = access.use_key(session, digest)
            principal = None if found is None else _principal(session, found)
        with self._lock:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (time.monotonic() + REMEMBERED_SECONDS, principal)
        return principal

    def forget(self) -> None:
        """Ask the database again, for every key."""
        with self._lock:
            self._remembered.clear()


def _principal(session: Session, key: ApiKey) -> Principal:
    """Return whose a key is, with what others grant its namespaces."""
    role: Role = key.role  # type: ignore[assignment]
    if not key.namespaces:
        return Principal(key.name, role)
    own = tuple(key.namespaces)
    received = [grant for grant in grants.list_grants(session) if receives(own, grant.grantee)]
    return Principal(
        key.name,
        role,
        own,
        granted=tuple(grant.namespace for grant in received if grant.permission == "read"),
        discoverable=tuple(grant.namespace for grant in received if grant.permission == "discover"),
    )


def receives(namespaces: Iterable[str], grantee: str) -> bool:
    """Tell whether who has these namespaces is, or acts for, the one that something is granted to."""
    return any(covers(grantee, own) or covers(own, grantee) for own in namespaces)


def authorize_event(principal: Principal, event: ReadEvent) -> ReadEvent:
    """Return the event as this key may send it.

    Raises:
        ProblemError: 403, it writes in a namespace that is not the key's.
    """
    if principal.namespaces is None:
        return event
    told = event.event
    if isinstance(told, DatasetEvent):
        principal.require(_named(told.dataset))
        return event
    principal.require([told.job.namespace])
    for output in told.outputs or ():
        principal.require(_named(output))
    foreign = [not principal.covers(item.namespace) for item in told.inputs or ()]
    for item, is_foreign in zip(told.inputs or (), foreign, strict=True):
        if not is_foreign:
            principal.require(_named(item))
    if not any(is_foreign and item.facets for item, is_foreign in zip(told.inputs or (), foreign, strict=True)):
        return event
    payload = json.loads(event.payload)
    for item, is_foreign in zip(payload["inputs"], foreign, strict=True):
        if is_foreign:
            item.pop("facets", None)
    return read_event(json.dumps(payload, ensure_ascii=False).encode(), event.key_name)


def foreign_runs(session: Session, principal: Principal, run_ids: Iterable[str]) -> Iterator[tuple[str, ProblemError]]:
    """Yield those of the runs that are of other namespaces' jobs, with what is to be said of it."""
    for run_id, namespace in access.namespaces_of_runs(session, set(run_ids)):
        if not principal.covers(namespace):
            own = ", ".join(principal.namespaces or ())
            detail = f"Run {run_id} belongs to another namespace; the key {principal.name!r} may write in {own} only."
            yield run_id, ProblemError(403, detail)


def authorize_runs(session: Session, principal: Principal, run_ids: Iterable[str]) -> None:
    """Refuse runs of other namespaces' jobs.

    Raises:
        ProblemError: 403.
    """
    if principal.namespaces is not None:
        for _, refused in foreign_runs(session, principal, run_ids):
            raise refused


def authorize_known_run(session: Session, principal: Principal, run_id: str) -> None:
    """Refuse a run of another namespace's job.

    Raises:
        NotFoundError: the key doesn't see it.
        ProblemError: 403, it does.
    """
    for _, namespace in access.namespaces_of_runs(session, [run_id]):
        require_own(principal, [namespace], NotFoundError("run", run_id))


def authorize_dataset(session: Session, principal: Principal, dataset_id: UUID, uri: str | None = None) -> None:
    """Refuse a dataset, or another name for it, of other namespaces.

    Raises:
        NotFoundError: there is no such dataset, or the key doesn't see it.
        ProblemError: 403.
    """
    if principal.namespaces is None:
        return
    missing = NotFoundError("dataset", dataset_id)
    told, dataset = session.get(Dataset, dataset_id), datasets.get_dataset(session, dataset_id)
    if told is None or dataset is None:
        raise missing
    require_own(principal, [told.namespace, dataset.namespace], missing)
    principal.require(_of_uri(uri))


def authorize_name(session: Session, principal: Principal, name: DatasetName) -> None:
    """Refuse a dataset's name that lies in other namespaces, or stands for a dataset that does.

    Raises:
        ProblemError: 403.
    """
    if principal.namespaces is not None:
        own = ", ".join(principal.namespaces)
        if not principal.covers(name[0]):  # which the name of a known dataset may be, found by its address
            raise ProblemError(403, f"The key {principal.name!r} may write in {own} only, and this lies elsewhere.")
        for dataset_id in ids_by_name(session, "dataset", [name]).values():
            dataset = datasets.get_dataset(session, dataset_id)
            if dataset is not None and not principal.covers(dataset.namespace):
                raise ProblemError(403, f"{name[1]!r} in {name[0]!r} stands for a dataset of another namespace.")


@contextmanager
def seen_by(session: Session, principal: Principal) -> Iterator[None]:
    """Let a transaction that has written see what the key does, to answer with it."""
    with nullcontext() if principal.sees is None else tenancy.narrowed(session, principal.sees):
        yield


def require_own(principal: Principal, namespaces: Iterable[str], missing: NotFoundError) -> None:
    """Refuse something that lies in these namespaces if one of them is another's.

    Raises:
        NotFoundError: `missing`, the key doesn't see all of them.
        ProblemError: 403, it does.
    """
    all_of_them = list(namespaces)
    seen = principal.sees
    if seen is not None and not all(any(covers(own, namespace) for own in seen) for namespace in all_of_them):
        raise missing
    principal.require(all_of_them)


def authorize_uri(principal: Principal, uri: str | None) -> None:
    """Refuse an address that lies in other namespaces.

    Raises:
        ProblemError: 403.
    """
    principal.require(_of_uri(uri))


def _of_uri(uri: str | None) -> list[str]:
    split = split_uri(uri) if uri else None
    return [split[0]] if split else []


def _named(dataset: EventDataset) -> Iterator[str]:
    """Yield the namespaces of a dataset and of all other names that it is given."""
    yield dataset.namespace
    facets: dict[str, Any] = given(dataset.facets)
    symlinks = facets.get("symlinks", {}).get("identifiers")
    before = facets.get("lifecycleStateChange", {}).get("previousIdentifier")
    for item in [*(symlinks if isinstance(symlinks, list) else []), before]:
        if isinstance(item, dict) and isinstance(item.get("namespace"), str):
            yield item["namespace"]
