"""Datasets, runs and check results as the API has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
SALES = {
    "namespace": "postgres://127.0.0.1:5432",
    "name": "warehouse.staging.sales",
    "description": "Sales",
    "owner": "sales-team",
    "domain": "sales",
    "tags": ["silver"],
    "schema": [{"name": "customer_id", "type": "text", "description": "Buyer", "tags": ["PII"], "position": 1}],
}


def test_a_dataset_lives_from_registration_to_deletion(api: TestClient) -> None:
    created = api.post("/datasets", json=SALES)
    assert created.status_code == 201
    dataset = created.json()
    assert {key: dataset[key] for key in SALES} == SALES
    assert (dataset["layer"], dataset["type"]) == ("staging", "table")
    assert dataset["uri"] == "postgres://127.0.0.1:5432/warehouse.staging.sales"
    assert dataset["quality"]["state"] == "unknown"

    changed = api.post("/datasets", json={"namespace": SALES["namespace"], "name": SALES["name"], "owner": "new"})
    assert (changed.status_code, changed.json()["id"]) == (200, dataset["id"])
    assert (changed.json()["owner"], changed.json()["description"]) == ("new", "Sales")

    put = api.put(f"/datasets/{dataset['id']}", json={"description": "Only this"})
    assert (put.json()["description"], put.json()["owner"], put.json()["tags"]) == ("Only this", None, [])
    assert api.put(f"/datasets/{dataset['id']}", json={"name": "other"}).status_code == 422

    assert api.delete(f"/datasets/{dataset['id']}").status_code == 204
    gone = api.get(f"/datasets/{dataset['id']}")
    assert (gone.status_code, gone.json()["status"]) == (404, 404)


def test_what_lineage_saw_completes_what_was_declared(api: TestClient, event: Make) -> None:
    api.post("/datasets", json=SALES)
    fields = [{"name": "customer_id", "type": "varchar"}, {"name": "region", "type": "text", "description": "Where"}]
    tags = [{"key": "hot"}, {"key": "geo", "value": "eu", "field": "region"}]
    facets = {"schema": {"fields": fields}, "tags": {"tags": tags}, "documentation": {"description": "observed"}}
    seen = {"namespace": SALES["namespace"], "name": SALES["name"], "facets": facets}
    assert api.post("/api/v1/lineage", json=event(outputs=[seen])).status_code == 201
    dataset = api.get("/datasets", params={"q": "staging.sales"}).json()["items"][0]
    assert (dataset["description"], dataset["tags"]) == ("Sales", ["silver", "hot"])
    assert [(c["name"], c["type"], c["tags"]) for c in dataset["schema"]] == [
        ("customer_id", "text", ["PII"]),
        ("region", "text", ["geo:eu"]),
    ]


def test_a_uri_identifies_a_dataset(api: TestClient, event: Make) -> None:
    api.post("/api/v1/lineage", json=event(outputs=[{"namespace": "s3://curated", "name": "sales/orders"}]))
    first = api.post("/datasets", json={"name": "sales.orders", "uri": "s3://curated/sales/orders"})
    assert first.status_code == 201
    assert first.json()["layer"] == "curated"
    again = api.post("/datasets", json={"name": "sales.orders", "uri": "s3://curated/sales/orders", "owner": "o"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    # The name that events use leads to the registered dataset, with its lineage.
    found = api.get("/datasets", params={"namespace": "s3://curated", "name": "sales/orders"}).json()["items"]
    assert [item["id"] for item in found] == [first.json()["id"]]
    lineage = api.get(f"/datasets/{first.json()['id']}/lineage").json()
    assert len(lineage["edges"]) == 1
    assert api.get(f"/datasets/{first.json()['id']}/runs").json()["items"][0]["direction"] == ["output"]


def test_lists_are_paged_and_narrowed(api: TestClient) -> None:
    for number in range(7):
        body = {
            "namespace": "n",
            "name": f"t{number}",
            "tags": ["even"] if number % 2 == 0 else [],
            "owner": f"o{number}",
        }
        api.post("/datasets", json=body)
    pages = [api.get(f"/datasets?limit=3&offset={offset}").json() for offset in (0, 3, 6)]
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    assert {item["name"] for page in pages for item in page["items"]} == {f"t{n}" for n in range(7)}
    assert {page["total"] for page in pages} == {7}
    assert api.get("/datasets?tag=even").json()["total"] == 4
    assert api.get("/datasets?owner=o3").json()["total"] == 1
    assert api.get("/datasets?q=T5").json()["total"] == 1
    assert api.get("/datasets?q=%25").json()["total"] == 0
    assert api.get("/datasets?limit=0").status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "t", "colour": "red"}, "colour"),
        ({"name": "t", "schema": [{"name": "a"}, {"name": "a"}]}, "schema"),
        ({"name": "t", "description": "a\x00b"}, "description"),
    ],
)
def test_a_bad_dataset_is_told(api: TestClient, body: dict[str, Any], field: str) -> None:
    answer = api.post("/datasets", json=body)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_lineage_reaches_as_far_as_asked(api: TestClient, event: Make) -> None:
    for number in range(4):
        sent = event(run=f"r{number}", job=f"j{number}", inputs=[f"d{number}"], outputs=[f"d{number + 1}"])
        api.post("/api/v1/lineage", json=sent)
    middle = api.get("/datasets?namespace=db&name=d2").json()["items"][0]["id"]

    def names(query: str) -> set[str]:
        return {node["name"] for node in api.get(f"/datasets/{middle}/lineage?{query}").json()["nodes"]}

    assert names("direction=upstream&depth=1") == {"d1", "j1", "d2"}
    assert names("direction=downstream") == {"d2", "j2", "d3", "j3", "d4"}
    assert names("depth=1") == {"d1", "j1", "d2", "j2", "d3"}
    assert names("depth=0") == {"d2"}
    assert len(api.get("/graph").json()["edges"]) == 8
    assert api.get("/graph?limit=3").json()["truncated"] is True


def test_a_cycle_ends(api: TestClient, event: Make) -> None:
    api.post("/api/v1/lineage", json=event(inputs=["t", "s"], outputs=["t"]))
    dataset = api.get("/datasets?namespace=db&name=t").json()["items"][0]["id"]
    assert len(api.get(f"/datasets/{dataset}/lineage").json()["edges"]) == 3


def test_a_run_is_recorded_and_ended(api: TestClient) -> None:
    body = {"job": {"namespace": "n", "name": "j"}, "inputs": [{"namespace": "db", "name": "a"}], "outputs": []}
    run = api.post("/runs", json=body)
    assert (run.status_code, run.json()["state"]) == (201, "RUNNING")
    path = f"/runs/{run.json()['id']}"
    ended = api.patch(path, json={"state": "FAILED", "error_message": "boom"}).json()
    assert (ended["state"], ended["error_message"]) == ("FAILED", "boom")
    assert ended["duration_seconds"] >= 0
    assert api.patch(path, json={"state": "COMPLETED"}).status_code == 409
    assert api.patch(path, json={"state": "FAILED"}).status_code == 200
    assert api.get("/runs?state=FAILED&job_name=j").json()["total"] == 1
    assert api.get("/runs?state=RUNNING").json()["total"] == 0
    assert api.get("/jobs").json()["items"][0]["state"] == "FAILED"


def test_check_results_are_kept_once(api: TestClient) -> None:
    dataset = {"namespace": "db", "name": "t"}
    results = [
        {
            "check": "unique",
            "dataset": dataset,
            "column": "id",
            "status": "failed",
            "severity": "critical",
            "measured": 3,
            "expected": {"max": 0},
            "message": "3 keys twice",
            "sql": "select 1",
            "failed_rows": 6,
            "sample": [{"id": "x"}],
            "engine": "sql",
            "checked_at": "2026-01-01T00:00:00Z",
            "duration_seconds": 0.2,
        },
        {"check": "rows", "dataset": dataset, "status": "passed", "measured": 10, "checked_at": "2026-01-01T00:00:00Z"},
        {"check": "rows", "dataset": dataset, "status": "error", "message": "no such column"},
    ]
    for _ in range(2):
        posted = api.post(
            "/runs/unknown-run/dq_results", json={"job": {"namespace": "n", "name": "j"}, "results": results}
        )
        assert posted.status_code == 201
    assert posted.json() == {
        "run_id": "unknown-run",
        "received": 3,
        "passed": 1,
        "failed": 1,
        "errors": 1,
        "skipped": 0,
    }
    stored = api.get("/runs/unknown-run/dq_results").json()
    assert stored["total"] == 3
    kept = next(item for item in stored["items"] if item["check"] == "unique")
    assert {key: kept[key] for key in results[0] if key != "dataset"} == {
        k: v for k, v in results[0].items() if k != "dataset"
    }
    assert api.get("/runs/unknown-run").json()["job"]["name"] == "j"
    quality = api.get(f"/datasets/{kept['dataset']['id']}/quality").json()
    assert quality["quality"]["state"] == "failing"
    assert len(quality["checks"]) == 3

    better = results[0] | {"status": "passed", "measured": 0, "checked_at": "2026-01-02T00:00:00Z"}
    rows = results[2] | {"status": "passed"}
    assert api.post("/runs/next/dq_results", json=[better, results[1], rows]).status_code == 201
    quality = api.get(f"/datasets/{kept['dataset']['id']}/quality").json()
    assert (quality["quality"]["state"], quality["history"]["total"]) == ("passing", 6)


def test_assertions_of_events_are_results(api: TestClient, event: Make) -> None:
    assertions = [
        {"assertion": "not_null", "column": "id", "success": True},
        {
            "assertion": "custom_sql",
            "name": "positive",
            "success": False,
            "severity": "warn",
            "actual": "2",
            "expected": "0",
            "content": "select 1",
            "description": "two below zero",
        },
    ]
    seen = {"namespace": "db", "name": "t", "inputFacets": {"dataQualityAssertions": {"assertions": assertions}}}
    api.post("/api/v1/lineage", json=event(inputs=[seen]))
    results = {item["check"]: item for item in api.get("/runs/r1/dq_results").json()["items"]}
    assert (results["not_null"]["status"], results["not_null"]["column"]) == ("passed", "id")
    failed = results["positive"]
    assert (failed["status"], failed["severity"], failed["measured"], failed["sql"]) == (
        "failed",
        "warn",
        "2",
        "select 1",
    )
    assert api.get("/datasets").json()["items"][0]["quality"]["state"] == "warning"


@pytest.mark.parametrize("body", [{"results": [{"check": "x"}]}, [{"check": "x", "status": "maybe"}], "x"])
def test_bad_results_are_told(api: TestClient, body: Any) -> None:
    answer = api.post("/runs/r/dq_results", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert api.get("/runs/r").status_code == 404
