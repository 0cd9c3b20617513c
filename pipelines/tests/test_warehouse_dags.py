"""From the loaded table to checked marts: `build__curated`, then `check__warehouse`, with their lineage read back."""

from __future__ import annotations

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
def check(dag_bag: DagBag, run: Callable[[DAG], Run], built: Run) -> Callable[[], Run]:
    """A function that runs check__warehouse."""
    return lambda: run(dag_bag.dags["check__warehouse"])


def test_the_build_gives_exact_figures(built: Run, query: Query) -> None:
    assert built.state == "success"
    assert built.asset_events == ["curated"]
    # Models, tests with the unit test, and the dashboard's exposure.
    assert built.result("dbt_build") == {"success": 9, "pass": 46, "no-op": 1}
    assert query("SELECT * FROM curated.agg_revenue_daily ORDER BY sale_date", "reporter") == [
        (*day("2026-01-01"), 1, 1, Decimal("70.00"), Decimal("70.00")),
        (*day("2026-01-07"), 1, 2, Decimal("30.00"), Decimal("50.00")),
        (*day("2026-01-08"), 2, 7, Decimal("55.00"), Decimal("42.50")),
    ]
    assert query(
        "SELECT product_id, product_category, sales, average_price FROM curated.dim_product ORDER BY 1", "reporter"
    ) == [("P1", "Clothing", 2, Decimal("16.00")), ("P2", "Sports", 2, Decimal("15.00"))]
    # A sale shows the category its product has now.
    assert query("SELECT sale_id, product_category FROM curated.fct_sales ORDER BY 1", "reporter") == [
        ("A", "Clothing"), ("B", "Sports"), ("C", "Clothing"), ("D", "Sports"),
    ]  # fmt: skip


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
    fact, days = "warehouse.curated.fct_sales", "warehouse.curated.agg_revenue_daily"
    assert {
        ("sales", table),
        (table, view),
        (view, "warehouse.curated.dim_product"),
        (view, fact),
        ("warehouse.curated.dim_product", fact),
        (fact, days),
        (fact, "dashboard/sales"),
        (days, "dashboard/sales"),
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
        (fact, "total_amount", days, "revenue"),
        ("warehouse.curated.dim_product", "product_category", fact, "product_category"),
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


def test_good_data_passes_every_check(check: Callable[[], Run], query: Query, metadata: MetadataService) -> None:
    done = check()
    # The sales are old, which is a warning. Of the other datasets there is nothing to check yet.
    assert done.state == "success"
    ended = done.result("sql_checks")
    skipped = ended.pop("skipped")
    assert ended == {"passed": 9, "failed": 2}
    assert done.result("great_expectations") == {"passed": 5}
    assert query(
        f"SELECT check_name, severity FROM audit.check_results WHERE run_id = '{done.lineage_id('sql_checks')}' "
        "AND status NOT IN ('passed', 'skipped') ORDER BY 1"
    ) == [("customer_id_mostly_known", "warn"), ("sales_freshness", "warn")]
    told = metadata.get(f"/runs/{done.lineage_id('sql_checks')}/dq_results", limit=100)
    assert told["total"] == 11 + skipped
    # Nulls are 25 percent of the customers, and the sample of those rows shows no customer.
    (known,) = [item for item in told["items"] if item["check"] == "customer_id_mostly_known"]
    assert (known["measured"], known["expected"], known["severity"]) == (25, "< 20", "warn")
    assert [row["sale_id"] for row in known["sample"]] == ["D"]


def test_a_critical_defect_fails_the_task_at_once_and_says_why(
    check: Callable[[], Run], query: Query, metadata: MetadataService, warehouse: str, tmp_path: Path
) -> None:
    query("DELETE FROM curated.fct_sales WHERE sale_id = 'B'", "transformer")
    done = check()
    assert done.state == "failed"
    assert done.states["sql_checks"] == "failed"
    assert done.task("sql_checks").try_number == 1
    run_id = done.lineage_id("sql_checks")
    ((status, severity, measured, expected, sample),) = query(
        "SELECT status, severity, measured, expected, sample FROM audit.check_results "
        f"WHERE run_id = '{run_id}' AND check_name = 'no_sale_is_lost'"
    )
    assert (status, severity, measured, expected, sample) == ("failed", "critical", 1, "≤ 0", [{"sale_id": "B"}])
    told = metadata.get(f"/runs/{run_id}/dq_results", limit=100)["items"]
    (lost,) = [item for item in told if item["check"] == "no_sale_is_lost"]
    assert (lost["status"], lost["measured"], lost["failed_rows"], lost["sample"]) == (
        "failed",
        1,
        1,
        [{"sale_id": "B"}],
    )
    assert lost["dataset"]["name"] == "warehouse.curated.fct_sales"
    facts = metadata.dataset(warehouse, "warehouse.curated.fct_sales")
    assert facts["quality"]["state"] == "failing"
    # The run in lineage tells of it too.
    failed = metadata.get(f"/runs/{run_id}")
    assert failed["state"] == "FAILED"
    assert "no_sale_is_lost" in failed["error_message"]


def test_a_check_that_cannot_be_carried_out_is_no_failed_check(
    check: Callable[[], Run], query: Query, metadata: MetadataService
) -> None:
    query("ALTER TABLE curated.agg_revenue_daily RENAME TO elsewhere", "transformer")
    try:
        done = check()
    finally:
        query("ALTER TABLE curated.elsewhere RENAME TO agg_revenue_daily", "transformer")
    assert done.states == {"sql_checks": "failed", "great_expectations": "failed"}
    for task in done.states:
        assert done.task(task).try_number == 1
        told = metadata.get(f"/runs/{done.lineage_id(task)}/dq_results", limit=100)["items"]
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


def test_a_failing_dbt_test_fails_the_build_by_name(
    built: Run, project: Path, dag_bag: DagBag, run: Callable[[DAG], Run], metadata: MetadataService
) -> None:
    (project / "tests" / "no_sales_in_the_south.sql").write_text(
        "select * from {{ ref('fct_sales') }} where region = 'South'"
    )
    done = run(dag_bag.dags["build__curated"])
    assert done.state == "failed"
    assert done.task("dbt_build").try_number == 1  # the data will be the same in a minute
    assert done.asset_events == []
    message = metadata.get(f"/runs/{done.lineage_id('dbt_build')}")["error_message"]
    assert "1 of " in message
    assert "test no_sales_in_the_south: Got 2 results, configured to fail if != 0" in message
