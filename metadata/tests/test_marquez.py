"""Marquez' API: its own Python client, unmodified, against the running service; names that hold anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from marquez_client import MarquezClient
from marquez_client.errors import APIError
from marquez_client.models import DatasetId, DatasetType, JobType

# The client calls its own writes deprecated: events are the way to go. They have to work all the same.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:.*deprecated")]
Make = Callable[..., dict[str, Any]]
FOOD = "food_delivery"


@pytest.fixture
def marquez(address: str) -> MarquezClient:
    return MarquezClient(url=address, api_key="test-key")


@pytest.fixture
def food(api: TestClient, marquez: MarquezClient, real_events: list[dict[str, Any]]) -> MarquezClient:
    """Marquez' own example, sent as events."""
    events = [event for event in real_events if event["job"]["namespace"] == FOOD]
    for event in events:
        assert api.post("/api/v1/lineage", json=event).status_code == 201
    return marquez


def test_what_the_client_reads(food: MarquezClient) -> None:
    spaces = food.list_namespaces()
    assert FOOD in [space["name"] for space in spaces["namespaces"]]
    space = food.get_namespace(FOOD)
    assert (space["name"], space["ownerName"]) == (FOOD, "anonymous")
    assert space["createdAt"] <= space["updatedAt"]

    jobs = food.list_jobs(FOOD, limit=5, offset=0)
    assert (len(jobs["jobs"]), jobs["totalCount"]) == (5, 13)
    assert [job["name"] for job in jobs["jobs"]] == sorted(job["name"] for job in jobs["jobs"])
    job = food.get_job(FOOD, "etl_delivery_7_days")
    assert job["id"] == {"namespace": FOOD, "name": "etl_delivery_7_days"}
    assert job["type"] == "BATCH"
    assert {item["name"] for item in job["outputs"]} == {"public.delivery_7_days"}
    assert len(job["inputs"]) > 3
    assert job["latestRun"]["state"] == "COMPLETED"
    runs = food.list_job_runs(FOOD, job["name"])
    assert runs["totalCount"] == len(runs["runs"]) >= 1
    run = food.get_job_run(job["latestRun"]["id"])
    assert run["jobVersion"]["name"] == job["name"]
    assert {v["datasetVersionId"]["name"] for v in run["outputDatasetVersions"]} == {"public.delivery_7_days"}
    assert run["durationMs"] > 0

    listed = food.list_datasets(FOOD, limit=2, offset=1)
    assert len(listed["datasets"]) == 2
    assert listed["totalCount"] > 8
    dataset = food.get_dataset(FOOD, "public.delivery_7_days")
    assert (dataset["type"], dataset["physicalName"]) == ("DB_TABLE", "public.delivery_7_days")
    assert {"name", "type", "tags", "description"} <= dataset["fields"][0].keys()
    versions = food.list_dataset_versions(FOOD, "public.delivery_7_days")
    assert versions["versions"][0]["version"] == dataset["currentVersion"]
    version = food.get_dataset_version(FOOD, "public.delivery_7_days", dataset["currentVersion"])
    assert version["createdByRun"]["id"] == run["id"]
    assert [f["name"] for f in version["fields"]] == [f["name"] for f in dataset["fields"]]
    source = food.get_source(dataset["sourceName"])
    assert source["name"] in [item["name"] for item in food.list_sources()["sources"]]
    assert food.list_tags()["tags"] is not None
    assert food.list_events(limit=3)["totalCount"] >= 13
    assert all(e["job"]["namespace"] == FOOD for e in food.list_events(FOOD)["events"])


