"""`dp bench checks`: what the checks of a large table cost, beside one full scan of it and Great Expectations."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql
from rich.table import Table

from data_quality.checks import Check, CheckResult, Severity, Threshold, checks_from_contract
from data_quality.checks.rules import Accepted, Pattern, RowCount
from data_quality.contract import load_contracts
from data_quality.results import record
from data_quality.runners.great_expectations import Expectation, Suite, run_suite
from data_quality.runners.sql import run_checks
from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings

LIMIT = 3  # times one full scan
REGIONS = ["North", "South", "East", "West"]
CATEGORIES = ["Electronics", "Clothing", "Home & Garden", "Sports", "Toys", "Groceries"]
_FILL = """
INSERT INTO staging.customers (customer_id, _file_id) SELECT 'C' || n, 1 FROM generate_series(0, 49999) AS n;
INSERT INTO staging.products (product_id, _file_id) SELECT 'P' || n, 1 FROM generate_series(0, 899) AS n;
INSERT INTO staging.sales
SELECT 'S' || lpad(n::text, 10, '0'), date '2024-01-01' + n % 700, CASE WHEN n % 10 > 0 THEN 'C' || n * 31 % 50000 END,
    'P' || n % 900, ({categories}::text[])[1 + n % 6], 1 + n % 9, (1 + n % 9000) / 100.0,
    (1 + n % 9) * round((1 + n % 9000) / 100.0, 2), ({regions}::text[])[1 + n % 4],
    now() - n % 86400 * interval '1 s', 1
FROM generate_series(1, {rows}) AS n
"""


def bench_checks(settings: StackSettings, rows: int, repeat: int, with_gx: bool) -> dict[str, Any]:
    """Fill a table like staging.sales, check it in each way and return the figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        rows: Rows of the table.
        repeat: Runs of the scan and of our checks, after one to warm up; the median counts. GX runs once.
        with_gx: Whether Great Expectations runs, too.
    """
    with scratch_stack(settings, ("postgres",)) as (scratch, _):
        dsn = scratch.dsn("transformer")
        checks = _table(settings, scratch.dsn("loader"), rows)
        record(run_checks(checks, dsn), "before", dsn)  # what the volume is compared with
        scan, values = _full_scans(dsn)
        results: list[CheckResult] = []
        with psycopg.connect(dsn, autocommit=True) as connection:
            # In turn, so that what else the machine does falls on all.
            scanned, read, ours = _seconds(
                [
                    lambda: connection.execute(scan.encode()).fetchall(),
                    lambda: connection.execute(values.encode()).fetchall(),
                    lambda: results.extend(run_checks(checks, dsn)),
                ],
                repeat,
            )
        bad = [str(result) for result in results if result.status != "passed"]
        if bad:
            raise PlatformError(f"rules of the benchmark did not pass: {'; '.join(bad)}")
        figures = {"rows": rows, "rules": len(checks), "scan": scan, "scan_of_values": values}
        figures |= {"scan_seconds": scanned, "value_scan_seconds": read, "our_seconds": ours}
        return figures | (_great_expectations(dsn, rows) if with_gx else {})


def _table(settings: StackSettings, dsn: str, rows: int) -> list[Check]:
    """Make the tables as ingestion does and fill them; return the rules: the shipped contract's, and three more."""
    from pipelines.ingestion.warehouse import ensure_table

    contracts = {contract.name: contract for contract in load_contracts(settings.root / "data-quality/contracts")}
    began = time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("sales", "customers", "products"):
            ensure_table(connection, contracts[name])
        filling = sql.SQL(_FILL).format(categories=CATEGORIES, regions=REGIONS, rows=rows)
        connection.execute(filling.as_string(connection).encode())
        for name in ("sales", "customers", "products"):
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier("staging", name)))
    err.print(f"[dim]{rows:,} rows in {time.monotonic() - began:.0f} s[/]")

    def more(name: str, rule: Any, threshold: Threshold, compared: bool = False) -> Check:
        return Check(name, "staging", "sales", threshold, rule, Severity.WARN, compared=compared)

    none = Threshold("mustBe", 0)
    return [
        *checks_from_contract(contracts["sales"], others=contracts),
        more("region_accepted", Accepted("region", tuple(REGIONS)), none),
        more("product_id_pattern", Pattern("product_id", "^P[0-9]+$"), none),
        more("volume", RowCount(), Threshold("mustBeBetween", [-20, 20]), compared=True),
    ]


