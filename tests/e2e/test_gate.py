"""The gate on the running platform: golden figures, a wrong row held back, a model built alone, data as products."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import duckdb
import httpx
import psycopg
import pytest

from dataplatform_cli.airflow_api import AirflowClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ACCEPTED = ("Electronics", "Clothing", "Home & Garden", "Sports", "Toys", "Groceries")
GOLDEN = {
    "agg_revenue_daily": (
        "SELECT day, count(*), sum(quantity), sum(amount) FROM sales GROUP BY day ORDER BY day",
        "SELECT sale_date, sales, quantity, revenue FROM curated.agg_revenue_daily ORDER BY sale_date",
    ),
    "the rolling average": (
        "SELECT day, round(avg(revenue) OVER (ORDER BY day RANGE BETWEEN INTERVAL 6 DAYS PRECEDING AND CURRENT ROW), 2)"
        " FROM (SELECT day, sum(amount)::DOUBLE AS revenue FROM sales GROUP BY day) ORDER BY day",
        "SELECT sale_date, revenue_7_day_average FROM curated.agg_revenue_daily ORDER BY sale_date",
    ),
    "agg_category_performance": (
        "SELECT date_trunc('month', day)::DATE, category, count(*), sum(amount) FROM sales GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT month_start, product_category, sales, revenue FROM curated.agg_category_performance"
        ' ORDER BY month_start, product_category COLLATE "C"',
    ),
    "agg_customer_revenue": (
        "SELECT customer, count(*), sum(amount), rank() OVER (ORDER BY sum(amount) DESC) FROM sales"
        " WHERE customer IS NOT NULL GROUP BY 1 ORDER BY 1",
        "SELECT customer_id, sales, revenue, revenue_rank FROM curated.agg_customer_revenue"
        ' ORDER BY customer_id COLLATE "C"',
    ),
    "agg_region_revenue_daily": (
        "SELECT region, sum(amount) FROM sales GROUP BY 1 ORDER BY 1",
        'SELECT region, sum(revenue) FROM curated.agg_region_revenue_daily GROUP BY 1 ORDER BY region COLLATE "C"',
    ),
}


@pytest.fixture(scope="module")
def truth(platform: Any) -> duckdb.DuckDBPyConnection:
    """The sales as they must be, read from the sample's files by DuckDB with rules of its own."""
    folder = platform.settings.home / "sample"
    names = "sale_id, sale_date, customer_id, product_category, quantity, total_amount, region, updated_at"
    parts = []
    for pattern, reader in (
        ("sales_*.csv", "read_csv('{}', all_varchar = true)"),
        ("sales_*.ndjson.gz", "read_json('{}', format = 'newline_delimited')"),
        ("sales_*.parquet", "read_parquet('{}')"),
    ):
        files = [path for path in sorted(folder.glob(pattern)) if "export_error" not in path.name]
        parts += [f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT {names} FROM {reader.format(path)})" for path in files]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE TABLE sales AS SELECT sale_id, sale_date::DATE AS day, nullif(customer_id, '') AS customer,"
        " product_category AS category, quantity::INTEGER AS quantity, total_amount::DECIMAL(14, 2) AS amount, region"
        f" FROM ({' UNION ALL '.join(parts)})"
        " WHERE try_cast(sale_date AS DATE) IS NOT NULL AND quantity::INTEGER > 0 AND product_category IN ?"
        " QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY updated_at::TIMESTAMPTZ DESC) = 1",
        [list(ACCEPTED)],
    )
    return connection


@pytest.mark.parametrize("name", list(GOLDEN))
def test_the_marts_hold_the_figures_of_the_files(platform: Any, truth: duckdb.DuckDBPyConnection, name: str) -> None:
    from_files, from_marts = GOLDEN[name]
    expected = [tuple(map(_plain, row)) for row in truth.execute(from_files).fetchall()]
    held = [tuple(map(_plain, row)) for row in platform.rows(from_marts, "reporter")]
    assert len(expected) > 3
    assert held == expected


def _plain(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, float | Decimal) else value


def test_marts_are_exported_as_parquet(platform: Any, truth: duckdb.DuckDBPyConnection, tmp_path: Any) -> None:
    manifest = json.loads(platform.s3.get_object(Bucket="curated", Key="fct_sales/manifest.json")["Body"].read())
    paths = []
    for file in manifest["files"]:
        paths.append(str(tmp_path / file["path"].rsplit("/data/", 1)[1].replace("/", "_")))
        platform.s3.download_file("curated", file["path"].removeprefix("s3://curated/"), paths[-1])
    exported = duckdb.execute("SELECT count(*), sum(total_amount) FROM read_parquet($1)", [paths]).fetchone()
    assert exported == truth.execute("SELECT count(*), sum(amount) FROM sales").fetchone()


