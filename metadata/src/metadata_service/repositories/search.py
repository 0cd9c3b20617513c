"""Full text search over datasets, jobs and products; see the migration `v0006_search` for what is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from metadata_service.repositories.tenancy import is_narrowed

Kind = Literal["dataset", "job", "product"]
KINDS: tuple[Kind, ...] = ("dataset", "job", "product")
CANDIDATES = 500  # things that a tier of a query ranks; of more matches the rest is left to a narrower query
MAX_WORDS = 100_000  # taken into the vocabulary at once

_SHOWN = {
    "dataset": "d.id::text, d.namespace, d.name, d.description, d.owner, d.tags, d.layer, d.type, d.updated_at",
    "job": "d.id::text, d.namespace, d.name, NULL, NULL, NULL::text[], NULL, NULL, d.updated_at",
    "product": "d.name, d.domain, d.name, d.description, d.owner, d.tags, NULL, d.status, d.updated_at",
}
_STANDS = {
    "dataset": "AND d.canonical_id IS NULL AND d.deleted_at IS NULL",
    "job": "AND d.deleted_at IS NULL",
    "product": "",
}
# Its address finds a dataset as its name does.
_EXACT = {
    "dataset": "lower(d.name) = :name OR lower(search_title(d.name)) = :name"
    " OR lower(left(d.uri, 500)) = left(:name, 500)",
    "job": "lower(d.name) = :name OR lower(search_title(d.name)) = :name",
    "product": "lower(d.name) = :name",
}
_TIERS = """
WITH exact AS (
    SELECT d.id FROM {kind} d WHERE ({exact}) AND (:marks = '' OR d.search @@ :marks ::tsquery) {stands} LIMIT :most
), titled AS (
    SELECT d.id FROM {kind} d WHERE d.search @@ :title ::tsquery {stands} LIMIT :most
), anywhere AS (
    SELECT d.id FROM {kind} d WHERE d.search @@ :words ::tsquery {stands} LIMIT :most
), tiers AS (
    SELECT id, min(tier) AS tier FROM (
        SELECT id, 0 AS tier FROM exact UNION ALL SELECT id, 1 FROM titled UNION ALL SELECT id, 2 FROM anywhere) t
     GROUP BY id
)"""
# Under row-level security full text search would read all rows: this finds what a narrowed session sees, and no more.
_TIERS_SEEN = """
WITH tiers AS (SELECT * FROM tenant_search_{kind}(:name, :marks, :title, :words, :most))"""
_SHOW = """
SELECT {shown}, t.tier, ts_rank(d.search, :words ::tsquery) AS rank,
       (SELECT greatest(count(*) FILTER (WHERE tier = 1), count(*) FILTER (WHERE tier = 2)) FROM tiers) >= :most AS more
  FROM tiers t JOIN {kind} d ON d.id = t.id
"""


@dataclass(frozen=True)
class Hit:
    """Something found. `tier`: 0 by its very name, 1 by words of its title, 2 by words anywhere; higher `rank` first.

    The id of a product is its name, and its namespace its domain.
    """

    kind: Kind
    id: str
    namespace: str
    name: str
    description: str | None
    owner: str | None
    tags: list[str]
    layer: str | None
    type: str | None
    updated_at: Any
    tier: int
    rank: float

    @property
    def order(self) -> tuple[Any, ...]:
        """What hits are sorted by: always the same for the same hits."""
        return (self.tier, -self.rank, len(self.name), self.name, self.namespace, self.kind, self.id)


def find(
    session: Session, kind: Kind, *, name: str, words: Sequence[Sequence[str]], marks: Sequence[str]
) -> tuple[list[Hit], bool]:
    """Return what matches, in no order, and whether there may be more than was looked at.

    Args:
        session: The transaction.
        kind: What is looked for.
        name: The whole text that was searched for: what is called just so comes first.
        words: For each word the spellings that count as it; with a `*` behind it, a word's beginning.
        marks: What it has to be marked with, as `tag=pii`.
    """
    narrowed = [_quoted(mark) for mark in marks]
    given = {
        "name": name.lower(),
        "marks": " & ".join(narrowed),
        "title": " & ".join([*(_any_of(word, "title=") for word in words), *narrowed]),
        "words": " & ".join([*(_any_of(word) for word in words), *narrowed]),
        "most": CANDIDATES,
    }
    tiers = _TIERS_SEEN if is_narrowed(session) else _TIERS
    query = (tiers + _SHOW).format(kind=kind, exact=_EXACT[kind], stands=_STANDS[kind], shown=_SHOWN[kind])
    rows = session.execute(text(query), given).all()
    hits = []
    for id_, namespace, title, description, owner, tags, layer, type_, updated_at, tier, rank, _ in rows:
        hits.append(
            Hit(kind, id_, namespace, title, description, owner, tags or [], layer, type_, updated_at, tier, rank)
        )
    return hits, bool(rows and rows[0].more)


def close_words(session: Session, word: str) -> list[str]:
    """Return words of the vocabulary that may be within two typos of this one, among others that are not."""
    query = "SELECT word FROM search_word WHERE variants && search_variants(:word) LIMIT 5000"
    if is_narrowed(session):
        query = "SELECT * FROM tenant_close_words(:word)"
    return list(session.scalars(text(query), {"word": word}))


def learn_words(session: Session, most: int = MAX_WORDS) -> int:
    """Take words that were noted into the vocabulary, at most so many; return how many were noted.

    A narrowed session, which can't write, leaves that to others.
    """
    if is_narrowed(session):
        return 0
    query = """
        WITH noted AS (
            DELETE FROM search_new_word WHERE ctid = ANY (ARRAY(SELECT ctid FROM search_new_word LIMIT :most))
            RETURNING word
        ), learnt AS (
            INSERT INTO search_word SELECT w.word, search_variants(w.word) FROM (SELECT DISTINCT word FROM noted) w
            ORDER BY w.word ON CONFLICT DO NOTHING
        )
        SELECT count(*) FROM noted"""
    return session.scalar(text(query), {"most": most}) or 0


def known_words(session: Session, beginning: str, most: int) -> list[str]:
    """Return words of the vocabulary that begin so, the shortest first. It is not for a narrowed session to know."""
    if is_narrowed(session):
        return []
    query = """
        SELECT word FROM search_word WHERE word >= :beginning AND word < :beginning || chr(1114111)
         ORDER BY length(word), word LIMIT :most"""
    return list(session.scalars(text(query), {"beginning": beginning, "most": most}))


def _any_of(spellings: Sequence[str], sign: str = "") -> str:
    """Return a query for one of these spellings; one that ends with `*` stands for all words that begin so."""
    parts = []
    for spelling in spellings:
        quoted = _quoted(sign + spelling.removesuffix("*"))
        parts.append(quoted + ":*" if spelling.endswith("*") else quoted)
    return f"({' | '.join(parts)})"


def _quoted(lexeme: str) -> str:
    """Return a lexeme as a tsquery spells it."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
