"""`dp bench build`: a full build of large marts to their publication, and one after a small change."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.table import Table

from data_quality.contract import load_contracts
from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3

LIMIT = 0.2  # of a full build
DAYS = 700
_DAY = sql.SQL("date '2024-01-01' + n % {}").format(DAYS)
_ALL = sql.SQL("true")
_NEXT_WEEK = sql.SQL("date '2024-01-01' + {} + n % 7").format(DAYS)
_SALES = """
INSERT INTO staging.sales (sale_id, sale_date, customer_id, product_id, product_category, quantity, unit_price,
    total_amount, region, updated_at, _file_id, _loaded_at)
SELECT 'S' || lpad(n::text, 10, '0'), {day}, CASE WHEN n % 10 > 0 THEN 'C' || n * 31 % 50000 END,
    'P' || n % 900, (ARRAY['Electronics', 'Clothing', 'Home & Garden', 'Sports', 'Toys', 'Groceries'])[1 + n % 6],
    1 + n % 9, (1 + n % 9000) / 100.0, (1 + n % 9) * round((1 + n % 9000) / 100.0, 2) + {more},
    (ARRAY['North', 'South', 'East', 'West'])[1 + n % 4], now(), {file}, now()
FROM generate_series({first}, {last}) AS n WHERE {chosen}
ON CONFLICT (sale_id) DO UPDATE SET total_amount = excluded.total_amount, _file_id = excluded._file_id
"""
_FILE = """
INSERT INTO audit.file_ingestion_log (id, dataset, path, content_hash, contract_version, status, rows_read,
    rows_inserted) VALUES (%(file)s, 'sales', 'bench', 'bench' || %(file)s::text, '1.0.0', 'succeeded', 1, 1)
"""


def bench_build(settings: StackSettings, rows: int) -> dict[str, Any]:
    """Build, publish and export the marts of `rows` sales; change one percent of them, and do it again.

    Half of the change are sales of a new week, half are corrections of the month before. The seconds are of the model
    fct_sales alone, of dbt as a whole with its start, of the publication and of the export.
    """
    with scratch_stack(settings, ("postgres", "s3")) as (scratch, folder):
        began = time.monotonic()
        _fill(settings, scratch, rows)
        err.print(f"[dim]{rows:,} sales in {time.monotonic() - began:.0f} s[/]")
        full = _build(settings, scratch, folder, "full")
        half = rows // 200
        with psycopg.connect(scratch.dsn("loader")) as connection:
            # Of the last 30 of 700 days, as many as make half a percent.
            late = sql.SQL("n % {} >= {} AND n / {} % 100 < {}").format(DAYS, DAYS - 30, DAYS, round(50 * DAYS / 3000))
            _load(connection, first=1, last=rows, day=_DAY, chosen=late, more=1, file=2)
            _load(connection, first=rows + 1, last=rows + half, day=_NEXT_WEEK, file=3)
        part = _build(settings, scratch, folder, "part")
        with psycopg.connect(scratch.dsn("reporter")) as connection:
            row = connection.execute("SELECT count(*), count(*) FILTER (WHERE file_id > 1) FROM curated.fct_sales")
            counted, changed = row.fetchone() or (0, 0)
    if counted != rows + half:
        raise PlatformError(f"{counted:,} sales were published instead of {rows + half:,}")
    return {"rows": rows, "changed": changed, "full": full, "after_change": part, "limit": LIMIT}


def print_report(figures: dict[str, Any]) -> None:
    """Print both builds side by side, and the ratio."""
    full, part = figures["full"], figures["after_change"]
    table = Table(title=f"{figures['rows']:,} sales, then {figures['changed']:,} changed", title_justify="left")
    for heading in ("", "full build", "after the change", "ratio"):
        table.add_column(heading, justify="left" if not heading else "right")
    for step in full:
        ratio = f"{part[step] / full[step]:.2f}" if full[step] else ""
        table.add_row(step.replace("_", " "), f"{full[step]:.1f} s", f"{part[step]:.1f} s", ratio)
    out.print(table)
    out.print(f"limit: {figures['limit']} of a full build to the publication")


def _fill(settings: StackSettings, scratch: StackSettings, rows: int) -> None:
    from pipelines.ingestion.ledger import ensure_schema

    contracts = load_contracts(settings.root / "data-quality" / "contracts")
    with psycopg.connect(scratch.dsn("loader"), autocommit=True) as connection:
        for contract in contracts:
            ensure_schema(connection, contract)
        connection.execute(
            "INSERT INTO staging.customers (customer_id, segment, country, city, newsletter, created_at, updated_at,"
            " _file_id) SELECT 'C' || n, 'consumer', 'DE', 'Berlin', n % 2 = 0, now(), now(), 1"
            " FROM generate_series(0, 49999) AS n"
        )
        _load(connection, first=1, last=rows, day=_DAY, file=1)
        for contract in contracts:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("staging", contract.table)))


def _load(
    connection: psycopg.Connection[Any],
    *,
    first: int,
    last: int,
    day: sql.Composable,
    chosen: sql.Composable = _ALL,
    more: int = 0,
    file: int,
) -> None:
    """Load sales as a file of their own; `more` is added to their amounts."""
    numbers = {"first": first, "last": last, "more": more, "file": file}
    values = {name: sql.Literal(value) for name, value in numbers.items()}
    connection.execute(_FILE, {"file": file})
    connection.execute(sql.SQL(_SALES).format(day=day, chosen=chosen, **values))


def _build(settings: StackSettings, scratch: StackSettings, folder: Path, build_id: str) -> dict[str, float]:
    """Build as the DAG does; return the seconds of each step."""
    import shutil

    from pipelines.publishing import export_models, marts_of, publish
    from pipelines.transformation import BuildRecord, select_changed

    dsn, target, published = scratch.dsn("transformer"), folder / "target", folder / "published"
    project = settings.root / "transformations"
    started_at = dt.datetime.now(dt.UTC)
    began = time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        selection = select_changed(connection, {"sales": "sales.sales"}, project, published, target)
    with BuildRecord(dsn, build_id, target) as record:
        nodes = record.run(
            selection.arguments,
            project=project,
            environment={
                "WAREHOUSE_HOST": scratch.loopback,
                "WAREHOUSE_PORT": str(scratch.postgres_port),
                "WAREHOUSE_USER": "transformer",
                "WAREHOUSE_PASSWORD": scratch.password("transformer"),
            },
            echo=lambda line: None,
        )
    failed = [f"{node.name}: {node.message}" for node in nodes if node.failed]
    if failed:
        raise PlatformError(f"the build failed: {'; '.join(failed)}")
    built = time.monotonic()
    marts = marts_of(target / "manifest.json")
    publish(dsn, marts, build_id=build_id, run_id="bench", sources=selection.sources, started_at=started_at)
    published.mkdir(exist_ok=True)
    shutil.copy(target / "manifest.json", published / "manifest.json")
    done = time.monotonic()
    export_models(dsn, s3.client(scratch), marts)
    exported = time.monotonic()
    slowest = sorted(nodes, key=lambda node: -(node.seconds or 0))[:6]
    err.print("[dim]slowest: " + ", ".join(f"{node.kind} {node.name} {node.seconds:.1f} s" for node in slowest) + "[/]")
    return {
        "model_fct_sales": round(next(node.seconds or 0 for node in nodes if node.name == "fct_sales"), 2),
        "dbt_build": round(built - began, 2),
        "publication": round(done - built, 2),
        "to_the_publication": round(done - began, 2),
        "export": round(exported - done, 2),
    }