def test_the_domains_data_are_served(platform: Any) -> None:
    with httpx.Client(base_url=platform.settings.metadata_url) as http:
        orders = http.get("/sales/orders", params={"limit": 5}).raise_for_status().json()
        campaigns = http.get("/marketing/campaigns", params={"limit": 50}).raise_for_status().json()
    known = platform.rows("SELECT count(*) FROM curated.fct_campaign_performance", "reporter")
    assert (len(orders["items"]), len(campaigns["items"])) == (5, known[0][0])


def test_a_model_that_failed_is_built_alone_and_the_run_goes_on(platform: Any) -> None:
    """An order with a negative amount, which no contract would let in, stands for a fault in the data."""
    before = platform.rows("SELECT count(*), sum(amount) FROM curated.fct_orders", "reporter")
    load(
        platform,
        "planted",
        "INSERT INTO staging.orders SELECT (jsonb_populate_record(o, jsonb_build_object('order_id', 'PLANTED',"
        " 'amount', -5, '_file_id', %s::bigint))).* FROM staging.orders AS o LIMIT 1",
    )
    airflow = AirflowClient(platform.settings)
    run = airflow.trigger("build__curated")
    states = ended(airflow, run)
    assert (states["dbt_build"], states["fct_orders"], states["hold_back"]) == ("success", "failed", "failed")
    # Nothing that the sales are made of has changed.
    assert states["fct_sales"] == "skipped"
    assert platform.rows("SELECT count(*), sum(amount) FROM curated.fct_orders", "reporter") == before
    ((held_back_by, status),) = platform.rows("SELECT held_back_by, status FROM audit.publication_latest", "reporter")
    assert (held_back_by, status) == ("not_negative_fct_orders_amount", "held_back")
    assert "test not_negative_fct_orders_amount fail" in airflow.failure("build__curated", run)

    # A correction comes as a file of its own.
    load(platform, "mended", "UPDATE staging.orders SET amount = 5, _file_id = %s WHERE order_id = 'PLANTED'")
    clear_failed(platform, run)
    states = ended(airflow, run)
    assert "failed" not in states.values(), airflow.failure("build__curated", run)
    assert (states["fct_orders"], states["publish"], states["export"]) == ("success", "success", "success")
    assert platform.rows("SELECT amount FROM curated.fct_orders WHERE order_id = 'PLANTED'", "reporter") == [
        (Decimal("5.00"),)
    ]
    assert platform.rows("SELECT status FROM audit.publication_latest", "reporter") == [("published",)]


def load(platform: Any, name: str, statement: str) -> None:
    """Change staging.orders as a file of that name would, with its entry in the ledger."""
    with psycopg.connect(platform.settings.dsn("loader")) as connection:
        row = connection.execute(
            "INSERT INTO audit.file_ingestion_log (dataset, path, content_hash, contract_version, status, rows_read,"
            " rows_inserted) VALUES ('orders', 's3://raw/orders/' || %s, %s, '1.0.0', 'succeeded', 1, 1) RETURNING id",
            [name, name],
        ).fetchone()
        connection.execute(statement.encode(), row)


def clear_failed(platform: Any, run_id: str) -> None:
    """What "Clear > only failed" does in Airflow's pages."""
    with httpx.Client(base_url=platform.settings.airflow_url) as http:
        login = {"username": "admin", "password": platform.settings.airflow_admin_password.get_secret_value()}
        token = http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        asked = {"dag_run_id": run_id, "only_failed": True, "dry_run": False, "reset_dag_runs": True}
        http.post(
            "/api/v2/dags/build__curated/clearTaskInstances",
            json=asked,
            headers={"Authorization": f"Bearer {token}"},
        ).raise_for_status()


def ended(airflow: AirflowClient, run_id: str) -> dict[str, str]:
    """Return the states of a run's tasks once it has ended."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        [run] = [run for run in airflow.runs("build__curated") if run["dag_run_id"] == run_id]
        if run["state"] in ("success", "failed"):
            return {task["task_id"]: task["state"] for task in airflow.task_instances("build__curated", run_id)}
        time.sleep(1)
    raise AssertionError(f"{run_id} did not end")
