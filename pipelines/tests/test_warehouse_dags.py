"""From the loaded table to published marts: `build__curated`, its gate, and `check__warehouse`; with their lineage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataplatform_cli.settings import StackSettings
from pipelines.ingestion.objects import ObjectStore

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

    from pipelines.tests.conftest import MetadataService, Run

pytestmark = pytest.mark.integration

FILE = """\
sale_id,sale_date,customer_id,product_id,product_category,quantity,unit_price,total_amount,region,updated_at
A,2026-01-01,C1,P1,Toys,1,70.00,70.00,North,2026-01-01T10:00:00Z
B,2026-01-07,C2,P2,Sports,2,15.00,30.00,South,2026-01-07T10:00:00Z
C,2026-01-08,C1,P1,Clothing,4,2.50,10.00,North,2026-01-08T10:00:00Z
D,2026-01-08,,P2,Sports,3,15.00,45.00,South,2026-01-08T11:00:00Z
"""
Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def loaded(clean_warehouse: None, dag_bag: DagBag, run: Callable[[DAG], Run], store: ObjectStore) -> Run:
    """Four sales in staging.sales, brought there by Airflow."""
    store.client.put_object(Bucket="raw", Key="sales/incoming/four.csv", Body=FILE.encode())
    return run(dag_bag.dags["ingest__sales"])


@pytest.fixture(scope="module")
def built(loaded: Run, dag_bag: DagBag, run: Callable[[DAG], Run]) -> Run:
    """The marts on them."""
    return run(dag_bag.dags["build__curated"])


@pytest.fixture(scope="module")
def warehouse(airflow: StackSettings) -> str:
    """Lineage's namespace of the warehouse."""
    return f"postgres://127.0.0.1:{airflow.postgres_port}"


@pytest.fixture
def build(dag_bag: DagBag, run: Callable[[DAG], Run], built: Run) -> Callable[[], Run]:
    """A function that runs build__curated again."""
    return lambda: run(dag_bag.dags["build__curated"])


@pytest.fixture
def check(dag_bag: DagBag, run: Callable[[DAG], Run], built: Run) -> Callable[[], Run]:
    """A function that runs check__warehouse."""
    return lambda: run(dag_bag.dags["check__warehouse"])


def test_the_build_gives_exact_figures(built: Run, query: Query) -> None:
    assert built.state == "success"
    assert built.asset_events == ["curated"]
    assert built.result("dbt_build")["counts"].keys() == {"success", "pass", "no-op"}
    assert {state for task, state in built.states.items() if task != "hold_back"} == {"success"}
    assert built.states["hold_back"] == "skipped"
    assert query("SELECT * FROM curated.agg_revenue_daily ORDER BY sale_date", "reporter") == [
        (*day("2026-01-01"), 1, 1, Decimal("70.00"), Decimal("70.00")),
        (*day("2026-01-07"), 1, 2, Decimal("30.00"), Decimal("50.00")),
        (*day("2026-01-08"), 2, 7, Decimal("55.00"), Decimal("42.50")),
    ]
    assert query(
        "SELECT product_id, product_category, sales, average_price FROM curated.dim_product ORDER BY 1", "reporter"
    ) == [("P1", "Clothing", 2, Decimal("16.00")), ("P2", "Sports", 2, Decimal("15.00"))]
    # A sale keeps the category that its product had, whatever it is now.
    assert query("SELECT sale_id, product_category FROM curated.fct_sales ORDER BY 1", "reporter") == [
        ("A", "Toys"), ("B", "Sports"), ("C", "Clothing"), ("D", "Sports"),
    ]  # fmt: skip


def test_the_build_is_recorded_and_exported(built: Run, query: Query, store: ObjectStore) -> None:
    ((status, models, rows, held_back_by),) = query(
        "SELECT status, models, rows_changed, held_back_by FROM audit.publications", "reporter"
    )
    assert (status, held_back_by) == ("published", [])
    assert {"fct_sales", "dim_customer", "agg_revenue_daily"} <= set(models)
    assert rows >= 4 + 3 + 2
    assert query("SELECT status, published_at = ended_at FROM audit.publication_latest", "reporter") == [
        ("published", True)
    ]
    found = query("SELECT kind, status, count(*) FROM audit.model_runs WHERE model = 'fct_sales' GROUP BY 1, 2")
    assert dict(((kind, status), count) for kind, status, count in found)["model", "success"] == 1
    manifest = json.loads(store.client.get_object(Bucket="curated", Key="fct_sales/manifest.json")["Body"].read())
    assert [file["partition"] for file in manifest["files"]] == ["2026-01"]
    assert (manifest["rows"], manifest["partition_by"]) == (4, "sale_date_month")


def day(text: str) -> tuple[Any, ...]:
    import datetime as dt

    return (dt.date.fromisoformat(text),)