def test_column_lineage_by_the_client(food: MarquezClient) -> None:
    graph = food.get_column_lineage_by_dataset(FOOD, "public.delivery_7_days", depth=1)["graph"]
    ids = {node["id"] for node in graph}
    ours = next(n for n in graph if n["id"] == f"datasetField:{FOOD}:public.delivery_7_days:order_id")
    assert ours["type"] == "DATASET_FIELD"
    assert {"namespace", "dataset", "datasetVersion", "field", "inputFields"} <= ours["data"].keys()
    assert ours["inEdges"]
    assert {edge["origin"] for edge in ours["inEdges"]} <= ids
    assert {(i["dataset"], i["field"]) for i in ours["data"]["inputFields"]} == {
        (name.split(":")[2], name.split(":")[3]) for name in (edge["origin"] for edge in ours["inEdges"])
    }
    field = food.get_column_lineage_by_dataset_field(FOOD, "public.delivery_7_days", "order_id", depth=1)["graph"]
    assert {node["id"] for node in field} < ids
    job = food.get_column_lineage_by_job(FOOD, "etl_delivery_7_days", depth=1)["graph"]
    assert {node["id"] for node in job} == ids
    source = ours["data"]["inputFields"][0]
    down = food.get_column_lineage_by_dataset_field(
        FOOD, source["dataset"], source["field"], depth=1, with_downstream=True
    )["graph"]
    assert ours["id"] in {node["id"] for node in down}
    assert not any(
        node["id"] == ours["id"]
        for node in food.get_column_lineage_by_dataset_field(FOOD, source["dataset"], source["field"])["graph"]
    )
    versioned = food.get_column_lineage_by_dataset(FOOD, "public.delivery_7_days", depth=1, version=str(uuid4()))
    assert {node["id"] for node in versioned["graph"]} == ids


def test_what_the_client_writes(marquez: MarquezClient) -> None:
    space, table = "postgres://db.example.com:5432", "wedata.public.room bookings/€"
    made = marquez.create_namespace(space, "me", "My first namespace")
    assert (made["name"], made["ownerName"], made["description"]) == (space, "me", "My first namespace")
    assert marquez.get_namespace(space) == made
    source = marquez.create_source("s3://bucket", "s3", "s3://bucket.example.com", "Files")
    assert (source["type"], source["connectionUrl"]) == ("S3", "s3://bucket.example.com")
    assert marquez.get_source("s3://bucket") == source
    fields = [{"name": "id", "type": "INTEGER"}, {"name": "at", "type": "TIMESTAMP", "tags": ["time"]}]
    dataset = marquez.create_dataset(
        space, table, DatasetType.DB_TABLE, "public.room_bookings", "s3://bucket",
        description="Bookings", fields=fields, tags=["gold"],
    )  # fmt: skip
    assert (dataset["name"], dataset["namespace"], dataset["physicalName"]) == (table, space, "public.room_bookings")
    assert (dataset["sourceName"], dataset["description"], dataset["tags"]) == ("s3://bucket", "Bookings", ["gold"])
    assert [(f["name"], f["type"], f["tags"]) for f in dataset["fields"]] == [
        ("id", "INTEGER", []), ("at", "TIMESTAMP", ["time"]),
    ]  # fmt: skip
    assert marquez.get_dataset(space, table) == dataset
    stream = marquez.create_dataset(
        space, "clicks", DatasetType.STREAM, "clicks", "kafka", schema_location="http://registry/1"
    )
    assert (stream["type"], stream["schemaLocation"]) == ("STREAM", "http://registry/1")

    assert marquez.create_tag("SENSITIVE", "Handle with care") == {
        "name": "SENSITIVE",
        "description": "Handle with care",
    }
    assert marquez.tag_dataset(space, table, "SENSITIVE")["tags"] == ["SENSITIVE", "gold"]
    tagged = marquez.tag_dataset_field(space, table, "id", "key")
    assert tagged["fields"][0]["tags"] == ["key"]
    assert {"SENSITIVE", "gold", "key"} <= {tag["name"] for tag in marquez.list_tags()["tags"]}

    job = marquez.create_job(
        space, "etl/bookings", JobType.BATCH, location="https://github.com/x/y", description="Books",
        inputs=[DatasetId(space, table)], outputs=[DatasetId(space, "report")], context={"SQL": "SELECT 1"},
    )  # fmt: skip
    assert job["inputs"] == [{"namespace": space, "name": table}]
    assert job["outputs"] == [{"namespace": space, "name": "report"}]
    assert (job["location"], job["description"], job["type"]) == ("https://github.com/x/y", "Books", "BATCH")
    assert job["facets"]["sql"]["query"] == "SELECT 1"

    run_id = str(uuid4())
    run = marquez.create_job_run(
        space, "etl/bookings", run_id=run_id, run_args={"retries": 1},
        nominal_start_time="2026-01-01T00:00:00Z", nominal_end_time="2026-01-01T01:00:00Z",
    )  # fmt: skip
    assert (run["id"], run["state"], run["args"]) == (run_id, "NEW", {"retries": 1})
    assert (run["nominalStartTime"], run["nominalEndTime"]) == ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")
    started = marquez.mark_job_run_as_started(run_id, "2026-01-01T00:00:01Z")
    assert (started["state"], started["startedAt"]) == ("RUNNING", "2026-01-01T00:00:01Z")
    written = marquez.create_dataset(
        space, "report", DatasetType.DB_TABLE, "report", "s3://bucket", fields=fields, run_id=run_id
    )
    assert marquez.get_dataset_version(space, "report", run_id)["createdByRun"]["id"] == run_id
    assert written["name"] == "report"
    ended = marquez.mark_job_run_as_completed(run_id, "2026-01-01T00:00:11Z")
    assert (ended["state"], ended["durationMs"]) == ("COMPLETED", 10_000)
    for mark, state in ((marquez.mark_job_run_as_failed, "FAILED"), (marquez.mark_job_run_as_aborted, "ABORTED")):
        other = marquez.create_job_run(space, "etl/bookings", mark_as_running=True)
        assert other["state"] == "RUNNING"
        assert mark(other["id"])["state"] == state
    assert marquez.list_job_runs(space, "etl/bookings")["totalCount"] == 3
    assert marquez.get_job(space, "etl/bookings")["latestRun"]["state"] == "ABORTED"
    for call in (lambda: marquez.get_namespace("none"), lambda: marquez.get_dataset(space, "none"),
                 lambda: marquez.mark_job_run_as_failed(str(uuid4()))):  # fmt: skip
        with pytest.raises(APIError):
            call()


