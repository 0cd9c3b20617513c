"""The sample: five datasets that fit together, in every format, with dirt in known amounts.

Sales name customers and products that exist, orders are those customers', campaigns advertise the products' categories.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pipelines.ingestion.generator.campaigns import write_campaigns
from pipelines.ingestion.generator.customers import write_customers
from pipelines.ingestion.generator.manifest import Manifest
from pipelines.ingestion.generator.orders import write_orders
from pipelines.ingestion.generator.products import write_products
from pipelines.ingestion.generator.sales import write_sales

DATASETS = ("customers", "products", "sales", "orders", "campaigns")


def write_sample(folder: Path | str, days: int = 90, seed: int = 7, end: dt.date | None = None) -> Manifest:
    """Write the sample's files and `manifest.json` into a folder and return the manifest.

    Args:
        folder: Made if missing.
        days: How many days of sales and orders, the last one being `end`.
        seed: Another seed, other rows.
        end: Last day; yesterday (UTC) unless given.
    """
    if days < 1:
        raise ValueError(f"days is {days}: at least one day of sales")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    end = end or dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    start = end - dt.timedelta(days=days - 1)
    sales, totals = write_sales(folder, start, days, seed)
    others = [
        write(folder, start, days, seed) for write in (write_customers, write_products, write_orders, write_campaigns)
    ]
    files = [*sales, *(file for written, _ in others for file in written)]
    tables = {"sales": totals["rows"], **{table.dataset: len(table.rows) for _, table in others}}
    ordered = sorted(files, key=lambda file: (DATASETS.index(file.dataset), file.name))
    manifest = Manifest(days, seed, end.isoformat(), ordered, totals, tables)
    manifest.write(folder / "manifest.json")
    return manifest