def test_lineage_leads_from_the_bucket_to_the_dashboard(
    built: Run, airflow: StackSettings, metadata: MetadataService, warehouse: str
) -> None:
    start = metadata.dataset("s3://raw", "sales")
    graph = metadata.get(f"/datasets/{start['id']}/lineage", direction="downstream")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    jobs = {node["id"] for node in graph["nodes"] if node["type"] == "job"}
    edges = {(names[edge["source"]], names[edge["target"]]) for edge in graph["edges"]}
    steps = {
        (source, target)
        for source, job in edges
        for job_again, target in edges
        if job == job_again and any(names[identity] == job for identity in jobs)
    }
    table, view = "warehouse.staging.sales", "warehouse.intermediate.stg_sales__sales"
    daily = "warehouse.intermediate.int_sales__daily"
    fact, days = "warehouse.curated.fct_sales", "warehouse.curated.agg_revenue_daily"
    assert {
        ("sales", table),
        (table, view),
        (fact, "warehouse.intermediate.int_products__sold"),
        ("warehouse.intermediate.int_products__sold", "warehouse.curated.dim_product"),
        (view, fact),
        (fact, "fct_sales"),
        (fact, daily),
        (daily, days),
        (fact, "dashboard/sales"),
    } <= steps
    columns = {
        (names[edge["source"]["dataset_id"]], edge["source"]["column"],
         names[edge["target"]["dataset_id"]], edge["target"]["column"])
        for edge in graph["column_edges"]
    }  # fmt: skip
    assert {
        ("sales", "total_amount", table, "total_amount"),
        (table, "total_amount", view, "total_amount"),
        (view, "total_amount", fact, "total_amount"),
        (fact, "total_amount", daily, "revenue"),
        (daily, "revenue", days, "revenue"),
    } <= columns
    dashboard = metadata.dataset(f"superset://127.0.0.1:{airflow.superset_port}", "dashboard/sales")
    assert dashboard["owner"] == "sales-analytics"
    staged = metadata.dataset(warehouse, table)
    assert staged["owner"] == "sales-analytics"
    assert next(field for field in staged["schema"] if field["name"] == "customer_id")["tags"] == ["pii"]


def test_the_build_s_models_are_runs_below_the_task(built: Run, metadata: MetadataService) -> None:
    build = metadata.get(f"/runs/{built.lineage_id('dbt_build')}")
    assert build["state"] == "COMPLETED"
    children = {child["job"]["name"].rsplit(".", 2)[-1]: child["state"] for child in build["children"]}
    assert len(build["children"]) >= 4, children
    assert set(children.values()) == {"COMPLETED"}


def test_good_data_passes_every_check(built: Run, query: Query, metadata: MetadataService) -> None:
    # The sales are old, which is a warning. Of the other datasets there is nothing to check yet.
    ended = built.result("sql_checks")
    assert "skipped" in ended
    assert built.result("great_expectations") == {"passed": 5}
    warned = query(
        f"SELECT check_name, severity FROM audit.check_results WHERE run_id = '{built.lineage_id('sql_checks')}' "
        "AND status NOT IN ('passed', 'skipped') ORDER BY 1"
    )
    assert {("customer_id_mostly_known", "warn"), ("sales_freshness", "warn")} <= set(warned)
    assert {severity for _, severity in warned} == {"warn"}
    told = metadata.get(f"/runs/{built.lineage_id('sql_checks')}/dq_results", limit=200)
    assert told["total"] == sum(ended.values())
    # Nulls are 25 percent of the customers, and the sample of those rows shows no customer.
    (known,) = [item for item in told["items"] if item["check"] == "customer_id_mostly_known"]
    assert (known["measured"], known["expected"], known["severity"]) == (25, "< 20", "warn")
    assert [row["sale_id"] for row in known["sample"]] == ["D"]
    # What was checked in the schema candidate is known by the name under which it is published.
    assert query("SELECT DISTINCT dataset FROM audit.check_results WHERE check_name = 'revenue_matches_sales'") == [
        ("curated.agg_revenue_daily",)
    ]


def test_an_unchanged_warehouse_is_built_without_a_change(build: Callable[[], Run], query: Query) -> None:
    before = query("SELECT xmin::text, * FROM curated.fct_sales ORDER BY sale_id", "reporter")
    done = build()
    assert done.state == "success"
    assert set(done.result("publish").values()) <= {0}
    assert query("SELECT xmin::text, * FROM curated.fct_sales ORDER BY sale_id", "reporter") == before