def path(*names: str) -> str:
    return "/".join(quote(name, safe="") for name in names)


def test_the_graph_as_the_web_page_asks_for_it(api: TestClient, event: Make) -> None:
    space, name = "postgres://h:5432", "w.public.a:b"
    read = {"namespace": space, "name": name}
    api.post("/api/v1/lineage", json=event(job="my:job", inputs=[read], outputs=["out"]))
    dataset, job, out = f"dataset:{space}:{name}", "job:tests:my:job", "dataset:db:out"
    for node_id in (dataset, f"dataset:{quote(space, safe='')}:{quote(name, safe='')}", job, out):
        graph = api.get("/api/v1/lineage", params={"nodeId": node_id, "depth": 20}).json()["graph"]
        assert {node["id"]: node["type"] for node in graph} == {dataset: "DATASET", job: "JOB", out: "DATASET"}
        edges = {node["id"]: (node["inEdges"], node["outEdges"]) for node in graph}
        into, out_of = {"origin": dataset, "destination": job}, {"origin": job, "destination": out}
        assert edges == {dataset: ([], [into]), job: ([into], [out_of]), out: ([out_of], [])}
        data = next(node["data"] for node in graph if node["id"] == job)
        assert (data["inputs"], data["latestRun"]["state"]) == ([read], "COMPLETED")
    assert api.get("/api/v1/lineage", params={"nodeId": "dataset:x:y"}).status_code == 404
    assert api.get("/api/v1/lineage", params={"nodeId": "rubbish"}).status_code == 422
    run = api.get("/api/v1/jobs").json()["jobs"][0]["latestRun"]["id"]
    assert api.get(f"/api/v1/jobs/runs/{run}/facets?type=job").json() == {"runId": run, "facets": {}}
    assert api.get(f"/api/v1/jobs/runs/{run}/facets").status_code == 422
    found = api.get("/api/v1/search", params={"q": "my:job", "sort": "NAME", "filter": "JOB"}).json()
    assert [(hit["type"], hit["nodeId"]) for hit in found["results"]] == [("JOB", job)]


