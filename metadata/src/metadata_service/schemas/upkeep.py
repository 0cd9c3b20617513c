"""What administrators ask of the store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from metadata_service.schemas.common import Input


class RetentionIn(Input):
    """What is to be forgotten."""

    older_than_days: Annotated[int, Field(ge=1, le=36_500)]
    dry_run: bool = False


class Forgotten(BaseModel):
    """What was forgotten, or would be."""

    before: datetime
    events: int
    runs: int
    dry_run: bool


class Imported(BaseModel):
    """How many rows came into each table."""

    rows: dict[str, int]