def test_a_wrong_row_is_held_back_and_the_last_good_version_serves(
    build: Callable[[], Run], query: Query, metadata: MetadataService, warehouse: str
) -> None:
    before = query("SELECT * FROM curated.agg_revenue_daily ORDER BY 1", "reporter")
    query(
        "INSERT INTO audit.file_ingestion_log (id, dataset, path, content_hash, contract_version, status, rows_read,"
        " rows_inserted) VALUES (999, 'sales', 's3://raw/sales/planted.csv', 'planted', '1.0.0', 'succeeded', 1, 1)"
    )
    # One is wrong by a rule of severity error, both together are more than the ledger knows, which is critical.
    for name, amount in (("E", 999), ("F", 45)):
        changes = json.dumps({"sale_id": name, "total_amount": amount, "_file_id": 999})
        query(
            f"INSERT INTO staging.sales SELECT (jsonb_populate_record(s, '{changes}')).* FROM staging.sales AS s"
            " WHERE sale_id = 'D'"
        )
    held = build()
    assert held.state == "failed"
    assert held.states["sql_checks"] == "failed"
    assert held.task("sql_checks").try_number == 1
    assert (held.states["publish"], held.states["hold_back"]) == ("upstream_failed", "failed")
    assert held.asset_events == []
    # Only what the new file leads to was built, and it is in the candidate alone.
    assert (held.states["fct_sales"], held.states["fct_orders"]) == ("success", "skipped")
    assert query("SELECT count(*) FROM candidate.fct_sales", "transformer") == [(6,)]
    assert query("SELECT * FROM curated.agg_revenue_daily ORDER BY 1", "reporter") == before
    ((status, message, held_back_by, is_older),) = query(
        "SELECT status, message, held_back_by, published_at < ended_at FROM audit.publication_latest", "reporter"
    )
    assert (status, is_older) == ("held_back", True)
    assert set(held_back_by.split(", ")) == {"sales_total_is_quantity_times_price", "sales_agrees_with_ledger"}
    assert "sales_total_is_quantity_times_price: FAILED staging.sales" in message
    facts = metadata.dataset(warehouse, "warehouse.curated.fct_sales")
    assert facts["quality"]["state"] == "failing"
    checks = metadata.get(f"/datasets/{facts['id']}/quality")["checks"]
    (publication,) = [item for item in checks if item["check"] == "publication"]
    assert publication["status"] == "failed"
    assert "are served" in publication["message"]

    query("UPDATE staging.sales SET total_amount = quantity * unit_price WHERE sale_id = 'E'")
    # What is left is a warning: a sale in the future is noted, and published.
    query("UPDATE staging.sales SET _file_id = 1000, sale_date = current_date + 9 WHERE sale_id = 'E'")
    query("DELETE FROM staging.sales WHERE sale_id = 'F'")
    query("UPDATE audit.file_ingestion_log SET id = 1000 WHERE id = 999")
    healed = build()
    assert healed.state == "success"
    assert query(
        f"SELECT status, severity FROM audit.check_results WHERE run_id = '{healed.lineage_id('sql_checks')}'"
        " AND check_name = 'sales_not_in_the_future'"
    ) == [("failed", "warn")]
    assert query("SELECT count(*), sum(total_amount) FROM curated.fct_sales", "reporter") == [(5, Decimal("200.00"))]
    assert query("SELECT status FROM audit.publication_latest", "reporter") == [("published",)]
    assert metadata.dataset(warehouse, "warehouse.curated.fct_sales")["quality"]["state"] != "failing"


def test_a_check_that_cannot_be_carried_out_is_no_failed_check(
    check: Callable[[], Run], query: Query, metadata: MetadataService
) -> None:
    query("ALTER TABLE curated.agg_revenue_daily RENAME TO elsewhere", "transformer")
    try:
        done = check()
    finally:
        query("ALTER TABLE curated.elsewhere RENAME TO agg_revenue_daily", "transformer")
    for task in ("sql_checks", "great_expectations"):
        assert done.states[task] == "failed"
        assert done.task(task).try_number == 1
        told = metadata.get(f"/runs/{done.lineage_id(task)}/dq_results", limit=200)["items"]
        broken = [item for item in told if (item["dataset"] or {}).get("name", "").endswith("agg_revenue_daily")]
        assert broken
        assert {item["status"] for item in broken} == {"error"}
        assert all("agg_revenue_daily" in item["message"] for item in broken)


@pytest.fixture
def project(
    airflow: StackSettings, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of the repository's dbt project which the platform takes for its own."""
    from pipelines.config.settings import get_settings

    copy = tmp_path / "transformations"
    shutil.copytree(repository / "transformations", copy, ignore=shutil.ignore_patterns("target", "logs"))
    (tmp_path / "data-quality").symlink_to(repository / "data-quality")
    monkeypatch.setenv("PLATFORM_ROOT", str(tmp_path))
    get_settings.cache_clear()
    yield copy
    get_settings.cache_clear()


def test_a_failing_dbt_test_fails_its_model_and_holds_the_build_back(
    built: Run, project: Path, dag_bag: DagBag, run: Callable[[DAG], Run], query: Query
) -> None:
    (project / "tests" / "no_sales_in_the_south.sql").write_text(
        "select * from {{ ref('fct_sales') }} where region = 'South'"
    )
    done = run(dag_bag.dags["build__curated"])
    assert done.state == "failed"
    assert done.states["dbt_build"] == "success"
    assert {task for task, state in done.states.items() if state == "failed"} >= {"fct_sales", "hold_back"}
    assert done.states["publish"] == "upstream_failed"
    assert done.asset_events == []
    assert "test no_sales_in_the_south fail" in done.errors["fct_sales"]
    assert query("SELECT status, held_back_by FROM audit.publication_latest", "reporter") == [
        ("held_back", "no_sales_in_the_south")
    ]
