"""Sales: one file a week, in turns CSV, gzipped NDJSON and Parquet, and one that is no data.

The table that must come out is kept alongside in plain arrays and dictionaries, by construction and not by running
the ingestion, so that the manifest is an independent witness.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.writers import Kind, Row, money, write_rows

CATEGORIES = ("Electronics", "Clothing", "Home & Garden", "Sports", "Toys", "Groceries")
REGIONS = ("North", "South", "East", "West", "Online")
UNKNOWN_CATEGORIES = ("Elektronics", "Misc", "N/A", "garden")
BAD_DATES = ("2026-02-30", "31/12/2025", "not a date", "2026-13-01")
FIELDS: dict[str, Kind] = {
    "sale_id": "text",
    "sale_date": "date",
    "customer_id": "text",
    "product_id": "text",
    "product_category": "text",
    "quantity": "integer",
    "unit_price": "money",
    "total_amount": "money",
    "region": "text",
    "updated_at": "timestamp",
}
EXTENSIONS = ("csv", "ndjson.gz", "parquet")
CUSTOMERS, PRODUCTS = 500, 60

_SALES_A_DAY = 330
_WEEKDAYS = np.array([0.90, 0.85, 0.90, 1.00, 1.25, 1.45, 0.65])  # Monday first
_GROWTH_A_DAY = 0.0025
_BASE_PRICE = np.array([180.0, 45.0, 60.0, 55.0, 25.0, 8.0])  # euro, by category
# Shares of a file's rows. Bad rows stay well below the contract's reject budget of 5 percent.
_BAD_DATE, _NEGATIVE, _UNKNOWN, _DUPLICATE, _CORRECTION, _STALE = 0.008, 0.008, 0.007, 0.01, 0.015, 0.005
_NOT_DATA = (
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    "<body><h1>502 Bad Gateway</h1><p>The export service did not answer.</p></body></html>\n"
)


@dataclass
class _World:
    """What stays the same over all days, and the table as it must be by now."""

    rng: np.random.Generator
    prices: np.ndarray[Any, np.dtype[np.int64]]
    customers: np.ndarray[Any, np.dtype[np.float64]]
    products: np.ndarray[Any, np.dtype[np.float64]]
    next_id: int = 1
    table: dict[str, Row] = field(default_factory=dict)


def write_sales(folder: Path, start: dt.date, days: int, seed: int) -> tuple[list[ExpectedFile], dict[str, Any]]:
    """Write the files of `days` days from `start` on; return what is expected of each and of the table."""
    world = _world(np.random.default_rng(seed))
    weeks = [range(first, min(first + 7, days)) for first in range(0, days, 7)]
    files: list[ExpectedFile] = []
    for number, week in enumerate(weeks):
        first, last = start + dt.timedelta(days=week[0]), start + dt.timedelta(days=week[-1])
        extension = EXTENSIONS[number % len(EXTENSIONS)]
        rows, expected = _week(world, [(start, day) for day in week], last, typed=extension == "parquet")
        name = f"sales_{first}.{extension}"
        write_rows(folder / name, rows, FIELDS)
        files.append(ExpectedFile(name, "sales", **expected))
        if number == len(weeks) // 2:
            name = f"sales_{first}_export_error.csv"
            (folder / name).write_text(_NOT_DATA, encoding="utf-8")
            files.append(ExpectedFile(name, "sales", status="failed", stage="validation"))
    return files, _totals(world.table)


def product_prices(seed: int) -> list[int]:
    """Return the price of each product in cents: product `P001` is the first, of the first category, and so on."""
    return [int(price) for price in _world(np.random.default_rng(seed)).prices]


def _world(rng: np.random.Generator) -> _World:
    spread = rng.lognormal(0, 0.5, PRODUCTS)
    prices = np.maximum(np.round(np.resize(_BASE_PRICE, PRODUCTS) * spread), 1).astype(np.int64) * 100 - 1
    customers = 1 / np.arange(1, CUSTOMERS + 1) ** 0.8  # few customers buy much, most a little
    products = rng.permutation(1 / np.arange(1, PRODUCTS + 1) ** 0.6)
    return _World(rng, prices, customers / customers.sum(), products / products.sum())


def _day(world: _World, start: dt.date, number: int) -> list[Row]:
    """Return a day's new sales, in the order of their time."""
    rng, day = world.rng, start + dt.timedelta(days=number)
    count = int(rng.poisson(_SALES_A_DAY * _WEEKDAYS[day.weekday()] * (1 + _GROWTH_A_DAY * number)))
    products = rng.choice(PRODUCTS, count, p=world.products)
    customers = rng.choice(CUSTOMERS, count, p=world.customers)
    anonymous = rng.random(count) < 0.03
    quantities = 1 + rng.poisson(0.8, count)
    regions = rng.choice(len(REGIONS), count, p=[0.22, 0.18, 0.15, 0.2, 0.25])
    seconds = np.sort(rng.integers(8 * 3600, 22 * 3600, count))
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    rows = []
    for index in range(count):
        product, quantity = int(products[index]), int(quantities[index])
        price = int(world.prices[product])
        rows.append(
            {
                "sale_id": f"S{world.next_id + index:08d}",
                "sale_date": day.isoformat(),
                "customer_id": None if anonymous[index] else f"C{customers[index] + 1:04d}",
                "product_id": f"P{product + 1:03d}",
                "product_category": CATEGORIES[product % len(CATEGORIES)],
                "quantity": quantity,
                "unit_price": price,
                "total_amount": price * quantity,
                "region": REGIONS[regions[index]],
                "updated_at": midnight + dt.timedelta(seconds=int(seconds[index])),
            }
        )
    world.next_id += count
    return rows