def _full_scans(dsn: str) -> tuple[str, str]:
    """Return two statements over every column of every row: one sees whether it has a value, one reads the value."""
    with psycopg.connect(dsn) as connection:
        columns = connection.execute(
            "SELECT attname, atttypid = 'jsonb'::regtype FROM pg_attribute"
            " WHERE attrelid = 'staging.sales'::regclass AND attnum > 0"
        ).fetchall()
    counted = ", ".join(f"count({name})" for name, _ in columns)
    read = ", ".join(f"count({name})" if is_json else f"max({name})" for name, is_json in columns)
    return f"SELECT {counted} FROM staging.sales", f"SELECT {read} FROM staging.sales"


def _seconds(ways: Sequence[Callable[[], Any]], repeat: int) -> list[float]:
    """Return the median seconds of each way, run in turn, after one round to warm up."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(repeat + 1):
        for way, seconds in zip(ways, taken, strict=True):
            began = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds[1:]) for seconds in taken]


def _great_expectations(dsn: str, rows: int) -> dict[str, Any]:
    """Check the same with Great Expectations; the seconds are without its import."""
    began = time.perf_counter()
    import great_expectations  # noqa: F401

    imported = time.perf_counter() - began
    suite = Suite("sales", "staging", "sales", tuple(_expectations(rows)))
    began = time.perf_counter()
    results = run_suite(suite, dsn)
    seconds = time.perf_counter() - began
    bad = [str(result) for result in results if result.status != "passed"]
    if bad:
        raise PlatformError(f"expectations of the benchmark did not pass: {'; '.join(bad)}")
    return {"gx_seconds": seconds, "gx_import_seconds": imported, "gx_rules": len(results)}


def _expectations(rows: int) -> list[Expectation]:
    """Return the 30 rules as GX has them. Foreign keys and sums are SQL there: it has no expectation for them."""
    found: list[Expectation] = []

    def expect(kind: str, **kwargs: Any) -> None:
        found.append(Expectation(f"{len(found)}_{kind}", kind, Severity.WARN, kwargs))

    columns = ["sale_id", "sale_date", "customer_id", "product_id", "product_category", "quantity", "unit_price",
               "total_amount", "region", "updated_at"]  # fmt: skip
    expect("expect_table_row_count_to_be_between", min_value=1)
    expect("expect_table_row_count_to_be_between", min_value=int(rows * 0.8), max_value=int(rows * 1.2))
    expect("expect_table_columns_to_match_set", column_set=columns, exact_match=False)
    expect("expect_column_values_to_be_unique", column="sale_id")
    for column in columns:
        expect("expect_column_values_to_not_be_null", column=column, mostly=0.8 if column == "customer_id" else 1)
    expect("expect_column_values_to_be_in_set", column="product_category", value_set=CATEGORIES)
    expect("expect_column_values_to_be_in_set", column="region", value_set=REGIONS)
    for column, least in (("quantity", 1), ("unit_price", 0), ("total_amount", 0), ("sale_date", "2000-01-01")):
        expect("expect_column_values_to_be_between", column=column, min_value=least)
    for column in ("sale_id", "customer_id", "product_id", "region"):
        expect("expect_column_value_lengths_to_be_between", column=column, min_value=1, max_value=40)
    expect("expect_column_values_to_match_regex", column="product_id", regex="^P[0-9]+$")
    expect("expect_column_max_to_be_between", column="updated_at", min_value="2000-01-01")
    for condition in (
        "abs(total_amount - quantity * unit_price) > 0.01",
        "sale_date > current_date + 1",
        "customer_id <> '' AND NOT EXISTS (SELECT FROM staging.customers WHERE customer_id = s.customer_id)",
        "NOT EXISTS (SELECT FROM staging.products WHERE product_id = s.product_id)",
    ):
        query = f"SELECT sale_id FROM staging.sales AS s WHERE {condition}"
        expect("unexpected_rows_expectation", unexpected_rows_query=query)
    return found


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    scan, values = figures["scan_seconds"], figures["value_scan_seconds"]
    table = Table(title=f"{figures['rules']} rules on {figures['rows']:,} rows", box=None)
    for name in ("way", "seconds", "times a full scan", "times count()"):
        table.add_column(name, justify="left" if name == "way" else "right")
    lines = [
        ("count() of every column, which sees whether there is a value", scan),
        ("one full scan: max() of every column, which reads the value", values),
        ("our checks", figures["our_seconds"]),
    ]
    if "gx_seconds" in figures:
        lines.append(("Great Expectations, the same rules", figures["gx_seconds"]))
    for name, seconds in lines:
        table.add_row(name, f"{seconds:.2f}", f"{seconds / values:.1f}", f"{seconds / scan:.1f}")
    out.print(table)
    out.print(f"our checks should take at most {LIMIT} times a full scan")
    for name in ("scan", "scan_of_values"):
        out.print(f"[dim]{figures[name]}[/]")
    if "gx_seconds" in figures:
        out.print(f"[dim]without the import of Great Expectations, {figures['gx_import_seconds']:.0f} s[/]")
