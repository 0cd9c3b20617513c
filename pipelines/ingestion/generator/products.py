"""Products: the whole catalogue as a JSON array, later changes of prices as Parquet."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from pipelines.ingestion.generator.delivery import Delivery, Table
from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.sales import CATEGORIES, product_prices
from pipelines.ingestion.generator.writers import Kind, Row

FIELDS: dict[str, Kind] = {
    "product_id": "text",
    "name": "text",
    "category": "text",
    "brand": "text",
    "ean": "text",
    "list_price": "money",
    "unit_cost": "money",
    "weight_grams": "integer",
    "labels": "list",
    "active": "boolean",
    "launched_on": "date",
    "updated_at": "timestamp",
}
_THINGS = {
    "Electronics": ("Headphones", "Speaker", "Charger", "Keyboard", "Lamp"),
    "Clothing": ("T-shirt", "Jacket", "Scarf", "Socks", "Cap"),
    "Home & Garden": ("Watering can", "Cushion", "Vase", "Rake", "Candle"),
    "Sports": ("Ball", "Yoga mat", "Skipping rope", "Bottle", "Racket"),
    "Toys": ("Puzzle", "Building blocks", "Kite", "Doll", "Board game"),
    "Groceries": ("Olive oil", "Tea", "Pasta", "Honey", "Chocolate"),
}
_BRANDS = ("Alba", "Borealis", "Cedar", "Dune", "Everly")
_LABELS = ("eco", "sale", "new", "local")
_RAISED = 18


def write_products(folder: Path, start: dt.date, days: int, seed: int) -> tuple[list[ExpectedFile], Table]:
    """Write the catalogue and a file of new prices; return what is expected of each, and the table."""
    rng = np.random.default_rng([seed, 2])
    table = Table("products", "product_id", FIELDS)
    opening = dt.datetime.combine(start, dt.time(), dt.UTC) - dt.timedelta(days=1)
    catalogue = Delivery(table)
    for number, price in enumerate(product_prices(seed), start=1):
        catalogue.new(_product(rng, number, price, opening))
    first = catalogue.rows[0]
    catalogue.bad({**first, "product_id": "P901", "category": "Gadgets"}, "category: accepted")
    catalogue.bad({**first, "product_id": "P902", "list_price": -100}, "list_price: minimum")
    catalogue.bad({**first, "product_id": "P903", "ean": "12345"}, "ean: pattern")
    files = [catalogue.write(folder, f"products_{start}.json")]
    day = start + dt.timedelta(days=max(1, days // 2))
    prices = Delivery(table)
    for index in rng.permutation(len(table.rows))[:_RAISED]:
        row = table.rows[f"P{index + 1:03d}"]
        evening = dt.datetime.combine(day, dt.time(20), dt.UTC)
        prices.change({**row, "list_price": row["list_price"] + 100, "updated_at": evening})
    unchanged = [row for row in table.rows.values() if row["updated_at"] == opening]
    for row in unchanged[:6]:
        prices.known(row)
    prices.bad({**first, "product_id": "P904", "weight_grams": -5}, "weight_grams: minimum")
    files.append(prices.write(folder, f"products_{day}.parquet"))
    return files, table


def _product(rng: np.random.Generator, number: int, price: int, when: dt.datetime) -> Row:
    category = CATEGORIES[(number - 1) % len(CATEGORIES)]
    brand = _BRANDS[rng.integers(len(_BRANDS))]
    thing = _THINGS[category][(number - 1) // len(CATEGORIES) % 5]
    return {
        "product_id": f"P{number:03d}",
        "name": f"{brand} {thing}",
        "category": category,
        "brand": brand,
        "ean": f"{4_000_000_000_000 + number * 7919:013d}",
        "list_price": price,
        "unit_cost": price * 6 // 10,
        "weight_grams": int(rng.integers(5, 400)) * 10,
        "labels": [label for label in _LABELS if rng.random() < 0.25],
        "active": bool(rng.random() < 0.95),
        "launched_on": (when.date() - dt.timedelta(days=int(rng.integers(30, 900)))).isoformat(),
        "updated_at": when,
    }
