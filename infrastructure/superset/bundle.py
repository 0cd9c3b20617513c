"""The dashboards as this folder writes them, made into the bundle that Superset imports.

Superset's own export repeats itself: a chart says its query twice, a dashboard says of every box where it stands in
which row. Here each thing is said once, and the rest follows from it:

    assets/style.yaml                  colours, and what every chart of a kind has in common
    assets/datasets/<table>.yaml       a table: columns with their types and titles, metrics with their SQL
    assets/charts/<dashboard>.yaml     charts by their titles
    assets/dashboards/<slug>.yaml      rows of charts, filters, description

Pure functions of these files: no server, no environment. Every `id` is for life: it is the end of the uuid by which
Superset knows the thing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ASSETS = Path(__file__).parent / "assets"
UUIDS = "6f1f9c9e-0d1f-4a52-9a1c-5d1be3a20"
"""How the uuids of everything that is made here begin; whatever else is in Superset is somebody's own."""
VERSION = "1.0.0"

Asset = dict[str, Any]


def uuid(number: int) -> str:
    """Return the uuid of a thing by its `id`, 1 to 999."""
    return f"{UUIDS}{number:03}"


def bundle(folder: Path = ASSETS) -> dict[str, Asset]:
    """Return {path: asset} as Superset's importer of assets reads them."""
    style = _read(folder / "style.yaml")
    database = _read(folder / "databases" / "warehouse.yaml")
    datasets = {path.stem: _read(path) for path in sorted((folder / "datasets").glob("*.yaml"))}
    charts: dict[str, Asset] = {}
    for path in sorted((folder / "charts").glob("*.yaml")):
        for title, chart in _read(path).items():
            charts[title] = _chart(title, chart, datasets[chart["dataset"]], style)
    made = {
        "metadata.yaml": {"version": VERSION, "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00"},
        "databases/warehouse.yaml": {**database, "uuid": uuid(1), "version": VERSION},
    }
    for name, dataset in datasets.items():
        made[f"datasets/warehouse/{name}.yaml"] = _dataset(name, dataset)
    for chart in charts.values():
        made[f"charts/{chart['uuid']}.yaml"] = chart
    for path in sorted((folder / "dashboards").glob("*.yaml")):
        made[f"dashboards/{path.stem}.yaml"] = _dashboard(path.stem, _read(path), charts, datasets, style)
    return made


def _read(path: Path) -> Asset:
    read: Asset = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def _dataset(name: str, dataset: Asset) -> Asset:
    columns = [
        {
            "column_name": column,
            "type": kind.upper(),
            "verbose_name": title,
            "is_dttm": kind in ("date", "timestamptz"),
            "groupby": True,
            "filterable": True,
        }
        for column, (kind, title) in dataset["columns"].items()
    ]
    metrics = [
        {
            "metric_name": metric,
            "verbose_name": said["title"],
            "expression": said["sql"],
            "d3format": said.get("format", ",d"),
            "currency": {"symbol": "EUR", "symbolPosition": "prefix"} if said.get("euro") else None,
        }
        for metric, said in dataset.get("metrics", {}).items()
    ]
    return {
        "table_name": name,
        "schema": dataset["schema"],
        "sql": dataset.get("sql"),
        "main_dttm_col": dataset.get("time"),
        "description": dataset["description"],
        "filter_select_enabled": True,
        "is_managed_externally": True,
        "columns": columns,
        "metrics": metrics,
        "uuid": uuid(dataset["id"]),
        "database_uuid": uuid(1),
        "version": VERSION,
    }


def _chart(title: str, chart: Asset, dataset: Asset, style: Asset) -> Asset:
    params = {"viz_type": chart["kind"], **style["kinds"]["every"], **style["kinds"].get(chart["kind"], {})}
    params |= chart.get("params", {})
    params["adhoc_filters"] = _filters(chart, dataset)
    if chart["kind"] == "mixed_timeseries":
        params["adhoc_filters_b"] = params["adhoc_filters"]
    query = _query(params)
    context = {
        "datasource": {"id": 0, "type": "table"},
        "force": False,
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
    }
    return {
        "slice_name": title,
        "description": chart.get("description"),
        "viz_type": chart["kind"],
        "params": params,
        "query_context": json.dumps(context),
        "is_managed_externally": True,
        "uuid": uuid(chart["id"]),
        "dataset_uuid": uuid(dataset["id"]),
        "version": VERSION,
    }


def _filters(chart: Asset, dataset: Asset) -> list[Asset]:
    """Return a chart's own filters. The one on the dataset's time is there always: a dashboard's filter works on it."""
    filters: list[Asset] = []
    if dataset.get("time"):
        filters.append(
            {
                "clause": "WHERE",
                "expressionType": "SIMPLE",
                "subject": dataset["time"],
                "operator": "TEMPORAL_RANGE",
                "comparator": chart.get("range", "No filter"),
            }
        )
    if "where" in chart:
        filters.append({"clause": "WHERE", "expressionType": "SQL", "sqlExpression": chart["where"]})
    return filters


