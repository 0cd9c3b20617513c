"""The dashboards: what their charts say is what the tables hold, to the cent, and they are drawn on desk and phone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataplatform_cli.superset_api import Filter, SupersetClient

pytestmark = pytest.mark.e2e

REGIONS = ("North", "Online")
SALES_CHARTS = {
    "Revenue": "SELECT sum(total_amount) FROM sales",
    "Sales": "SELECT count(*) FROM sales",
    "Average sale": "SELECT avg(total_amount) FROM sales",
    "Customers": "SELECT count(DISTINCT customer_id) FROM sales",
    "Daily revenue": """
        SELECT sale_date, sum(total_amount), (
            SELECT sum(w.total_amount) / (
                SELECT count(DISTINCT sale_date) FROM curated.fct_sales AS a
                WHERE a.sale_date BETWEEN s.sale_date - 6 AND s.sale_date)
            FROM chosen_regions AS w WHERE w.sale_date BETWEEN s.sale_date - 6 AND s.sale_date)
        FROM sales AS s GROUP BY sale_date ORDER BY 1""",
    "Top customers": """
        SELECT customer_id, sum(total_amount) FROM sales WHERE customer_id IS NOT NULL
        GROUP BY 1 ORDER BY 2 DESC LIMIT 10""",
    "Revenue by category": """
        SELECT product_category, sum(total_amount), count(*), avg(total_amount) FROM sales
        GROUP BY 1 ORDER BY 2 DESC""",
    "Revenue by region": """
        SELECT region, sum(total_amount), count(*), avg(total_amount) FROM sales GROUP BY 1 ORDER BY 2 DESC""",
    "Daily revenue by category": """
        SELECT sale_date, product_category, sum(total_amount) FROM sales GROUP BY 1, 2 ORDER BY 1, 2""",
    "Daily revenue by region": """
        SELECT sale_date, region, sum(total_amount) FROM sales GROUP BY 1, 2 ORDER BY 1, 2""",
}
HEALTH_CHARTS = {
    "Files by outcome": """
        SELECT date_trunc('day', finished_at)::date, status, count(*) FROM audit.file_ingestion_log
        GROUP BY 1, 2 ORDER BY 1, 2""",
    "Rejected rows by reason": """
        SELECT rule, dataset, sum(rows) FROM (
            SELECT log.dataset, found.key AS rule, found.value::bigint AS rows
            FROM audit.file_ingestion_log AS log, jsonb_each_text(rejects_by_rule) AS found) AS refused
        GROUP BY 1, 2 ORDER BY 3 DESC""",
    "Checks by state": """
        SELECT severity, status, count(*) FROM audit.check_results AS result
        WHERE NOT EXISTS (
            SELECT FROM audit.check_results AS newer
            WHERE (newer.dataset, newer.check_name, newer.engine) = (result.dataset, result.check_name, result.engine)
                AND newer.checked_at > result.checked_at)
        GROUP BY 1, 2 ORDER BY 3 DESC""",
}


def plain(value: Any) -> Any:
    """A value as both sides can be compared: money to the cent, a day as a date."""
    if isinstance(value, int | float) and value > 10**11:  # milliseconds, as Superset tells a time
        return dt.datetime.fromtimestamp(value / 1000, dt.UTC).date()
    return value if value is None or isinstance(value, str | dt.date) else f"{float(value):.2f}"


def compare(shown: list[dict[str, Any]], held: list[tuple[Any, ...]]) -> None:
    """Rows of a chart and of a query, whatever their order: rows of equal figures have none."""
    assert held
    rows = sorted(tuple(plain(value) for value in row.values()) for row in shown)
    assert rows == sorted(tuple(plain(value) for value in row) for row in held)


@pytest.fixture(scope="module")
def reporter(platform: Any) -> Iterator[SupersetClient]:
    """Superset as the one who only looks sees it."""
    client = SupersetClient(platform.settings, reporter=True)
    yield client
    client.http.close()


@pytest.mark.parametrize("filtered", [False, True], ids=["all", "a period and two regions"])
@pytest.mark.parametrize("chart", SALES_CHARTS)
def test_a_chart_of_sales_is_right_to_the_cent(
    platform: Any, reporter: SupersetClient, chart: str, filtered: bool
) -> None:
    ((end,),) = platform.rows("SELECT max(sale_date) FROM curated.fct_sales", "reporter")
    start = end - dt.timedelta(days=29)
    filters: list[Filter] = [
        {"col": "sale_date", "op": "TEMPORAL_RANGE", "val": f"{start} : {end + dt.timedelta(days=1)}"},
        {"col": "region", "op": "IN", "val": list(REGIONS)},
    ]
    regions = f"region IN {REGIONS}" if filtered else "true"
    period = f"sale_date BETWEEN '{start}' AND '{end}'" if filtered else "true"
    query = (
        f"WITH chosen_regions AS (SELECT * FROM curated.fct_sales WHERE {regions}),"
        f" sales AS (SELECT * FROM chosen_regions WHERE {period}) {SALES_CHARTS[chart]}"
    )
    compare(reporter.chart_data(chart, filters if filtered else ()), platform.rows(query, "reporter"))


@pytest.mark.parametrize("chart", HEALTH_CHARTS)
def test_a_chart_of_the_platform_is_right(platform: Any, reporter: SupersetClient, chart: str) -> None:
    shown, held = reporter.chart_data(chart), platform.rows(HEALTH_CHARTS[chart], "reporter")
    if chart == "Rejected rows by reason":  # the ten commonest, of which the last may be as common as the next
        assert [row["rejected"] for row in shown] == [rows for *_, rows in held[:10]]
        held = [row for row in held if {"rule": row[0], "dataset": row[1], "rejected": int(row[2])} in shown]
    compare(shown, held)


def test_the_reporter_looks_and_does_not_touch(platform: Any, reporter: SupersetClient) -> None:
    admin = SupersetClient(platform.settings)
    dashboards = reporter.http.get("/api/v1/dashboard/").json()["result"]
    assert {dashboard["slug"] for dashboard in dashboards} == {"sales", "platform_health"}
    chart = reporter.http.get("/api/v1/chart/").json()["ids"][0]
    (database,) = admin.http.get("/api/v1/database/").json()["ids"]
    query = {"database_id": database, "sql": "SELECT 1"}
    token = reporter.http.get("/api/v1/security/csrf_token/").json()["result"]
    for method, path, body in (
        ("PUT", f"/api/v1/chart/{chart}", {"slice_name": "mine"}),
        ("DELETE", f"/api/v1/chart/{chart}", None),
        ("PUT", f"/api/v1/dashboard/{dashboards[0]['id']}", {"dashboard_title": "mine"}),
        ("POST", "/api/v1/dashboard/", {"dashboard_title": "mine"}),
        ("POST", "/api/v1/assets/import/", None),
        ("POST", "/api/v1/sqllab/execute/", query),
        ("GET", "/api/v1/database/", None),
        ("GET", "/api/v1/dataset/", None),
        ("GET", "/api/v1/security/users/", None),
    ):
        assert reporter.http.request(method, path, json=body, headers={"X-CSRFToken": token}).status_code == 403, path


def test_what_left_the_assets_leaves_superset(platform: Any, repository: Any) -> None:
    """Every chart that is there is one of the bundle, each once."""
    import yaml

    titles = [
        title
        for path in (repository / "infrastructure" / "superset" / "assets" / "charts").glob("*.yaml")
        for title in yaml.safe_load(path.read_text())
    ]
    answer = SupersetClient(platform.settings).http.get("/api/v1/chart/", params={"q": '{"page_size": 200}'}).json()
    assert sorted(chart["slice_name"] for chart in answer["result"]) == sorted(titles)


@pytest.fixture(scope="module")
def reporters_page(platform: Any, page: Any) -> Iterator[Any]:
    """A page of a browser in which the reporter has logged in."""
    settings = platform.settings
    context = page.context.browser.new_context()
    found = context.new_page()
    found.goto(f"{settings.superset_url}/login/")
    found.fill("#username", settings.superset_reporter_user)
    found.fill("#password", settings.superset_reporter_password.get_secret_value())
    found.keyboard.press("Enter")
    found.wait_for_url("**/superset/welcome/**")
    yield found
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("slug", ["sales", "platform_health"])
def test_a_dashboard_is_drawn_on_desk_and_phone(platform: Any, reporters_page: Any, slug: str, width: int) -> None:
    page = reporters_page
    page.set_viewport_size({"width": width, "height": 6000})  # all of it: what is out of sight is not drawn
    page.goto(f"{platform.settings.superset_url}/superset/dashboard/{slug}/")
    page.locator(".handlebars p").wait_for(timeout=60_000)
    boxes = len(page.query_selector_all("[data-test-chart-id]"))
    page.wait_for_function(
        f"document.querySelectorAll('[data-test=\"slice-container\"]').length == {boxes}"
        " && !document.querySelector('[data-test-chart-id] [data-test=\"loading-indicator\"]')",
        timeout=60_000,
    )
    page.wait_for_timeout(1500)  # charts grow into their boxes
    page.screenshot(path=platform.settings.home / f"{slug}_{width}.png")
    shown = page.inner_text(".grid-container")
    assert not [said for said in ("Data error", "Unexpected error", "error occurred", "No results") if said in shown]
    box_widths = {
        round(box.bounding_box()["width"])
        for box in page.query_selector_all(".dashboard-component-chart-holder:not(:has(.handlebars))")
    }
    # On a phone one box is as wide as the screen or half of it; none reaches beyond.
    assert max(box_widths) < width
    assert len(box_widths) <= 3
    if width < 700:
        assert min(box_widths) > width / 3


def test_what_holds_figures_back_is_said(platform: Any, reporters_page: Any) -> None:
    page, dsn = reporters_page, platform.settings.dsn("transformer")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("""
            INSERT INTO audit.publications (build_id, run_id, started_at, status, held_back_by, message)
            VALUES ('shown', 'shown', now(), 'held_back', '{revenue_matches_sales}', '3 days differ')""")
        try:
            page.goto(f"{platform.settings.superset_url}/superset/dashboard/sales/?force=true")
            page.locator(".handlebars", has_text="held back by revenue_matches_sales").wait_for(timeout=60_000)
            assert "3 days differ" in page.inner_text(".handlebars")
        finally:
            connection.execute("DELETE FROM audit.publications WHERE build_id = 'shown'")


def test_the_filters_change_what_is_shown(platform: Any, reporters_page: Any) -> None:
    page = reporters_page
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.goto(f"{platform.settings.superset_url}/superset/dashboard/sales/")
    page.locator(".pop_kpi").first.wait_for(timeout=60_000)

    def figures(where: str) -> tuple[str, str]:
        query = f"""
            SELECT sum(total_amount) FILTER (WHERE sale_date >= current_date - 30),
                sum(total_amount) FILTER (WHERE sale_date < current_date - 30)
            FROM curated.fct_sales
            WHERE sale_date BETWEEN current_date - 60 AND current_date - 1 AND {where}"""
        ((now, before),) = platform.rows(query, "reporter")
        return f"{now:,.0f}", f"{100 * (now - before) / before:+.1f}%"

    for value in figures("true"):
        page.locator(".pop_kpi", has_text=value).first.wait_for(timeout=60_000)
    page.locator("[data-test=NATIVE_FILTER-sales-region]").click()
    page.get_by_title("North", exact=True).first.click()
    page.keyboard.press("Escape")
    page.locator("[data-test=filter-bar__apply-button]").click()
    for value in figures("region = 'North'"):
        page.locator(".pop_kpi", has_text=value).first.wait_for(timeout=60_000)
