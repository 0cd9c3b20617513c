"""Campaigns: every file is the whole list as it is that day, which replaces the one before."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from pipelines.ingestion.generator.delivery import Delivery, Table
from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.sales import CATEGORIES
from pipelines.ingestion.generator.writers import Kind, Row

FIELDS: dict[str, Kind] = {
    "campaign_id": "text",
    "name": "text",
    "channel": "text",
    "product_category": "text",
    "start_date": "date",
    "end_date": "date",
    "budget": "money",
    "spend": "money",
    "contact_email": "text",
}
CHANNELS = ("email", "search", "social", "display", "print")
_SEASONS = ("Spring", "Summer", "Autumn", "Winter")
_LISTED = 24


def write_campaigns(folder: Path, start: dt.date, days: int, seed: int) -> tuple[list[ExpectedFile], Table]:
    """Write two lists; return what is expected of each, and the table."""
    rng = np.random.default_rng([seed, 4])
    table = Table("campaigns", "campaign_id", FIELDS)
    first = Delivery(table)
    for number in range(1, _LISTED + 1):
        first.new(_campaign(rng, number, start))
    first.bad({**first.rows[0], "campaign_id": "M901", "channel": "radio"}, "channel: accepted")
    files = [first.write(folder, f"campaigns_{start}.csv", delimiter="|")]
    before = list(table.rows.values())
    table.rows.clear()
    second = Delivery(table)
    day = start + dt.timedelta(days=max(1, days // 2))
    for row in before[4:]:  # four have ended and are listed no more
        second.new({**row, "spend": row["spend"] + int(rng.integers(0, 200)) * 100})
    for number in range(_LISTED + 1, _LISTED + 7):
        second.new(_campaign(rng, number, day))
    second.bad({**before[0], "campaign_id": "M902", "budget": -100}, "budget: minimum")
    files.append(second.write(folder, f"campaigns_{day}.parquet"))
    return files, table


def _campaign(rng: np.random.Generator, number: int, day: dt.date) -> Row:
    begins = day + dt.timedelta(days=int(rng.integers(-20, 40)))
    channel = CHANNELS[rng.integers(len(CHANNELS))]
    category = CATEGORIES[rng.integers(len(CATEGORIES))] if rng.random() < 0.75 else None
    budget = int(rng.integers(10, 300)) * 10_000
    return {
        "campaign_id": f"M{number:03d}",
        "name": f"{_SEASONS[begins.month % 12 // 3 - 1]} {category or 'brand'} {channel}",
        "channel": channel,
        "product_category": category,
        "start_date": begins.isoformat(),
        "end_date": (begins + dt.timedelta(days=int(rng.integers(7, 60)))).isoformat(),
        "budget": budget,
        "spend": budget * int(rng.integers(0, 100)) // 100,
        "contact_email": f"campaigns.{channel}@example.com",
    }
