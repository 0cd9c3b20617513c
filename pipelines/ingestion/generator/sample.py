"""The sample: one file a week of sales, in turns CSV, gzipped NDJSON and Parquet, and one that is no data.

The table that must come out is kept alongside in plain arrays and dictionaries, by construction and not by running
the ingestion, so that the manifest is an independent witness.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.ingestion.generator.manifest import ExpectedFile, Manifest

CATEGORIES = ("Electronics", "Clothing", "Home & Garden", "Sports", "Toys", "Groceries")
REGIONS = ("North", "South", "East", "West", "Online")
UNKNOWN_CATEGORIES = ("Elektronics", "Misc", "N/A", "garden")
BAD_DATES = ("2026-02-30", "31/12/2025", "not a date", "2026-13-01")
FIELDS = (
    "sale_id", "sale_date", "customer_id", "product_id", "product_category",
    "quantity", "unit_price", "total_amount", "region", "updated_at",
)  # fmt: skip

_CUSTOMERS, _PRODUCTS, _SALES_A_DAY = 500, 60, 330
_WEEKDAYS = np.array([0.90, 0.85, 0.90, 1.00, 1.25, 1.45, 0.65])  # Monday first
_GROWTH_A_DAY = 0.0025
_BASE_PRICE = np.array([180.0, 45.0, 60.0, 55.0, 25.0, 8.0])  # euro, by category
# Shares of a file's rows. Bad rows stay well below the contract's reject budget of 5 percent.
_BAD_DATE, _NEGATIVE, _UNKNOWN, _DUPLICATE, _CORRECTION, _STALE = 0.008, 0.008, 0.007, 0.01, 0.015, 0.005
_NOT_DATA = (
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    "<body><h1>502 Bad Gateway</h1><p>The export service did not answer.</p></body></html>\n"
)

Row = dict[str, Any]  # prices and amounts in cents, times as datetime


@dataclass
class _World:
    """What stays the same over all days, and the table as it must be by now."""

    rng: np.random.Generator
    prices: np.ndarray[Any, np.dtype[np.int64]]
    customers: np.ndarray[Any, np.dtype[np.float64]]
    products: np.ndarray[Any, np.dtype[np.float64]]
    next_id: int = 1
    table: dict[str, Row] = field(default_factory=dict)


def write_sample(folder: Path | str, days: int = 90, seed: int = 7, end: dt.date | None = None) -> Manifest:
    """Write the sample's files and `manifest.json` into a folder and return the manifest.

    Args:
        folder: Made if missing.
        days: How many days of sales, the last one being `end`.
        seed: Another seed, other sales.
        end: Last day; yesterday (UTC) unless given.
    """
    if days < 1:
        raise ValueError(f"days is {days}: at least one day of sales")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    end = end or dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    start = end - dt.timedelta(days=days - 1)
    world = _world(np.random.default_rng(seed))
    weeks = [range(first, min(first + 7, days)) for first in range(0, days, 7)]
    files: list[ExpectedFile] = []
    for number, week in enumerate(weeks):
        first, last = start + dt.timedelta(days=week[0]), start + dt.timedelta(days=week[-1])
        extension, write = _FORMATS[number % len(_FORMATS)]
        rows, expected = _week(world, [(start, day) for day in week], last, typed=extension == "parquet")
        name = f"sales_{first}.{extension}"
        write(folder / name, rows)
        files.append(ExpectedFile(name=name, **expected))
        if number == len(weeks) // 2:
            name = f"sales_{first}_export_error.csv"
            (folder / name).write_text(_NOT_DATA, encoding="utf-8")
            files.append(ExpectedFile(name=name, status="failed", stage="validation"))
    manifest = Manifest(days, seed, end.isoformat(), files, _totals(world.table))
    manifest.write(folder / "manifest.json")
    return manifest


def _world(rng: np.random.Generator) -> _World:
    spread = rng.lognormal(0, 0.5, _PRODUCTS)
    prices = np.maximum(np.round(np.resize(_BASE_PRICE, _PRODUCTS) * spread), 1).astype(np.int64) * 100 - 1
    customers = 1 / np.arange(1, _CUSTOMERS + 1) ** 0.8  # few customers buy much, most a little
    products = rng.permutation(1 / np.arange(1, _PRODUCTS + 1) ** 0.6)
    return _World(rng, prices, customers / customers.sum(), products / products.sum())


def _day(world: _World, start: dt.date, number: int) -> list[Row]:
    """Return a day's new sales, in the order of their time."""
    rng, day = world.rng, start + dt.timedelta(days=number)
    count = int(rng.poisson(_SALES_A_DAY * _WEEKDAYS[day.weekday()] * (1 + _GROWTH_A_DAY * number)))
    products = rng.choice(_PRODUCTS, count, p=world.products)
    customers = rng.choice(_CUSTOMERS, count, p=world.customers)
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
        "revenue": _money(sum(by_category.values())),
        "revenue_by_category": {name: _money(cents) for name, cents in sorted(by_category.items())},
    }


def _money(cents: int) -> str:
    return str(Decimal(cents).scaleb(-2))


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            money = {name: _money(row[name]) for name in ("unit_price", "total_amount")}
            writer.writerow({**row, **money, "updated_at": f"{row['updated_at']:%Y-%m-%dT%H:%M:%SZ}"})


def _write_ndjson(path: Path, rows: list[Row]) -> None:
    lines = []
    for row in rows:
        money = {name: row[name] / 100 for name in ("unit_price", "total_amount")}
        lines.append(json.dumps({**row, **money, "updated_at": f"{row['updated_at']:%Y-%m-%dT%H:%M:%SZ}"}))
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def _write_parquet(path: Path, rows: list[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "sale_date": pa.date32(),
        "quantity": pa.int32(),
        "unit_price": pa.decimal128(12, 2),
        "total_amount": pa.decimal128(14, 2),
        "updated_at": pa.timestamp("us", tz="UTC"),
    }
    values: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in FIELDS}
    values["sale_date"] = [dt.date.fromisoformat(day) for day in values["sale_date"]]
    for name in ("unit_price", "total_amount"):
        values[name] = [Decimal(cents).scaleb(-2) for cents in values[name]]
    arrays = [pa.array(values[name], kinds.get(name, pa.string())) for name in FIELDS]
    pq.write_table(pa.table(arrays, names=list(FIELDS)), path, compression="zstd")


_FORMATS: tuple[tuple[str, Callable[[Path, list[Row]], None]], ...] = (
    ("csv", _write_csv),
    ("ndjson.gz", _write_ndjson),
    ("parquet", _write_parquet),
)
