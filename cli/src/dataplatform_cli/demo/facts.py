"""What the demo tells, read back from the ledger, dbt, the checks, the metadata service and the dashboard's data."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dataplatform_cli.demo.sample import ledger
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.superset_api import SupersetClient

if TYPE_CHECKING:
    from pipelines.ingestion.generator import Manifest

COUNTS = ("rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted", "rows_updated", "rows_unchanged")
DASHBOARD, DAILY_REVENUE = "dashboard/sales", "Daily revenue"


def gather(settings: StackSettings, manifest: Manifest) -> dict[str, Any]:
    """Return the facts, and in `problems` whatever is not as the sample's manifest says.

    Args:
        settings: The stack.
        manifest: What the sample holds.
    """
    files = _files(settings, manifest)
    models = _models(settings)
    checks = _checks(settings)
    lineage = _lineage(settings)
    revenue = _dashboard_revenue(settings)
    problems = [
        *_file_problems(files, manifest),
        *(f"model {model['name']}: {model['status']}" for model in models if model["status"] != "success"),
        *(f"check {check['name']} on {check['dataset']}: {check['status']}" for check in checks["bad"]),
        *_total_problems(settings, manifest, revenue),
    ]
    if not models:
        problems.append("no model was built")
    if not checks["passed"]:
        problems.append("no check was carried out")
    if not lineage or not lineage[0].startswith("s3://raw") or DASHBOARD not in lineage[-1]:
        problems.append(f"lineage does not lead from the files to the dashboard: {' → '.join(lineage) or 'nothing'}")
    return {
        "ok": not problems,
        "problems": problems,
        "files": files,
        "models": models,
        "checks": checks,
        "lineage": lineage,
        "tables": _table_sizes(settings, manifest),
        "dashboard_revenue": revenue,
        "addresses": _addresses(settings),
    }


def _files(settings: StackSettings, manifest: Manifest) -> list[dict[str, Any]]:
    known = ledger(settings, manifest)
    return [
        {"file": file.name, "dataset": file.dataset, **known.get(file.name, {"status": "missing"})}
        for file in manifest.files
    ]


def _file_problems(files: list[dict[str, Any]], manifest: Manifest) -> list[str]:
    problems = []
    for item, expected in zip(files, manifest.files, strict=True):
        got = {name: item.get(name) for name in ("status", "stage", *COUNTS)}
        want = {name: getattr(expected, name) for name in got}
        if got != want:
            wrong = ", ".join(f"{name} {got[name]} instead of {want[name]}" for name in got if got[name] != want[name])
            problems.append(f"file {expected.name}: {wrong}")
    return problems


def _models(settings: StackSettings) -> list[dict[str, Any]]:
    """Return how each model fared when it was last built."""
    query = """
        SELECT DISTINCT ON (name) name, status, round(seconds::numeric, 2)::float AS seconds
        FROM audit.model_runs WHERE kind = 'model' ORDER BY name, ended_at DESC
    """
    with psycopg.connect(settings.dsn("reporter"), row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def _checks(settings: StackSettings) -> dict[str, Any]:
    """Return how many of the newest results passed, and those that did not. A warning is told, and no problem.

    Skipped is what has nothing to look at yet, as a dataset of which no file came.
    """
    query = """
        SELECT DISTINCT ON (dataset, check_name, engine) check_name AS name, dataset, engine, severity, status,
            measured, expected, message
        FROM audit.check_results
        ORDER BY dataset, check_name, engine, checked_at DESC
    """
    with psycopg.connect(settings.dsn("reporter"), row_factory=dict_row) as connection:
        exists = connection.execute("SELECT to_regclass('audit.check_results') IS NOT NULL AS yes").fetchone()
        results = connection.execute(query).fetchall() if exists and exists["yes"] else []
    not_passed = [result for result in results if result["status"] not in ("passed", "skipped")]
    return {
        "passed": sum(result["status"] == "passed" for result in results),
        "failed": sum(result["status"] == "failed" for result in results),
        "errors": sum(result["status"] == "error" for result in results),
        "warnings": [result for result in not_passed if result["severity"] == "warn"],
        "bad": [result for result in not_passed if result["severity"] != "warn"],
    }


def _lineage(settings: StackSettings) -> list[str]:
    """Return the longest chain of datasets above the dashboard, as the metadata service tells it, source first."""
    key = {"Authorization": f"Bearer {settings.metadata_api_key.get_secret_value()}"}
    with httpx.Client(base_url=settings.metadata_url, headers=key, timeout=20) as http:
        found = http.get("/datasets", params={"q": DASHBOARD, "limit": 10}).raise_for_status().json()["items"]
        dashboards = [item["id"] for item in found if item["name"] == DASHBOARD]
        if not dashboards:
            return []
        graph = http.get(f"/datasets/{dashboards[0]}/lineage", params={"direction": "upstream", "depth": 20})
        lineage = graph.raise_for_status().json()
    above: dict[str, list[str]] = {}
    for edge in lineage["edges"]:
        above.setdefault(edge["target"], []).append(edge["source"])
    nodes = {node["id"]: node for node in lineage["nodes"]}
    chain = _longest(dashboards[0], above, frozenset(), {node: str(nodes[node]["name"]) for node in nodes})
    return [_address(nodes[node]) for node in reversed(chain) if nodes[node]["type"] == "dataset"]


def _address(node: dict[str, Any]) -> str:
    """Return a dataset's name, with its bucket where it lies in one."""
    namespace, name = str(node["namespace"]), str(node["name"])
    return f"{namespace}/{name}" if namespace.startswith("s3://") else name


