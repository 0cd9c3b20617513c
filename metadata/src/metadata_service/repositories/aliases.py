"""Which name stands for a dataset that has several.

Each name has at most one claim on it, the newest: "this is another name of that dataset" (`alias_of`, since
`canonical_since`). A claim made by a rename holds until the old name is written again. Claims may make chains and
circles: a chain leads to its end, a circle is broken at its oldest claim. So the names' `canonical_id` follow from the
set of claims, whatever order they came in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from metadata_service.repositories.bulk import Booleans, Times, Uuids, execute

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """`alias` is another name of `target` since a time; `until_written`: as long as nobody writes to it again."""

    alias: UUID
    target: UUID
    target_name: Name
    since: datetime
    until_written: bool = False


@dataclass(slots=True)
class _Named:
    """A dataset's name and the claim on it."""

    id: UUID
    name: Name
    alias_of: UUID | None
    since: datetime
    until_written: bool
    written_at: datetime
    canonical_id: UUID | None

    @property
    def target(self) -> UUID | None:
        """The dataset that this is another name of, by its own claim."""
        return None if self.until_written and self.written_at > self.since else self.alias_of


_LOAD = """
SELECT id, namespace, name, alias_of, coalesce(canonical_since, '0001-01-01+00'), alias_until_written,
       coalesce(written_at, '0001-01-01+00'), canonical_id
  FROM dataset
"""


def claim(session: Session, claims: Iterable[Claim], written: Iterable[UUID] = ()) -> set[UUID]:
    """Take claims, and the news that datasets were written; return the datasets of which names came or went."""
    newest: dict[UUID, Claim] = {}
    for item in claims:
        known = newest.get(item.alias)
        if item.alias != item.target and (known is None or _key(item) > _key(known)):
            newest[item.alias] = item
    names = _load(session, "WHERE id = ANY(%s)", newest.keys())
    targets = _load(session, "WHERE id = ANY(%s)", {named.alias_of for named in names.values() if named.alias_of})
    taken = []
    for alias, item in newest.items():
        named = names[alias]
        now = (named.since, targets[named.alias_of].name) if named.alias_of in targets else (_LONG_AGO, ("", ""))
        if _key(item) > now:
            taken.append(item)
    _save(session, taken)
    # What only confirms a claim that holds changes nothing else.
    moved = {c.alias for c in taken if names[c.alias].alias_of != c.target or names[c.alias].canonical_id is None}
    freed = execute(
        session, "SELECT id FROM dataset WHERE id = ANY(%s) AND alias_until_written", Uuids(set(written) - moved)
    )
    moved |= {row[0] for row in freed}
    return resolve(session, moved) if moved else set()


def resolve(session: Session, ids: Iterable[UUID]) -> set[UUID]:
    """Work out again which names stand for these datasets and all that are tied to them; return what was affected."""
    part = _load(session, "WHERE id = ANY(%s)", set(ids))
    frontier = set(part)
    while frontier:
        above = {named.alias_of for named in part.values() if named.alias_of} - part.keys()
        found = _load(session, "WHERE id = ANY(%s)", above) | _load(session, "WHERE alias_of = ANY(%s)", frontier)
        frontier = found.keys() - part.keys()
        part |= found
    changed = {}
    for named in part.values():
        canonical = _end_of_chain(named, part)
        if (None if canonical == named.id else canonical) != named.canonical_id:
            changed[named.id] = None if canonical == named.id else canonical
    if changed:
        statement = (
            "UPDATE dataset d SET canonical_id = n.canonical FROM unnest(%s, %s) AS n (id, canonical) WHERE d.id = n.id"
        )
        execute(session, statement, Uuids(changed), Uuids(changed.values()))
    before = {part[id_].canonical_id or id_ for id_ in changed}
    return before | changed.keys() | {id_ for id_ in changed.values() if id_}


def _end_of_chain(start: _Named, part: dict[UUID, _Named]) -> UUID:
    path: list[_Named] = []
    named = start
    while named.target is not None and named.target in part:
        if named in path:
            circle = path[path.index(named) :]
            return min(circle, key=lambda item: (item.since, item.name)).id
        path.append(named)
        named = part[named.target]
    return named.id


def _load(session: Session, where: str, ids: Iterable[UUID]) -> dict[UUID, _Named]:
    wanted = set(ids)
    if not wanted:
        return {}
    rows = execute(session, _LOAD + where, Uuids(wanted))
    return {row[0]: _Named(row[0], (row[1], row[2]), *row[3:]) for row in rows}


def _save(session: Session, claims: list[Claim]) -> None:
    if claims:
        execute(
            session,
            "UPDATE dataset d SET alias_of = n.target, canonical_since = n.since, alias_until_written = n.until "
            "FROM unnest(%s, %s, %s, %s) AS n (alias, target, since, until) WHERE d.id = n.alias",
            Uuids(item.alias for item in claims),
            Uuids(item.target for item in claims),
            Times(item.since for item in claims),
            Booleans(item.until_written for item in claims),
        )


def _key(item: Claim) -> tuple[datetime, Name]:
    return item.since, item.target_name
