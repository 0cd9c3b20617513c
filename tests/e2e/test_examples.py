"""The example DAGs in the running platform: green in its Airflow, and what they leave is where people look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataplatform_cli.superset_api import SupersetClient

pytestmark = pytest.mark.e2e

SERVICES = {"airflow api-server", "airflow scheduler", "airflow dag-processor", "airflow triggerer",
            "metadata service", "superset", "object store", "postgres"}  # fmt: skip


@pytest.fixture(scope="module")
def ran(platform: Any, run_examples: Any) -> dict[str, str]:
    """Each example's reason not to have succeeded, empty where it did, after a run of each."""
    found: dict[str, str] = run_examples(platform.settings)
    assert len(found) == 5
    return found


def test_they_run_green(ran: dict[str, str]) -> None:
    assert not {name: reason for name, reason in ran.items() if reason}


def test_the_exported_file_is_there(platform: Any, ran: dict[str, str]) -> None:
    found = platform.s3.list_objects_v2(Bucket="curated", Prefix="exports/weekly_revenue/")["Contents"]
    lines = platform.s3.get_object(Bucket="curated", Key=found[0]["Key"])["Body"].read().decode().splitlines()
    assert lines[0] == "sale_date,sales,quantity,revenue"
    assert len(lines) > 5


def test_every_service_is_found_well(platform: Any, ran: dict[str, str]) -> None:
    seen = dict(platform.rows("SELECT check_name, status FROM audit.platform_health_latest", "reporter"))
    assert seen.keys() >= SERVICES
    assert {seen[name] for name in SERVICES} == {"ok"}


def test_a_dag_runs_in_the_terminal(platform: Any, repository: Path) -> None:
    file = repository / "pipelines" / "dags" / "examples" / "example_hello_world.py"
    done = platform.dp("dag", "run", str(file), "--conf", '{"name": "you"}', "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {task["task"]: task["result"] for task in told["tasks"]} == {"greet": "Hello, you!", "shout": "HELLO, YOU!"}


def test_the_health_dashboard_is_drawn(platform: Any, ran: dict[str, str], page: Any) -> None:
    superset = SupersetClient(platform.settings)
    assert {row["check_name"] for row in superset.chart_data("Latest reading of every check")} >= SERVICES
    (files,) = superset.chart_data("Files in 24 hours")
    assert files["files"] >= 28
    settings = platform.settings
    page.goto(f"{settings.superset_url}/login/")
    if page.locator("#username").count():
        page.fill("#username", settings.superset_admin_user)
        page.fill("#password", settings.superset_admin_password.get_secret_value())
        page.keyboard.press("Enter")
        page.wait_for_url("**/superset/welcome/**")
    page.set_viewport_size({"width": 1400, "height": 1900})
    page.goto(f"{settings.superset_url}/superset/dashboard/platform_health/")
    page.get_by_text("What waits or failed").wait_for(timeout=60_000)
    page.wait_for_function(
        "document.querySelectorAll('[data-test=\"slice-container\"] canvas').length >= 5", timeout=60_000
    )
    page.screenshot(path=platform.settings.home / "platform_health.png")
    shown = page.inner_text("body")
    assert "airflow triggerer" in shown
    assert "No results" not in shown
    assert "Unexpected error" not in shown
