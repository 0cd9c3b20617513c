"""The example DAGs, by the kit that DAG authors use: each keeps the rules and does what its text says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pipelines.ingestion.objects import ObjectStore

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[2] / "dags" / "examples"
Query = Callable[..., list[tuple[Any, ...]]]

TABLES = """
CREATE TABLE curated.dim_product AS SELECT 'p1' AS product_id;
CREATE TABLE curated.fct_sales AS
    SELECT 's' || n AS sale_id, 'p1' AS product_id, date '2026-03-01' + n AS sale_date, 10.50 * n AS total_amount
    FROM generate_series(1, 9) AS n;
CREATE TABLE curated.agg_revenue_daily AS
    SELECT sale_date, count(*) AS sales, 2 AS quantity, sum(total_amount) AS revenue FROM curated.fct_sales GROUP BY 1;
GRANT SELECT ON ALL TABLES IN SCHEMA curated TO reporter;
"""


@pytest.fixture
def curated(query: Query, clean_warehouse: None) -> Iterator[None]:
    """The tables that the examples read, with nine days of sales."""
    query(TABLES, "transformer")
    yield
    query("DROP TABLE curated.dim_product, curated.fct_sales, curated.agg_revenue_daily", "transformer")
    query("DROP TABLE IF EXISTS audit.check_results", "transformer")


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.py")))
def test_it_keeps_the_rules(file: str, assert_good_dag: Callable[..., None]) -> None:
    assert_good_dag(FOLDER / file)


def test_hello_world(load_dag: Any, run_dag: Any) -> None:
    done = run_dag(load_dag(FOLDER / "example_hello_world.py"), name="O'Neill\"; exit 1")
    assert done.state == "success", done.errors
    assert done.result("greet") == "Hello, O'Neill\"; exit 1!"
    assert done.result("shout") == "HELLO, O'NEILL\"; EXIT 1!"


def test_postgres_to_minio(load_dag: Any, run_dag: Any, curated: None, store: ObjectStore, metadata: Any) -> None:
    dag = load_dag(FOLDER / "example_postgres_to_minio.py")
    for _ in range(2):  # again: the same object
        done = run_dag(dag, day="2026-03-04")
        assert done.state == "success", done.errors
        assert done.result("wait_for_file") == ["exports/weekly_revenue/dt=2026-03-04.csv"]
    body = store.client.get_object(Bucket="curated", Key="exports/weekly_revenue/dt=2026-03-04.csv")["Body"].read()
    assert body.decode().splitlines() == [
        "sale_date,sales,quantity,revenue", "2026-03-02,1,2,10.50", "2026-03-03,1,2,21.00", "2026-03-04,1,2,31.50",
    ]  # fmt: skip
    run = metadata.get(f"/runs/{done.lineage_id('read')}")
    assert [item["dataset"]["name"] for item in run["inputs"]] == ["warehouse.curated.agg_revenue_daily"]
    store.client.delete_object(Bucket="curated", Key="exports/weekly_revenue/dt=2026-03-04.csv")
    with pytest.raises(ValueError, match="is not a 'date'"):
        run_dag(dag, day="2026-03-04'; DROP TABLE curated.agg_revenue_daily; --")


def test_data_quality(load_dag: Any, run_dag: Any, curated: None, query: Query) -> None:
    dag = load_dag(FOLDER / "example_data_quality.py")
    good = run_dag(dag)
    assert good.state == "success", good.errors
    assert good.result("publish") == "4 passed"
    query("INSERT INTO curated.fct_sales VALUES ('s99', 'p9', '2026-03-01', 1)", "transformer")
    bad = run_dag(dag)
    assert bad.state == "failed"
    assert bad.states["publish"] == "upstream_failed"
    assert "critical curated.agg_revenue_daily" in bad.errors["check_sales"].replace("FAILED", "critical")
    warned = "SELECT severity, measured, sample FROM audit.check_results WHERE check_name = 'sales_have_known_products'"
    assert ("warn", 1, [{"sale_id": "s99", "product_id": "p9"}]) in query(warned)


def test_no_data_yet_is_no_failure(load_dag: Any, run_dag: Any, clean_warehouse: None) -> None:
    dag = load_dag(FOLDER / "example_data_quality.py")
    dag.get_task("wait_for_sales").timeout = 1
    dag.get_task("wait_for_sales").deferrable = False
    done = run_dag(dag)
    assert set(done.states.values()) == {"skipped"}, done.errors


@pytest.mark.parametrize(("limit", "told"), [(100, "145.00: a good week"), (1000, "145.00: a week like others")])
def test_taskflow_api(load_dag: Any, run_dag: Any, limit: float, told: str) -> None:
    dag = load_dag(FOLDER / "example_taskflow_api.py")
    days = [dt.date(2026, 1, day).toordinal() % 97 + 10 for day in (1, 2)]
    done = run_dag(dag, days=2, limit=limit)
    assert done.state == "success", done.errors
    assert done.result("total") == sum(days)
    assert done.result("report") == told.replace("145.00", f"{sum(days):.2f}")
    assert len([label for label in done.states if label.startswith("one_day.fetch")]) == 2


def test_monitoring(
    load_dag: Any, run_dag: Any, query: Query, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.monitoring.observing.PAUSES", (0.1,))
    done = run_dag(load_dag(FOLDER / "example_monitoring.py"))
    assert done.state == "success", done.errors
    seen = dict(query("SELECT check_name, status FROM audit.platform_health"))
    # Neither Airflow's api-server nor Superset runs here: that is told, and hides nothing else.
    for check in ("airflow api-server", "superset", "tasks in the queue"):
        assert seen[check] == "error", seen
    for check in ("metadata service", "object store", "postgres", "postgres connections", "files waiting"):
        assert seen[check] == "ok", seen
    assert done.result("record")["written"] == len(seen)
    told = [record.getMessage() for record in caplog.records if record.name == "pipelines.alerts"]
    assert any("platform health: superset; reason: ConnectError" in line for line in told), told
    query("TRUNCATE audit.platform_health")


def test_a_service_that_restarts_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.monitoring import Reading, observe, observing

    looks = 0

    def restarting(targets: Any, limits: Any) -> Iterator[Reading]:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise ConnectionError("refused")
        yield Reading("x", "x", "ok")

    monkeypatch.setattr(observing, "LOOKS", {"x": ("x", restarting)})
    monkeypatch.setattr(observing, "PAUSES", (0.0, 0.0, 0.0))
    targets: Any = None
    assert [(item.check, item.status) for item in observe(targets)] == [("x", "ok")]
    looks = -10
    assert [(item.status, item.detail) for item in observe(targets)] == [("error", "ConnectionError: refused")]
    assert looks == -6
