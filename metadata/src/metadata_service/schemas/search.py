"""What a search answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class SearchHit(BaseModel):
    """Something found. A product's `id` is its name, its `namespace` the domain."""

    type: Literal["dataset", "job", "product"]
    id: str
    namespace: str
    name: str
    description: str | None
    owner: str | None
    tags: list[str]
    layer: str | None
    kind: str | None = Field(description="A dataset's type, or a product's status.")
    updated_at: datetime


class SearchResult(BaseModel):
    """A page of what was found, the best first."""

    items: list[SearchHit]
    total: int
    is_complete: bool = Field(description="Whether `total` is all that matches, not only the best of very much.")
    corrected: dict[str, list[str]] = Field(description="Words that nothing was found by, and what was taken instead.")
    limit: int
    offset: int
