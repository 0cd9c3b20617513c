"""Who may do what: keys, their roles, and the namespaces that a key is bound to.

A key bound to namespaces writes the jobs and datasets of these and no others. Its runs may read any dataset, of which
it can say nothing: facets of inputs elsewhere are left out.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from metadata_service.naming import split_uri
from metadata_service.openlineage import DatasetEvent, EventDataset, ReadEvent, given, read_event
from metadata_service.problems import NotFoundError, ProblemError
from metadata_service.repositories import access, datasets, jobs
from metadata_service.repositories.datasets import DatasetName

Role = Literal["reader", "writer", "admin"]
BOOTSTRAP = "API_KEY"  # the name of the key that the settings hold
REMEMBERED_SECONDS = 5.0  # how long a key that was revoked may still be taken for valid
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class Principal:
    """Who asks. `namespaces` None means all; a namespace that ends with `*` stands for all that begin so."""

    name: str
    role: Role
    namespaces: tuple[str, ...] | None = None

    @property
    def is_writer(self) -> bool:
        """Whether it may write at all."""
        return self.role != "reader"

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace is one of its own."""
        if self.namespaces is None:
            return True
        return any(namespace.startswith(own[:-1]) if own.endswith("*") else namespace == own for own in self.namespaces)

    def require(self, namespaces: Iterable[str]) -> None:
        """Refuse what lies in other namespaces.

        Raises:
            ProblemError: 403, naming the namespace.
        """
        for namespace in namespaces:
            if not self.covers(namespace):
                own = ", ".join(self.namespaces or ())
                raise ProblemError(403, f"The key {self.name!r} may write in {own} only, not in {namespace!r}.")


class KeyRing:
    """Tells whose a key is. Answers are remembered for seconds, so that not every request asks the database."""

    def __init__(self, sessions: sessionmaker[Session], bootstrap: str) -> None:
        self._sessions = sessions
        self._bootstrap = hashlib.sha256(bootstrap.encode()).digest()
        self._remembered: dict[bytes, tuple[float, Principal | None]] = {}
        self._lock = threading.Lock()

    def remembered(self, key: str) -> tuple[Principal | None, bool]:
        """Return whose a key is as far as it is remembered, and whether it is."""
        digest = hashlib.sha256(key.encode()).digest()
        if hmac.compare_digest(digest, self._bootstrap):
            return Principal(BOOTSTRAP, "admin"), True
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
        principal = None
        if found is not None:
            role: Role = found.role  # type: ignore[assignment]
            principal = Principal(found.name, role, tuple(found.namespaces) if found.namespaces else None)
        with self._lock:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (time.monotonic() + REMEMBERED_SECONDS, principal)
        return principal


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
        try:
            principal.require([namespace])
        except ProblemError as error:
            yield run_id, ProblemError(error.status, f"Run {run_id} belongs to another namespace. {error.detail}")


def authorize_runs(session: Session, principal: Principal, run_ids: Iterable[str]) -> None:
    """Refuse runs of other namespaces' jobs.

    Raises:
        ProblemError: 403.
    """
    if principal.namespaces is not None:
        for _, refused in foreign_runs(session, principal, run_ids):
            raise refused


def authorize_dataset(session: Session, principal: Principal, dataset_id: UUID, uri: str | None = None) -> None:
    """Refuse a dataset, or another name for it, of other namespaces.

    Raises:
        NotFoundError: there is no such dataset.
        ProblemError: 403.
    """
    if principal.namespaces is None:
        return
    dataset = datasets.get_dataset(session, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    principal.require([dataset.namespace, *_of_uri(uri)])


def authorize_name(session: Session, principal: Principal, name: DatasetName) -> None:
    """Refuse a dataset's name that lies in other namespaces, or stands for a dataset that does.

    Raises:
        ProblemError: 403.
    """
    principal.require([name[0]])
    if principal.namespaces is not None:
        for dataset_id in jobs.ids_by_name(session, [name]).values():
            authorize_dataset(session, principal, dataset_id)


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
