"""From a dashboard's box to the column of a table, without a server: chart → dataset → mart or audit table."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
import yaml
from sqlglot import expressions as exp

Asset = dict[str, Any]
PHONE_WIDTHS = {3, 6, 12}
"""Columns of twelve that a phone shows well (assets/style.yaml): half of the screen, all of it, text of any width."""


@pytest.fixture(scope="module")
def assets(repository: Path) -> dict[str, Asset]:
    """The bundle that Superset would import, by path."""
    file = repository / "infrastructure" / "superset" / "bundle.py"
    spec = importlib.util.spec_from_file_location("superset_bundle", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Asset] = module.bundle()
    assert all(asset["uuid"].startswith(module.UUIDS) for asset in made.values() if "uuid" in asset)
    return made


def of(assets: dict[str, Asset], kind: str) -> dict[str, Asset]:
    """Assets of a kind by their uuid, which must be theirs alone."""
    found = [asset for path, asset in assets.items() if path.startswith(f"{kind}/")]
    assert len({asset["uuid"] for asset in found}) == len(found) > 0
    return {asset["uuid"]: asset for asset in found}


def known_columns(repository: Path) -> dict[str, set[str]]:
    """Columns of the marts as dbt's files tell them, and of the audit tables and views as their DDL does."""
    found: dict[str, set[str]] = {}
    for path in (repository / "transformations" / "models" / "marts").glob("*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", ()):
            found[f"curated.{model['name']}"] = {column["name"] for column in model["columns"]}
    ddl = "".join(
        (repository / path).read_text()
        for path in (
            "infrastructure/postgres/warehouse.sql",
            "pipelines/ingestion/ledger.py",
            "data-quality/src/data_quality/results.py",
        )
    )
    for name, body in re.findall(r"CREATE TABLE IF NOT EXISTS audit\.(\w+) \((.*?)\n\)", ddl, re.DOTALL):
        found[f"audit.{name}"] = set(re.findall(r"^ {4}([a-z_]+) ", body, re.MULTILINE))
    for name, query in re.findall(r'VIEW audit\.(\w+) AS\n(SELECT.*?)(?:;|""")', ddl, re.DOTALL):
        found[f"audit.{name}"] = set(sqlglot.parse_one(query, dialect="postgres").named_selects)
    return found


def columns_of(sql: str) -> set[str]:
    """The columns that an expression names."""
    return {column.name for column in sqlglot.parse_one(sql, dialect="postgres").find_all(exp.Column)}


def asked(query: Asset) -> Iterator[str]:
    """The columns that a chart's query names: dimensions, axis, filters, order, conditions in SQL."""
    for column in query["columns"]:
        yield column if isinstance(column, str) else column["sqlExpression"]
    for item in query["filters"]:
        yield item["col"]
    if "where" in query["extras"]:
        yield from columns_of(query["extras"]["where"])


def test_datasets_have_columns_that_their_tables_have(repository: Path, assets: dict[str, Asset]) -> None:
    known = known_columns(repository)
    for dataset in of(assets, "datasets").values():
        name = f"{dataset['schema']}.{dataset['table_name']}"
        columns = {column["column_name"] for column in dataset["columns"]}
        if dataset["sql"]:  # a query in place of a table: what it selects, from tables that are known
            query = sqlglot.parse_one(dataset["sql"], dialect="postgres")
            assert columns == set(query.named_selects), name
            read = {f"{table.db}.{table.name}" for table in query.find_all(exp.Table)}
            assert {column.name for column in query.find_all(exp.Column)} <= set().union(*(known[t] for t in read)), (
                name
            )
        else:
            assert columns <= known[name], name
        for metric in dataset["metrics"]:
            assert columns_of(metric["expression"]) <= columns, f"{name}: {metric['metric_name']}"
        assert dataset["main_dttm_col"] in {None} | columns, name


def test_charts_ask_for_what_their_dataset_has(assets: dict[str, Asset]) -> None:
    datasets = of(assets, "datasets")
    for chart in of(assets, "charts").values():
        title, dataset, params = chart["slice_name"], datasets[chart["dataset_uuid"]], chart["params"]
        metrics = {metric["metric_name"] for metric in dataset["metrics"]}
        columns = {column["column_name"] for column in dataset["columns"]}
        (query,) = json.loads(chart["query_context"])["queries"]
        assert set(asked(query)) <= columns, title
        assert set(query["metrics"] or ()) <= metrics, title
        assert {item[0] for item in query["orderby"]} <= columns | metrics, title
        named = [*params.get("metrics", ()), *params.get("metrics_b", ()), params.get("metric")]
        named += [params.get("timeseries_limit_metric")]
        assert {name for name in named if name} <= metrics, title
        if "x_axis_sort" in params:
            assert params["x_axis_sort"] in metrics | {params["x_axis"], "sum"}, title
        formatted = {re.sub("^[#△%] ", "", name) for name in params.get("column_config", ())}
        assert formatted <= columns | metrics, title
        assert {item["column"] for item in params.get("conditional_formatting", ())} <= columns | metrics, title
        template = params.get("handlebarsTemplate", "")
        words = set(re.findall(r"\{\{#?(?:if|unless|dateFormat)? ?\(?(?:eq )?([a-z_]+)", template))
        assert words - {"else", "each", "data", "if", "unless"} <= columns, title


