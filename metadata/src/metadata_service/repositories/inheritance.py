"""Tags of the columns that columns come from."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

# Columns that are followed up at most, the nearest first: what is further away is behind thousands of others.
MOST = 20_000
# Values pass along direct edges and those of unknown type, unless they mask what passes.
_TAGS = text(
    """
    WITH RECURSIVE up (origin, id, field) AS (
        SELECT c.name, CAST(:dataset AS uuid), c.name FROM unnest(CAST(:columns AS text[])) AS c (name)
         UNION
        SELECT u.origin, s.id, s.field
          FROM up u
         CROSS JOIN LATERAL (
            SELECT coalesce(a.canonical_id, e.input_dataset_id) AS id, e.input_field AS field
              FROM (SELECT u.id UNION ALL SELECT d.id FROM dataset d WHERE d.canonical_id = u.id) n (id)
              JOIN column_edge e ON e.dataset_id = n.id AND e.field = u.field
              LEFT JOIN dataset a ON a.id = e.input_dataset_id AND a.canonical_id IS NOT NULL
             WHERE upper(coalesce(e.type, 'DIRECT')) = 'DIRECT' AND NOT e.masking) s
    ), reached AS MATERIALIZED (
        SELECT * FROM up LIMIT :most
    ), tagged AS MATERIALIZED (
        SELECT d.id, f.field ->> 'name' AS field, t.tag
          FROM (SELECT DISTINCT id FROM reached) r
          JOIN dataset d ON d.id = r.id
         CROSS JOIN LATERAL jsonb_array_elements(d.fields) AS f (field)
         CROSS JOIN LATERAL jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(f.field -> 'tags') = 'array' THEN f.field -> 'tags' ELSE '[]' END) AS t (tag)
         WHERE lower(t.tag) = ANY (CAST(:tags AS text[]))
    )
    SELECT DISTINCT ON (r.origin, lower(t.tag)) r.origin, t.tag
      FROM reached r JOIN tagged t ON t.id = r.id AND t.field = r.field
     WHERE r.id <> :dataset OR r.field <> r.origin
     ORDER BY r.origin, lower(t.tag), t.tag
    """
)


def tags_above(
    session: Session, dataset_id: UUID, columns: Iterable[str], tags: Iterable[str]
) -> list[tuple[str, str]]:
    """Return (column, tag) for each of some tags, in any case, that a column has which a column comes from."""
    given = {"dataset": dataset_id, "columns": list(columns), "tags": sorted(tags), "most": MOST}
    return [(column, tag) for column, tag in session.execute(_TAGS, given)]
