"""What stands on datasets: products and their owners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

_PRODUCTS = text(
    """
    SELECT p.name, p.domain, p.owner, p.status, p.version,
           array_agg(DISTINCT coalesce(d.canonical_id, d.id)::text) AS datasets
      FROM product p
      JOIN product_dataset x ON x.product_id = p.id
      JOIN dataset d ON d.id = x.dataset_id
      JOIN unnest(CAST(:datasets AS uuid[])) AS w (id) ON w.id = coalesce(d.canonical_id, d.id)
     GROUP BY p.id ORDER BY p.name
    """
)


def products_on(session: Session, datasets: Iterable[str]) -> list[Any]:
    """Return (name, domain, owner, status, version, ids of those datasets) of the products made of some datasets."""
    return list(session.execute(_PRODUCTS, {"datasets": "{" + ",".join(datasets) + "}"}))