def test_dashboards_filter_by_columns_of_the_charts_in_their_scope(assets: dict[str, Asset]) -> None:
    datasets, charts = of(assets, "datasets"), of(assets, "charts")
    for dashboard in of(assets, "dashboards").values():
        boxes = {part["meta"]["chartId"]: part["meta"] for part in dashboard["position"].values() if is_chart(part)}
        for item in dashboard["metadata"]["native_filter_configuration"]:
            excluded = set(item["scope"]["excluded"])
            assert excluded < set(boxes), item["name"]
            (target,) = item["targets"]
            for box in boxes.values():
                if box["chartId"] in excluded:
                    continue
                dataset = datasets[charts[box["uuid"]]["dataset_uuid"]]
                where = f"{dashboard['slug']}: the filter {item['name']} on {box['sliceName']}"
                if "column" in target:
                    columns = {column["column_name"] for column in dataset["columns"]}
                    assert target["column"]["name"] in columns, where
                else:
                    assert dataset["main_dttm_col"], where


def is_chart(part: Any) -> bool:
    return isinstance(part, dict) and part["type"] == "CHART"


def test_every_chart_stands_on_a_dashboard_and_fits_a_phone(assets: dict[str, Asset]) -> None:
    charts = of(assets, "charts")
    titles = [chart["slice_name"] for chart in charts.values()]
    assert len(set(titles)) == len(titles)
    shown = set()
    for dashboard in of(assets, "dashboards").values():
        parts = [part for part in dashboard["position"].values() if is_chart(part)]
        shown |= {part["meta"]["uuid"] for part in parts}
        for part in parts:
            kind = charts[part["meta"]["uuid"]]["viz_type"]
            assert part["meta"]["width"] in (PHONE_WIDTHS if kind == "handlebars" else PHONE_WIDTHS - {12})
        for row in (
            part for part in dashboard["position"].values() if isinstance(part, dict) and part["type"] == "ROW"
        ):
            assert sum(dashboard["position"][box]["meta"]["width"] for box in row["children"]) == 12, row["id"]
    assert shown == set(charts)


def test_every_dashboard_of_curated_tables_is_an_exposure(repository: Path, assets: dict[str, Asset]) -> None:
    datasets, charts = of(assets, "datasets"), of(assets, "charts")
    shown = {}
    for dashboard in of(assets, "dashboards").values():
        parts = [part for part in dashboard["position"].values() if is_chart(part)]
        used = [datasets[charts[part["meta"]["uuid"]]["dataset_uuid"]] for part in parts]
        shown[dashboard["slug"]] = {dataset["table_name"] for dataset in used if dataset["schema"] == "curated"}
    file = repository / "transformations" / "models" / "marts" / "_exposures.yml"
    exposures = {exposure["name"]: exposure for exposure in yaml.safe_load(file.read_text())["exposures"]}
    assert {slug for slug, tables in shown.items() if tables} == set(exposures)
    for slug, exposure in exposures.items():
        assert {reference.split("'")[1] for reference in exposure["depends_on"]} == shown[slug]


def test_metrics_mean_on_dashboards_what_dbt_says(repository: Path, assets: dict[str, Asset]) -> None:
    declared = yaml.safe_load((repository / "transformations/models/marts/_metrics.yml").read_text())
    aggregates = {"sum": "SUM({})", "count": "COUNT({})", "count_distinct": "COUNT(DISTINCT {})", "average": "AVG({})"}
    shown = {
        dataset["table_name"]: {metric["expression"] for metric in dataset["metrics"]}
        for dataset in of(assets, "datasets").values()
    }
    used = {metric["type_params"]["measure"] for metric in declared["metrics"]}
    compared = 0
    for model in declared["semantic_models"]:
        expressions = shown.get(model["model"].split("'")[1])
        for measure in model["measures"]:
            assert measure["name"] in used
            if expressions is not None:
                assert aggregates[measure["agg"]].format(measure["expr"]) in expressions, measure["name"]
                compared += 1
    assert compared >= 6
