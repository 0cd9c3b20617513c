"""The demo, read back from every part of the platform: not what `dp demo` says, but what the services hold."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataplatform_cli.superset_api import SupersetClient

pytestmark = pytest.mark.e2e

COUNTS = ("rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted", "rows_updated", "rows_unchanged")


@pytest.fixture(scope="session")
def manifest(platform: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((platform.settings.home / "sample" / "manifest.json").read_text())
    return found


def test_the_demo_says_all_is_right(platform: Any) -> None:
    assert platform.facts["problems"] == []
    assert platform.facts["ok"] is True
    assert {item["name"] for item in platform.facts["services"]} == {
        "postgres",
        "s3",
        "metadata",
        "airflow",
        "superset",
    }


def test_the_ledger_has_every_file_with_the_rows_the_generator_planted(platform: Any, manifest: dict[str, Any]) -> None:
    columns = ", ".join(COUNTS)
    ledger = {
        (dataset, path.rsplit("/", 1)[-1]): (status, stage, *counts)
        for dataset, path, status, stage, *counts in platform.rows(
            f"SELECT dataset, path, status, stage, {columns} FROM audit.file_ingestion_log"
            f" WHERE dataset IN ({', '.join(repr(name) for name in manifest['tables'])})"
        )
    }
    assert ledger == {
        (item["dataset"], item["name"]): (item["status"], item["stage"], *(item[name] for name in COUNTS))
        for item in manifest["files"]
    }
    assert {status for status, *_ in ledger.values()} == {"succeeded", "failed"}


def test_rejected_rows_are_kept_with_their_reasons(platform: Any, manifest: dict[str, Any]) -> None:
    planted: dict[str, int] = {}
    for item in manifest["files"]:
        for rule, rows in item["rejected_by_rule"].items():
            key = f"{item['dataset']} {rule}"
            planted[key] = planted.get(key, 0) + rows
    kept = dict(
        platform.rows(
            "SELECT dataset || ' ' || column_name || ': ' || rule, count(*) FROM audit.rejected_rows GROUP BY 1"
        )
    )
    assert kept == planted
    assert len(kept) >= 3


def test_the_tables_hold_the_planted_figures(platform: Any, manifest: dict[str, Any]) -> None:
    totals = manifest["totals"]
    for table in ("staging.sales", "curated.fct_sales"):
        assert platform.rows(f"SELECT count(*), sum(total_amount) FROM {table}", "transformer") == [
            (totals["rows"], Decimal(str(totals["revenue"])))
        ]
    by_category = platform.rows(
        "SELECT product_category, sum(total_amount) FROM staging.sales GROUP BY 1", "transformer"
    )
    assert dict(by_category) == {name: Decimal(str(value)) for name, value in totals["revenue_by_category"].items()}
    days = platform.rows("SELECT count(*), sum(revenue) FROM curated.agg_revenue_daily", "reporter")
    assert days == [(manifest["days"], Decimal(str(totals["revenue"])))]
    for table, rows in manifest["tables"].items():
        assert platform.rows(f"SELECT count(*) FROM staging.{table}") == [(rows,)]
    customers = platform.rows("SELECT count(*) FROM curated.dim_customer WHERE is_current", "reporter")
    assert customers == [(manifest["tables"]["customers"],)]


def test_files_lie_where_their_outcome_says(platform: Any, manifest: dict[str, Any]) -> None:
    for dataset in manifest["tables"]:
        files = [item for item in manifest["files"] if item["dataset"] == dataset]
        keys = [item["Key"] for item in platform.s3.list_objects_v2(Bucket="raw", Prefix=f"{dataset}/")["Contents"]]
        folders = {key.rsplit("/", 1)[-1]: key.split("/")[1:-2] for key in keys}
        assert folders == {
            item["name"]: ["processed"] if item["status"] == "succeeded" else ["failed", f"{item['stage']}_failed"]
            for item in files
        }
        staged = platform.s3.list_objects_v2(Bucket="staging", Prefix=f"{dataset}/dt=")["Contents"]
        # Small files that come together are staged together.
        assert 1 <= len(staged) <= sum(item["status"] == "succeeded" for item in files)


def test_contracts_are_in_effect(platform: Any, manifest: dict[str, Any]) -> None:
    known = platform.rows("SELECT dataset FROM audit.contracts WHERE removed_at IS NULL")
    assert {dataset for (dataset,) in known} == set(manifest["tables"])
    with httpx.Client(base_url=platform.settings.metadata_url) as http:
        found = http.get("/datasets", params={"q": "warehouse.staging.customers"}).json()["items"][0]
        assert (found["owner"], found["domain"]) == ("customer-care", "sales")
        marked = {column["name"] for column in found["schema"] if "pii" in column["tags"]}
        assert {"name", "email", "phone", "birth_date"} <= marked


def test_checks_are_recorded_in_audit_and_in_the_metadata_service(platform: Any) -> None:
    engines = dict(
        platform.rows("SELECT engine, count(DISTINCT check_name) FROM audit.check_results GROUP BY 1", "reporter")
    )
    assert {"sql", "great_expectations", "gate"} <= engines.keys()
    assert engines["great_expectations"] == 5
    # The newest of each: a build may come before a dataset that another refers to.
    newest = "SELECT DISTINCT ON (dataset, check_name, engine) check_name, status FROM audit.check_results"
    ended = platform.rows(f"{newest} ORDER BY dataset, check_name, engine, checked_at DESC", "reporter")
    assert [name for name, status in ended if status != "passed"] == []
    with httpx.Client(base_url=platform.settings.metadata_url) as http:
        table = http.get("/datasets", params={"q": "agg_revenue_daily"}).json()["items"][0]
        assert table["quality"]["state"] == "passing"
        checks = http.get(f"/datasets/{table['id']}/quality").json()["checks"]
    known = {check["check"]: check for check in checks}
    assert known["revenue_matches_sales"]["status"] == "passed"
    assert known["revenue_matches_sales"]["severity"] == "critical"
    assert known["every_day_once"]["engine"] == "great_expectations"


def test_lineage_leads_from_the_files_to_the_dashboard_by_columns(platform: Any) -> None:
    with httpx.Client(base_url=platform.settings.metadata_url) as http:
        found = http.get("/datasets", params={"q": "dashboard/sales"}).json()["items"][0]
        graph = http.get(f"/datasets/{found['id']}/lineage", params={"direction": "upstream"}).json()
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    datasets = {node["name"] for node in graph["nodes"] if node["type"] == "dataset"}
    assert datasets == {
        "sales",
        "warehouse.staging.sales",
        "warehouse.intermediate.stg_sales__sales",
        "warehouse.intermediate.int_sales__daily",
        "warehouse.curated.fct_sales",
        "warehouse.curated.agg_revenue_daily",
        "warehouse.curated.agg_region_revenue_daily",
        "dashboard/sales",
    }
    columns = {
        (
            f"{names[edge['source']['dataset_id']]}.{edge['source']['column']}",
            f"{names[edge['target']['dataset_id']]}.{edge['target']['column']}",
        )
        for edge in graph["column_edges"]
    }
    assert ("sales.total_amount", "warehouse.staging.sales.total_amount") in columns
    assert ("warehouse.intermediate.int_sales__daily.revenue", "warehouse.curated.agg_revenue_daily.revenue") in columns


def test_the_dashboards_charts_answer_with_the_warehouses_figures(platform: Any, manifest: dict[str, Any]) -> None:
    superset = SupersetClient(platform.settings)
    days = superset.chart_data("Daily revenue")
    assert len(days) == manifest["days"]
    assert round(sum(float(row["revenue"]) for row in days), 2) == float(manifest["totals"]["revenue"])
    categories = {row["product_category"]: row["revenue"] for row in superset.chart_data("Revenue by category")}
    assert {name: f"{value:.2f}" for name, value in categories.items()} == {
        name: f"{float(value):.2f}" for name, value in manifest["totals"]["revenue_by_category"].items()
    }
    assert len(superset.chart_data("Top customers")) == 10


def test_the_dashboard_is_drawn(platform: Any, page: Any, manifest: dict[str, Any]) -> None:
    settings = platform.settings
    page.goto(f"{settings.superset_url}/login/")
    page.fill("#username", settings.superset_admin_user)
    page.fill("#password", settings.superset_admin_password.get_secret_value())
    page.keyboard.press("Enter")
    page.wait_for_url("**/superset/welcome/**")
    page.goto(f"{settings.superset_url}/superset/dashboard/sales/")
    page.get_by_text("Top customers").wait_for(timeout=60_000)
    page.wait_for_function(
        "document.querySelectorAll('[data-test=\"slice-container\"] canvas').length >= 3", timeout=60_000
    )
    page.screenshot(path=platform.settings.home / "dashboard.png")
    shown = page.inner_text("body")
    ((sales, revenue),) = platform.rows(
        "SELECT count(*), sum(total_amount) FROM curated.fct_sales WHERE sale_date >= current_date - 30", "reporter"
    )
    assert f"{sales:,}" in shown
    assert f"{revenue:,.0f}" in shown
    assert "Error" not in shown
    assert "No results" not in shown


def test_the_catalog_and_the_lineage_graph_are_drawn(platform: Any, page: Any) -> None:
    url = platform.settings.metadata_url
    page.goto(url)
    assert page.get_by_role("link", name="curated.fct_sales").is_visible()
    page.goto(f"{url}/ui/lineage")
    page.wait_for_selector(".graph[data-drawn=true]")
    drawn = page.inner_text(".graph")
    for name in ("staging.sales", "curated.agg_revenue_daily", "dashboard/sales"):
        assert name in drawn


def test_the_demo_again_changes_nothing(platform: Any) -> None:
    counts = "SELECT (SELECT count(*) FROM audit.file_ingestion_log), (SELECT count(*) FROM audit.rejected_rows)"
    before = platform.rows(counts)
    done = platform.dp("demo", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == platform.facts["files"]
    assert platform.rows(counts) == before


def test_commands_work_on_this_stack(platform: Any) -> None:
    """Those that mean whichever stack is up; tests/compose has them on the other."""
    for command, said in {
        "minio buckets": "curated, raw, staging",
        "minio upload-sample": "",
        "minio verify": "written, read back and deleted",
        "airflow connections": "warehouse_loader",
        "airflow cli pools list": "warehouse_load",
        "logs metadata": "metadata_service",
    }.items():
        done = platform.dp(*command.split())
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert said in done.stdout, command


def test_a_key_bound_to_a_namespace_is_made_used_and_revoked(platform: Any) -> None:
    made = platform.dp("key", "create", "team-a", "--namespace", "team-a", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    for namespace, status in (("team-a", 201), ("team-b", 403)):
        job = {"job": {"namespace": namespace, "name": "load"}}
        answer = httpx.post(
            f"{platform.settings.metadata_url}/runs", json=job, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == status, answer.text
    assert "team-a" in platform.dp("key", "list").stdout
    again = platform.dp("key", "create", "team-a")
    assert (again.returncode, "revoke it first" in again.stderr) == (1, True)
    assert platform.dp("key", "revoke", "team-a").returncode == 0
    [entry] = [item for item in json.loads(platform.dp("key", "list", "--json").stdout) if item["name"] == "team-a"]
    assert entry["revoked_at"] is not None


def test_the_metadata_service_is_verified_as_often_as_you_like(platform: Any) -> None:
    for _ in range(2):
        done = platform.dp("verify", "--json")
        outcomes = json.loads(done.stdout)
        assert [outcome for outcome in outcomes if outcome["fault"]] == []
        assert (done.returncode, len(outcomes) > 10) == (0, True)
    wrong = platform.dp("verify", "--url", "http://127.0.0.1:9")
    assert (wrong.returncode, "found a fault" in wrong.stderr) == (1, True)


def test_the_metadata_is_exported(platform: Any, tmp_path: Path) -> None:
    file = tmp_path / "metadata.jsonl"
    done = platform.dp("metadata", "export", str(file))
    assert done.returncode == 0, done.stderr
    head, *rows, end = (json.loads(line) for line in file.read_text().splitlines())
    assert (head["format"], end) == ("dataplatform-metadata", {"rows": len(rows)})
    assert "warehouse.curated.fct_sales" in {item["row"]["name"] for item in rows if item["table"] == "dataset"}
    assert platform.dp("metadata", "export", str(file)).returncode == 1  # it is there already
    refused = platform.dp("metadata", "import", str(file))
    assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
    forgotten = platform.dp("metadata", "forget", "--days", "1", "--dry-run", "--json")
    assert json.loads(forgotten.stdout)["runs"] == 0


def test_airflows_database_is_made_anew(platform: Any) -> None:
    done = platform.dp("airflow", "reset", "--yes")
    assert done.returncode == 0, done.stderr
    done = platform.dp("test-pipeline", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["stack"] == "local"
    assert {"orders", "daily_revenue", "risk_eu", "audience"} <= set(facts["teams"]["upstream"])
