"""The benchmark's data: a dirty CSV of sales in random key order, and its clean rows as the limit gets them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

DUPLICATES = 50  # one row in so many repeats a key
BAD = 50  # and one in so many breaks a rule

_ROWS = """
SELECT i, CASE WHEN i % {duplicates} = 7 THEN i - 5 ELSE i END AS number,
    '{prefix}' || lpad((number * 7919 % 1000000007)::VARCHAR, 10, '0') AS sale_id,
    DATE '2024-01-01' + (i % 700)::INTEGER AS sale_date, 'C' || (i * 31 % 50000) AS customer_id,
    'P' || (i * 17 % 900) AS product_id,
    ['Electronics', 'Clothing', 'Home & Garden', 'Sports', 'Toys', 'Groceries'][1 + i % 6] AS product_category,
    (1 + i % 9)::INTEGER AS quantity, ((1 + i % 9000) / 100.0)::DECIMAL(12, 2) AS unit_price,
    (quantity * unit_price)::DECIMAL(14, 2) AS total_amount,
    ['North', 'South', 'East', 'West'][1 + i % 4] AS region,
    TIMESTAMPTZ '2026-01-01 00:00:00Z' + to_seconds(i) AS updated_at
FROM range({rows}) AS t (i)
"""
COLUMNS = ("sale_id", "sale_date", "customer_id", "product_id", "product_category", "quantity", "unit_price",
           "total_amount", "region", "updated_at")  # fmt: skip


COPIED = (*COLUMNS, "_rescued", "_file_id")  # what a load writes; the rest of the table has defaults


@dataclass(frozen=True)
class Data:
    """Files of one set of rows.

    Attributes:
        dirty: CSV with repeated keys and bad rows.
        typed: The same without the bad rows, for those who can't reject: repeated keys are in it.
        clean: The rows that have to be in the table afterwards, sorted by key, without a header: COPIED's columns.
        rows: Rows in `dirty`.
        kept: Rows in `clean`.
    """

    dirty: Path
    typed: Path
    clean: Path
    rows: int
    kept: int


def write_data(folder: Path, rows: int, prefix: str = "S") -> Data:
    """Write the files of `rows` rows whose keys begin with `prefix`."""
    data = {name: folder / f"{prefix}-{name}.csv" for name in ("dirty", "typed", "clean")}
    with duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder)}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        query = _ROWS.format(rows=rows, prefix=prefix, duplicates=DUPLICATES)
        names = ", ".join(COLUMNS)
        stamp = "strftime(updated_at, '%Y-%m-%dT%H:%M:%SZ') AS updated_at"
        many = f"CASE WHEN i % {BAD} = 11 THEN 'many' ELSE quantity::VARCHAR END AS quantity,"
        dirty = f"SELECT {names.replace('updated_at', stamp).replace('quantity,', many)} FROM ({query})"
        good = f"({query}) WHERE i % {BAD} <> 11"
        newest = "QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY updated_at DESC) = 1"
        engine.execute(f"COPY ({dirty}) TO '{data['dirty']}' (FORMAT csv, HEADER)")
        engine.execute(f"COPY (SELECT {names} FROM {good}) TO '{data['typed']}' (FORMAT csv, HEADER)")
        [(kept,)] = engine.execute(
            f"COPY (SELECT {names}, NULL AS _rescued, 0 AS _file_id FROM {good} {newest} ORDER BY sale_id) "
            f"TO '{data['clean']}' (FORMAT csv, HEADER false)"
        ).fetchall()
    return Data(data["dirty"], data["typed"], data["clean"], rows, kept)


def write_delta(data: Data, folder: Path, share: int = 100) -> Path:
    """Write a second delivery: one row in `share` of the clean ones, changed and newer."""
    path = folder / "delta.csv"
    changed = (
        "* EXCLUDE (_rescued, _file_id) REPLACE ('Centre' AS region, "
        "strftime(updated_at::TIMESTAMPTZ + INTERVAL 1 YEAR, '%Y-%m-%dT%H:%M:%SZ') AS updated_at)"
    )
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        scan = f"read_csv('{data.clean}', header=false, all_varchar=true, names={list(COPIED)})"
        engine.execute(
            f"COPY (SELECT {changed} FROM {scan} WHERE hash(sale_id) % {share} = 0) TO '{path}' (FORMAT csv, HEADER)"
        )
    return path


def write_contract(path: Path) -> Path:
    """Write the contract of the benchmark's data: every kind of rule, and a budget that lets the bad rows pass."""
    text = {"logicalType": "string", "physicalType": "text", "required": True}

    def column(name: str, **more: object) -> dict[str, object]:
        return {"name": name, **text, **more}

    price = {"logicalType": "number", "logicalTypeOptions": {"minimum": 0}}
    properties = [
        column("sale_id", primaryKey=True, logicalTypeOptions={"minLength": 1, "maxLength": 40}),
        column("sale_date", logicalType="date", physicalType="date", logicalTypeOptions={"minimum": "2000-01-01"}),
        column("customer_id", logicalTypeOptions={"maxLength": 40}),
        column("product_id", logicalTypeOptions={"maxLength": 40}),
        column("product_category"),
        column("quantity", logicalType="integer", physicalType="integer", logicalTypeOptions={"minimum": 1}),
        column("unit_price", physicalType="numeric(12,2)", **price),
        column("total_amount", physicalType="numeric(14,2)", **price),
        column("region", logicalTypeOptions={"maxLength": 40}),
        column(
            "updated_at", logicalType="timestamp", physicalType="timestamptz", logicalTypeOptions={"timezone": True}
        ),
    ]
    contract = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "bench", "version": "1.0.0", "status": "active",
        "domain": "bench", "team": {"name": "bench"},
        "schema": [{"name": "bench_sales", "logicalType": "object", "properties": properties}],
        "customProperties": [{"property": "ingest", "value": {
            "write": "upsert", "order_by": "updated_at", "rejects": {"max_percent": 5, "max_rows": 10**9}}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    return path
