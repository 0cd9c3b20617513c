"""Orders: one file a fortnight, in turns gzipped CSV, packed NDJSON and Parquet. Later files move their status on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from pipelines.ingestion.generator.delivery import Delivery, Table
from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.sales import CUSTOMERS
from pipelines.ingestion.generator.writers import Kind, Row

FIELDS: dict[str, Kind] = {
    "order_id": "text",
    "customer_id": "text",
    "ordered_at": "timestamp",
    "status": "text",
    "channel": "text",
    "items": "integer",
    "amount": "money",
    "currency": "text",
    "coupon": "text",
    "updated_at": "timestamp",
}
STATUSES = ("placed", "paid", "shipped", "delivered")
CHANNELS = ("web", "app", "shop", "phone")
_EXTENSIONS = ("csv.gz", "ndjson.zst", "parquet")
_FORTNIGHT, _ORDERS_A_DAY, _ENOUGH = 14, 25, 110


def write_orders(folder: Path, start: dt.date, days: int, seed: int) -> tuple[list[ExpectedFile], Table]:
    """Write the files; return what is expected of each, and the table."""
    rng = np.random.default_rng([seed, 3])
    table = Table("orders", "order_id", FIELDS)
    files = []
    for number, first in enumerate(range(0, days, _FORTNIGHT)):
        extension = _EXTENSIONS[number % len(_EXTENSIONS)]
        day, length = start + dt.timedelta(days=first), min(_FORTNIGHT, days - first)
        delivery = _fortnight(rng, table, day, length, typed=extension == "parquet")
        files.append(delivery.write(folder, f"orders_{day}.{extension}"))
    return files, table


def _fortnight(rng: np.random.Generator, table: Table, first: dt.date, days: int, *, typed: bool) -> Delivery:
    """Return a file: new orders, older ones moved on, some repeated, and dirt. A typed file can't hold all of it."""
    delivery = Delivery(table)
    closing = dt.datetime.combine(first + dt.timedelta(days=days - 1), dt.time(23), dt.UTC)
    earlier = list(table.rows)
    opening = dt.datetime.combine(first, dt.time(), dt.UTC)
    for day in range(days):
        for _ in range(int(rng.poisson(_ORDERS_A_DAY))):
            when = opening + dt.timedelta(days=day, seconds=int(rng.integers(0, 22 * 3600)))
            row = _order(rng, len(table.rows) + 1, when)
            if rng.random() < 0.02:
                delivery.outdated(row)
                row = {**row, "status": "paid", "updated_at": when + dt.timedelta(minutes=5)}
            delivery.new(row)
    for index in rng.permutation(len(earlier))[: len(delivery.rows) // 4]:
        row = table.rows[earlier[index]]
        step = STATUSES.index(row["status"]) + 1
        if step < len(STATUSES):
            delivery.change({**row, "status": STATUSES[step], "updated_at": closing})
        else:
            delivery.known(row)
    if len(delivery.rows) < _ENOUGH:  # in a small file so much dirt would be past the contract's budget
        return delivery
    example = delivery.rows[0]
    delivery.bad({**example, "order_id": f"X{first}1", "status": "lost"}, "status: accepted")
    delivery.bad({**example, "order_id": f"X{first}2", "customer_id": None}, "customer_id: required")
    delivery.bad({**example, "order_id": f"X{first}3", "items": 0}, "items: minimum")
    if not typed:
        delivery.bad({**example, "order_id": f"X{first}4", "amount": "12,3O"}, "amount: type")
        delivery.bad({**example, "order_id": f"X{first}5", "ordered_at": "yesterday"}, "ordered_at: type")
    return delivery


def _order(rng: np.random.Generator, number: int, when: dt.datetime) -> Row:
    items = 1 + int(rng.poisson(1.5))
    return {
        "order_id": f"O{number:06d}",
        "customer_id": f"C{int(rng.integers(CUSTOMERS)) + 1:04d}",
        "ordered_at": when,
        "status": "placed",
        "channel": CHANNELS[rng.choice(4, p=[0.5, 0.25, 0.2, 0.05])],
        "items": items,
        "amount": int(sum(rng.integers(500, 9000) for _ in range(items))),
        "currency": "EUR",
        "coupon": f"SAVE{rng.integers(1, 4)}0" if rng.random() < 0.1 else None,
        "updated_at": when,
    }
