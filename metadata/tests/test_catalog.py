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


def columns(target: str, source: str, **how: object) -> dict[str, Any]:
    inputs = [{"namespace": "db", "name": source, "field": "mail", **({"transformations": [how]} if how else {})}]
    fields = {"mail": {"inputFields": inputs}}
    schema = {"fields": [{"name": "mail"}, {"name": "other"}]}
    return {"namespace": "db", "name": target, "facets": {"columnLineage": {"fields": fields}, "schema": schema}}


def test_personal_data_is_followed_along_column_lineage(api: TestClient, event: Make) -> None:
    tags = {"tags": [{"key": "pii", "field": "mail"}, {"key": "hot", "field": "mail"}]}
    api.post("/api/v1/lineage", json=event(inputs=[{"namespace": "db", "name": "a", "facets": {"tags": tags}}]))
    edges = [
        columns("a", "c"),  # a cycle
        columns("b", "a", type="DIRECT", subtype="IDENTITY"),
        columns("c", "b"),
        columns("hashed", "c", type="DIRECT", subtype="TRANSFORMATION", masking=True),
        columns("filtered", "c", type="INDIRECT", subtype="FILTER"),
    ]
    for number, output in enumerate(edges):
        api.post("/api/v1/lineage", json=event(run=f"r{number}", job=f"j{number}", outputs=[output]))

    def inherited(name: str) -> dict[str, list[str]]:
        dataset = api.get(f"/datasets?namespace=db&name={name}").json()["items"][0]
        shown = api.get(f"/datasets/{dataset['id']}").json()["schema"]
        return {column["name"]: column["inherited_tags"] for column in shown}

    assert inherited("b") == inherited("c") == {"mail": ["pii"], "other": []}
    assert inherited("a") == inherited("hashed") == inherited("filtered") == {"mail": [], "other": []}
    dataset = api.get("/datasets?namespace=db&name=c").json()["items"][0]
    assert "pii (inherited)" in api.get(f"/ui/datasets/{dataset['id']}").text

    # What was answered may be sent back without becoming the column's own; what is gone upstream is gone here.
    shown = api.get(f"/datasets/{dataset['id']}").json()["schema"]
    assert api.put(f"/datasets/{dataset['id']}", json={"schema": shown}).status_code == 200
    assert inherited("c")["mail"] == ["pii"]
    gone = event(inputs=[{"namespace": "db", "name": "a", "facets": {"tags": {"tags": []}}}], at=9)
    api.post("/api/v1/lineage", json=gone)
    assert inherited("c")["mail"] == []


def test_inherited_tags_reach_through_another_name(api: TestClient, event: Make) -> None:
    api.post(
        "/datasets", json={"name": "mails", "uri": "s3://raw/mails", "schema": [{"name": "mail", "tags": ["PII"]}]}
    )
    source = columns("b", "x", type="DIRECT")
    source["facets"]["columnLineage"]["fields"]["mail"]["inputFields"][0] |= {"namespace": "s3://raw", "name": "mails"}
    api.post("/api/v1/lineage", json=event(outputs=[source]))
    dataset = api.get("/datasets?namespace=db&name=b").json()["items"][0]["id"]
    assert api.get(f"/datasets/{dataset}").json()["schema"][0]["inherited_tags"] == ["PII"]


def test_a_job_is_shown_though_a_dataset_of_it_was_deleted(api: TestClient, event: Any) -> None:
    api.post("/api/v1/lineage", json=event(inputs=["gone", "kept"], outputs=["made"]))
    ids = {item["name"]: item["id"] for item in api.get("/datasets").json()["items"]}
    api.delete(f"/datasets/{ids['gone']}")
    [job] = api.get("/jobs").json()["items"]
    shown = api.get(f"/jobs/{job['id']}").json()
    assert [[item["name"] for item in shown[side]] for side in ("inputs", "outputs")] == [["kept"], ["made"]]