def _week(
    world: _World, days: list[tuple[dt.date, int]], last: dt.date, *, typed: bool
) -> tuple[list[Row], dict[str, Any]]:
    """Return a file's rows, dirt included, and its expected counts; brings the world's table up to date.

    A typed file (Parquet) can't hold a bad date.
    """
    rng = world.rng
    rows = [row for start, number in days for row in _day(world, start, number)]
    amount = len(rows)
    earlier = list(world.table)
    evening = dt.datetime.combine(last, dt.time(22), dt.UTC)

    picked = rng.permutation(amount)
    bad_dates, rest = _split(picked, 0 if typed else _BAD_DATE, amount)
    negatives, rest = _split(rest, _NEGATIVE, amount)
    unknown, rest = _split(rest, _UNKNOWN, amount)
    twice, _ = _split(rest, _DUPLICATE, amount)
    for position, index in enumerate(bad_dates):
        rows[index]["sale_date"] = BAD_DATES[position % len(BAD_DATES)]
    for index in negatives:
        rows[index]["quantity"] *= -1
        rows[index]["total_amount"] *= -1
    for position, index in enumerate(unknown):
        rows[index]["product_category"] = UNKNOWN_CATEGORIES[position % len(UNKNOWN_CATEGORIES)]
    bad = {*bad_dates, *negatives, *unknown}
    good = [row for index, row in enumerate(rows) if index not in bad]

    newer = [_changed(rows[index], rows[index]["updated_at"] + dt.timedelta(minutes=30)) for index in twice]
    known = rng.permutation(len(earlier))
    corrected, known = _split(known, _CORRECTION if earlier else 0, amount)
    stale, _ = _split(known, _STALE if earlier else 0, amount)
    corrections = [
        _changed(world.table[earlier[index]], evening + dt.timedelta(seconds=position))
        for position, index in enumerate(corrected)
    ]
    late = [
        _changed(world.table[earlier[index]], world.table[earlier[index]]["updated_at"] - dt.timedelta(days=1))
        for index in stale
    ]
    for row in [*good, *newer, *corrections]:
        world.table[row["sale_id"]] = row
    by_rule = {
        "sale_date: type": len(bad_dates),
        "quantity: minimum": len(negatives),
        "product_category: accepted": len(unknown),
    }
    rows += [*newer, *corrections, *late]
    return rows, {
        "rows_read": len(rows),
        "rows_rejected": len(bad),
        "rejected_by_rule": {rule: count for rule, count in by_rule.items() if count},
        "rows_deduplicated": len(twice),
        "rows_inserted": len(good),
        "rows_updated": len(corrections),
        "rows_unchanged": len(late),
    }


def _split(order: np.ndarray[Any, Any], share: float, amount: int) -> tuple[list[int], np.ndarray[Any, Any]]:
    count = round(share * amount)
    return [int(index) for index in order[:count]], order[count:]


def _changed(row: Row, when: dt.datetime) -> Row:
    """Return a later (or earlier) version of a sale: one piece more."""
    quantity = row["quantity"] + 1
    return {**row, "quantity": quantity, "total_amount": quantity * row["unit_price"], "updated_at": when}


def _totals(table: dict[str, Row]) -> dict[str, Any]:
    by_category = dict.fromkeys(CATEGORIES, 0)
    for row in table.values():
        by_category[row["product_category"]] += row["total_amount"]
    return {
        "rows": len(table),
        "customers": len({row["customer_id"] for row in table.values() if row["customer_id"]}),
        "revenue": money(sum(by_category.values())),
        "revenue_by_category": {name: money(cents) for name, cents in sorted(by_category.items())},
    }
