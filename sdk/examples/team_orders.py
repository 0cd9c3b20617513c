"""Team Orders: a day's orders from CSV into a table, and the day's revenue from that."""

from __future__ import annotations

import csv
import io
import sqlite3
import sys

from data_lineage_hub_sdk import configure, flush, lineage_run, lineage_track

configure(namespace="team-orders")

ORDERS = {"type": "table", "name": "orders"}  # in the team's own namespace, since none is named
REVENUE = {"type": "table", "name": "daily_revenue"}
LANDED = "order_id,region,amount\n1,eu,12.50\n2,us,8.00\n3,eu,30.25\n"


@lineage_track(
    "load_orders",
    inputs=[{"type": "file", "name": "s3://shop-landing/orders/{day}.csv", "format": "csv"}],
    outputs=[ORDERS],
)
def load(database: sqlite3.Connection, day: str) -> int:
    """Load a day's orders into the table."""
    rows = [(day, row["order_id"], row["region"], float(row["amount"])) for row in csv.DictReader(io.StringIO(LANDED))]
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    return len(rows)


@lineage_track("orders_day")
def process(day: str) -> float:
    """Load a day and sum up its revenue; the runs of its steps are parts of this one."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (day TEXT, order_id TEXT, region TEXT, amount REAL)")
    rows = load(database, day)
    with lineage_run("daily_revenue", inputs=[ORDERS]) as run:
        (revenue,) = database.execute("SELECT sum(amount) FROM orders").fetchone()
        run.add_output(REVENUE)
    print(f"team-orders: {rows} orders of {day}, revenue {revenue:.2f}")
    return float(revenue)


if __name__ == "__main__":
    process("2026-01-01")
    sys.exit(0 if flush(20) else "team-orders: the hub does not take it; it is kept and sent later")
