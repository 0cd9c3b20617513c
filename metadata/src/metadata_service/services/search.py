"""Search over the catalog: by exact name first, then by words of the title, then by words anywhere, then by typos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import OSA
from sqlalchemy.orm import Session

from metadata_service.repositories import search
from metadata_service.repositories.search import KINDS, Hit, Kind
from metadata_service.schemas.search import SearchHit, SearchResult

MAX_QUERY_WORDS = 12
_SPELLINGS = 8  # of a mistyped word
_BEGUN = 20  # words with one beginning that are asked for one by one
_SHORTEST_BEGINNING = 3  # letters
_LEARNT_AT_ONCE = 2000  # words, while somebody waits
_SEPARATORS = re.compile(r"[\x00-/:-@\[-`{-~]+")  # as `search_words` of the database has them


@dataclass(frozen=True)
class Narrowed:
    """What a search is narrowed to; None means anything."""

    kinds: Sequence[Kind] = KINDS
    namespace: str | None = None
    owner: str | None = None
    tag: str | None = None
    layer: str | None = None

    def marks(self) -> list[str]:
        """Return what has to be found with a thing, as the database marks it."""
        given = {
            "namespace": self.namespace,
            "owner": self.owner and self.owner.lower(),
            "tag": self.tag and self.tag.lower(),
            "layer": self.layer,
        }
        return [f"{name}={value}"[:500] for name, value in given.items() if value]


@dataclass
class _Found:
    hits: list[Hit] = field(default_factory=list)
    more: bool = False


def find(session: Session, q: str, narrowed: Narrowed, limit: int, offset: int) -> SearchResult:
    """Return a page of what a text finds, the best first, and in which words typos were forgiven."""
    words = split_words(q)
    found = _find(session, q, [_begun(session, word) for word in words], narrowed)
    corrected: dict[str, list[str]] = {}
    if not found.hits and words:
        search.learn_words(session, _LEARNT_AT_ONCE)
        corrected = {word: spellings for word in words if (spellings := _close(session, word))}
        if corrected:
            spelt = [corrected.get(word) or _begun(session, word) for word in words]
            found = _find(session, " ".join(nearest.removesuffix("*") for nearest, *_ in spelt), spelt, narrowed)
    hits = sorted(found.hits, key=lambda hit: hit.order)
    return SearchResult(
        items=[_out(hit) for hit in hits[offset : offset + limit]],
        total=len(hits),
        is_complete=not found.more,
        corrected=corrected if hits else {},
        limit=limit,
        offset=offset,
    )


def split_words(q: str) -> list[str]:
    """Return the words of a query in lower case, each once."""
    return list(dict.fromkeys(_SEPARATORS.sub(" ", q).lower().split()))[:MAX_QUERY_WORDS]


def _find(session: Session, q: str, words: Sequence[Sequence[str]], narrowed: Narrowed) -> _Found:
    found = _Found()
    if not words:
        return found
    for kind in narrowed.kinds:
        hits, more = search.find(session, kind, name=q.strip(), words=words, marks=narrowed.marks())
        found.hits += hits
        found.more |= more
    return found


def _begun(session: Session, word: str) -> list[str]:
    """Return the words that one stands for: itself, and those that begin with it.

    Words that are known are asked for as they are, which an index answers many times faster than beginnings.
    """
    if len(word) < _SHORTEST_BEGINNING:
        return [word]
    known = search.known_words(session, word, _BEGUN + 1)
    if not known or len(known) > _BEGUN:
        return [word + "*"]
    return list(dict.fromkeys([word, *known]))


def _close(session: Session, word: str) -> list[str]:
    """Return the words that a mistyped one may stand for, the nearest first: one typo, from six letters on two."""
    if len(word) < 3:
        return []
    allowed = 1 if len(word) < 6 else 2
    near = [(OSA.distance(word, other, score_cutoff=allowed), other) for other in search.close_words(session, word)]
    return [other for distance, other in sorted(near) if 0 < distance <= allowed][:_SPELLINGS]


def _out(hit: Hit) -> SearchHit:
    return SearchHit(
        type=hit.kind,
        id=hit.id,
        namespace=hit.namespace,
        name=hit.name,
        description=hit.description,
        owner=hit.owner,
        tags=hit.tags,
        layer=hit.layer,
        kind=hit.type,
        updated_at=hit.updated_at,
    )