def test_events_and_counts_over_time(api: TestClient, event: Make) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sent = [event(run=f"r{n}", outputs=[f"d{n}"], at=n) for n in range(3)]
    for one in (*sent, event("START", run="new", job="late") | {"eventTime": now}):
        api.post("/api/v1/lineage", json=one)
    page = api.get("/api/v1/events/lineage", params={"limit": 2, "sortDirection": "asc"}).json()
    assert (page["events"], page["totalCount"]) == (sent[:2], 4)
    window = {"after": sent[1]["eventTime"], "before": sent[2]["eventTime"]}
    assert api.get("/api/v1/events/lineage", params=window).json() == {"events": [sent[1]], "totalCount": 1}
    for period, length in (("DAY", 24), ("WEEK", 7)):
        asked = {"period": period, "timezone": "Europe/Berlin"}
        counts = api.get("/api/v1/stats/lineage-events", params=asked).json()
        assert len(counts) == length
        assert (sum(c["start"] for c in counts), sum(c["complete"] for c in counts)) == (1, 0)
        assert [c["endInterval"] for c in counts[:-1]] == [c["startInterval"] for c in counts[1:]]
        for kind, number in (("jobs", 2), ("datasets", 3), ("sources", 1)):
            assert api.get(f"/api/v1/stats/{kind}", params=asked).json()[-1]["count"] == number
    assert api.get("/api/v1/stats/jobs?timezone=../etc/passwd").status_code == 422


def test_deleting_and_untagging(api: TestClient, event: Make) -> None:
    facets = {"tags": {"tags": [{"key": "hot", "value": "true"}]}, "schema": {"fields": [{"name": "x"}]}}
    table = {"namespace": "s3://b", "name": "a/b", "facets": facets}
    sent = event(inputs=["in"], outputs=[table])
    api.post("/api/v1/lineage", json=sent)
    base = f"/api/v1/namespaces/{path('s3://b')}/datasets/{path('a/b')}"
    assert api.post(f"{base}/tags/own").json()["tags"] == ["own", "hot"]
    assert api.delete(f"{base}/tags/hot").json()["tags"] == ["own"]
    assert api.delete(f"{base}/tags/own").json()["tags"] == []
    assert api.post(f"{base}/fields/x/tags/pii").json()["fields"][0]["tags"] == ["pii"]
    assert api.delete(f"{base}/fields/x/tags/pii").json()["fields"][0]["tags"] == []
    assert api.post(f"{base}/fields/none/tags/pii").status_code == 404
    assert api.delete(base).json()["deleted"] is True
    assert api.get(base).status_code == 404
    assert api.get("/api/v1/namespaces/s3%3A%2F%2Fb/datasets").json() == {"datasets": [], "totalCount": 0}
    job = "/api/v1/namespaces/tests/jobs/j"
    assert api.get(f"{job}/versions").json()["totalCount"] == 1
    version = api.get(f"{job}/versions").json()["versions"][0]
    assert version["version"] == api.get(job).json()["currentVersion"]
    assert api.get(f"{job}/versions/{version['version']}").json() == version
    assert api.delete(job).status_code == 200
    assert api.get(job).status_code == 404
    api.post("/api/v1/lineage", json=sent | {"eventTime": "2026-01-02T00:00:00Z"})
    assert api.get(job).status_code == api.get(base).status_code == 200
    assert api.delete("/api/v1/namespaces/tests").json()["isHidden"] is True
    assert api.get(job).status_code == 404
    assert api.delete(base, headers={"Authorization": ""}).status_code == 401


def test_beyond_the_last_page_lists_say_how_many_there_are(api: TestClient, event: Make) -> None:
    tagged = {"namespace": "db", "name": "a", "facets": {"tags": {"tags": [{"key": "hot", "value": "true"}]}}}
    for minute, outputs in enumerate([[tagged], [tagged, "b"], [tagged, "b", "c"]]):
        told = event(run=f"r{minute}", at=minute, outputs=outputs)
        assert api.post("/api/v1/lineage", json=told).status_code == 201
    for path, number in (
        ("namespaces/tests/jobs/j/versions", 3), ("namespaces/db/datasets/a/versions", 3), ("namespaces", 2),
        ("sources", 1), ("tags", 1), ("jobs", 1), ("namespaces/tests/jobs", 1), ("namespaces/db/datasets", 3),
        ("namespaces/tests/jobs/j/runs", 3),
    ):  # fmt: skip
        first, beyond = (api.get(f"/api/v1/{path}", params={"limit": 2, "offset": at}).json() for at in (0, 10))
        assert (first.pop("totalCount"), beyond.pop("totalCount")) == (number, number), path
        assert [len(page) for shown in (first, beyond) for page in shown.values()] == [min(number, 2), 0], path
