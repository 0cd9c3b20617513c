"""Datasets that are suspect: a check of something they are made of fails."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

DEPTH = 20  # hops from dataset to dataset that a failure is carried
_MOST_NODES = 2000
_MOST_SOURCES = 200  # failing datasets that are followed at once

_CAUSES = """
SELECT d.id, d.namespace, d.name, s.state
  FROM lineage_nodes(:id, false, true, :depth, :nodes, NULL) n
  JOIN quality_state s ON s.dataset_id = n.id AND s.state IN ('failing', 'error')
  JOIN dataset d ON d.id = n.id
 WHERE NOT n.is_job AND n.id <> :id
 ORDER BY d.namespace, d.name
"""
_SUSPECTS = """
SELECT d.id, d.namespace, d.name, d.owner, array_agg(DISTINCT f.dataset_id) AS causes
  FROM (SELECT dataset_id FROM quality_state WHERE state IN ('failing', 'error')
         ORDER BY checked_at DESC, dataset_id LIMIT :sources) f
 CROSS JOIN LATERAL lineage_nodes(f.dataset_id, false, false, :depth, :nodes, NULL) n
  JOIN dataset d ON d.id = n.id
 WHERE NOT n.is_job AND n.id <> f.dataset_id
 GROUP BY d.id ORDER BY d.namespace, d.name LIMIT :most
"""


@dataclass(frozen=True)
class Cause:
    """A dataset whose checks fail."""

    id: UUID
    namespace: str
    name: str
    state: str


@dataclass(frozen=True)
class Suspect:
    """A dataset, and the failing datasets that it is made of."""

    id: UUID
    namespace: str
    name: str
    owner: str | None
    causes: list[UUID]


def causes(session: Session, dataset_id: UUID) -> list[Cause]:
    """Return the failing datasets that a dataset is made of, however far up."""
    given = {"id": dataset_id, "depth": DEPTH, "nodes": _MOST_NODES}
    return [Cause(*row) for row in session.execute(text(_CAUSES), given)]


def list_suspects(session: Session, most: int) -> list[Suspect]:
    """Return what is made of datasets that fail now."""
    given = {"depth": DEPTH, "nodes": _MOST_NODES, "sources": _MOST_SOURCES, "most": most}
    return [Suspect(*row) for row in session.execute(text(_SUSPECTS), given)]