def _longest(node: str, above: dict[str, list[str]], seen: frozenset[str], names: dict[str, str]) -> list[str]:
    """Return the longest path upwards; of equally long ones always the same, told by the name it ends with."""
    paths = [_longest(source, above, seen | {node}, names) for source in above.get(node, ()) if source not in seen]
    return [node, *max(paths, key=lambda path: (len(path), names[path[-1]]), default=[])]


def _dashboard_revenue(settings: StackSettings) -> float:
    """Return the revenue that the dashboard's chart adds up to."""
    rows = SupersetClient(settings).chart_data(DAILY_REVENUE)
    return round(sum(float(row["revenue"]) for row in rows), 2)


def _total_problems(settings: StackSettings, manifest: Manifest, revenue: float) -> list[str]:
    query = "SELECT count(*), coalesce(sum(total_amount), 0) FROM curated.fct_sales"
    with psycopg.connect(settings.dsn("reporter")) as connection:
        row = connection.execute(query).fetchone()
    tables = _table_sizes(settings, manifest)
    rows, total = row or (0, Decimal(0))
    want_rows, want_total = manifest.totals["rows"], Decimal(str(manifest.totals["revenue"]))
    problems = [
        f"staging.{table} has {size} rows instead of {manifest.tables[table]}"
        for table, size in tables.items()
        if size != manifest.tables[table]
    ]
    if rows != want_rows:
        problems.append(f"curated.fct_sales has {rows} rows instead of {want_rows}")
    if total != want_total:
        problems.append(f"the revenue in curated.fct_sales is {total} instead of {want_total}")
    if Decimal(str(revenue)) != want_total:
        problems.append(f"the dashboard shows a revenue of {revenue} instead of {want_total}")
    return problems


def _table_sizes(settings: StackSettings, manifest: Manifest) -> dict[str, int]:
    """Return how many rows the staging table of each dataset has."""
    sizes = {}
    with psycopg.connect(settings.dsn("loader")) as connection:
        for table in manifest.tables:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("staging", table))
            row = connection.execute(query).fetchone()
            sizes[table] = int(row[0]) if row else 0
    return sizes


def _addresses(settings: StackSettings) -> list[dict[str, str]]:
    def login(user: str, password: str, default: str) -> str:
        return f"{user} / {password}" if password == default else f"{user} / the password in {Path('.env')}"

    airflow = settings.airflow_admin_password.get_secret_value()
    superset = settings.superset_admin_password.get_secret_value()
    minio = settings.minio_root_password.get_secret_value()
    return [
        {
            "name": "Dashboard",
            "url": f"{settings.superset_url}/superset/dashboard/sales/",
            "login": login(settings.superset_admin_user, superset, "admin"),
        },
        {"name": "Airflow", "url": settings.airflow_url, "login": login(settings.airflow_admin_user, airflow, "admin")},
        {
            "name": "Catalog and lineage",
            "url": settings.metadata_url,
            "login": "reading is open" if settings.metadata_public_reads else "METADATA_API_KEY as password",
        },
        {
            "name": "Object store",
            "url": settings.s3_endpoint,
            "login": login(settings.minio_root_user, minio, "minio123"),
        },
        {
            "name": "Warehouse",
            "url": f"postgresql://{settings.loopback}:{settings.postgres_port}/warehouse",
            "login": login("reporter", settings.password("reporter"), "reporter"),
        },
    ]