def _query(params: Asset) -> Asset:
    """Return the query that the browser would make of a chart's parameters, for whoever asks by REST."""
    metrics = [*params.get("metrics", ()), *filter(None, [params.get("metric")]), *params.get("metrics_b", ())]
    columns: list[Any] = [*params.get("groupby", ()), *params.get("all_columns", ())]
    order: list[Any] = [json.loads(item) for item in params.get("order_by_cols", ())]
    if axis := params.get("x_axis"):
        grain = params.get("time_grain_sqla")
        columns.insert(0, _axis(axis, grain) if grain else axis)
        order = [[axis, True]] if grain else order
    if not order and columns and metrics:
        order = [[metrics[0], False]]
    filters, extras = [], {}
    for item in params["adhoc_filters"]:
        if item["expressionType"] == "SQL":
            extras["where"] = item["sqlExpression"]
        else:
            filters.append({"col": item["subject"], "op": item["operator"], "val": item["comparator"]})
    return {
        "metrics": metrics or None,
        "columns": columns,
        "filters": filters,
        "extras": extras,
        "orderby": order,
        "row_limit": params["row_limit"],
    }


def _axis(column: str, grain: str) -> Asset:
    return {
        "columnType": "BASE_AXIS",
        "expressionType": "SQL",
        "label": column,
        "sqlExpression": column,
        "timeGrain": grain,
    }


def _dashboard(
    slug: str, dashboard: Asset, charts: dict[str, Asset], datasets: dict[str, Asset], style: Asset
) -> Asset:
    position, numbers = _position(dashboard, charts)
    filters = [
        _native_filter(slug, name, said, numbers, datasets) for name, said in dashboard.get("filters", {}).items()
    ]
    return {
        "dashboard_title": dashboard["title"],
        "description": dashboard["description"],
        "slug": slug,
        "css": style["css"],
        "published": True,
        "certified_by": dashboard["owner"],
        "certification_details": dashboard["certified"],
        "is_managed_externally": True,
        "uuid": uuid(dashboard["id"]),
        "version": VERSION,
        "metadata": {
            "color_scheme": style["color_scheme"],
            "label_colors": style["label_colors"],
            "shared_label_colors": [],
            "map_label_colors": style["label_colors"],
            "refresh_frequency": dashboard.get("refresh_seconds", 0),
            "cross_filters_enabled": True,
            "filter_bar_orientation": "HORIZONTAL",
            "native_filter_configuration": filters,
        },
        "position": position,
    }


def _position(dashboard: Asset, charts: dict[str, Asset]) -> tuple[Asset, dict[str, int]]:
    """Return where every chart stands, and {title: number} by which the dashboard's filters name it."""
    position: Asset = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
        "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": dashboard["title"]}},
    }
    numbers: dict[str, int] = {}
    rows = []
    for row in dashboard["rows"]:
        row_id = f"ROW-{len(rows) + 1}"
        rows.append(row_id)
        boxes = []
        for title, width in row["charts"].items():
            numbers[title] = len(numbers) + 1
            boxes.append(f"CHART-{numbers[title]}")
            position[boxes[-1]] = {
                "id": boxes[-1],
                "type": "CHART",
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", row_id],
                "meta": {
                    "uuid": charts[title]["uuid"],
                    "sliceName": title,
                    "chartId": numbers[title],
                    "width": width,
                    "height": row["height"],
                },
            }
        position[row_id] = {
            "id": row_id,
            "type": "ROW",
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
            "children": boxes,
        }
    position["GRID_ID"] = {"id": "GRID_ID", "type": "GRID", "parents": ["ROOT_ID"], "children": rows}
    return position, numbers


def _native_filter(slug: str, name: str, said: Asset, numbers: dict[str, int], datasets: dict[str, Asset]) -> Asset:
    made: Asset = {
        "id": f"NATIVE_FILTER-{slug}-{name.lower().replace(' ', '-')}",
        "name": name,
        "type": "NATIVE_FILTER",
        "description": said.get("description", ""),
        "cascadeParentIds": [],
        "controlValues": {"enableEmptyFilter": False},
        "scope": {"rootPath": ["ROOT_ID"], "excluded": [numbers[title] for title in said.get("not_for", ())]},
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}},
    }
    if "range" in said:
        made |= {"filterType": "filter_time", "targets": [{}]}
        made["defaultDataMask"]["extraFormData"] = {"time_range": said["range"]}
        made["defaultDataMask"]["filterState"] = {"value": said["range"]}
        return made
    made["controlValues"] |= {"multiSelect": True, "defaultToFirstItem": False, "inverseSelection": False}
    target = {"column": {"name": said["column"]}, "datasetUuid": uuid(datasets[said["dataset"]]["id"])}
    return {**made, "filterType": "filter_select", "targets": [target]}
