"""OpenLineage events: what is taken, what is refused, and that neither order nor repetition matters."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]


def send(api: TestClient, *events: dict[str, Any]) -> None:
    for event in events:
        answer = api.post("/api/v1/lineage", json=event)
        assert answer.status_code == 201, answer.text


def graph(api: TestClient) -> dict[str, Any]:
    """The whole graph by names instead of ids."""
    got = api.get("/graph?limit=5000").json()
    names = {node["id"]: (node["type"], node["namespace"], node["name"]) for node in got["nodes"]}
    columns = [
        (
            names[e["source"]["dataset_id"]],
            e["source"]["column"],
            names[e["target"]["dataset_id"]],
            e["target"]["column"],
            names.get(e["job_id"]),
            e["type"],
            e["subtype"],
        )
        for e in got["column_edges"]
    ]
    return {
        "nodes": sorted((names[n["id"]], n["state"]) for n in got["nodes"]),
        "edges": sorted((names[e["source"]], names[e["target"]]) for e in got["edges"]),
        "columns": sorted(columns, key=repr),
    }


def everything(api: TestClient) -> dict[str, Any]:
    """All that the service knows, without ids and times of arrival."""
    datasets = []
    for item in api.get("/datasets?limit=500").json()["items"]:
        detail = api.get(f"/datasets/{item['id']}").json()
        results = api.get(f"/datasets/{item['id']}/quality").json()["history"]["items"]
        checks = sorted((r["check"], str(r["column"]), r["status"], r["run_id"]) for r in results)
        suspected = sorted(source["name"] for source in detail.pop("suspect_because", []))
        kept = {k: v for k, v in detail.items() if k != "id"}
        datasets.append(kept | {"checks": checks, "suspected": suspected})
    runs = []
    for item in api.get("/runs?limit=500").json()["items"]:
        detail = api.get(f"/runs/{item['id']}").json()
        sides = {
            s: sorted((d["dataset"]["name"], json.dumps(d["facets"])) for d in detail[s]) for s in ("inputs", "outputs")
        }
        kept = {k: v for k, v in detail.items() if k not in ("job", "children", "inputs", "outputs")}
        runs.append(kept | sides | {"job": detail["job"] and detail["job"]["name"]})
    return {
        "graph": graph(api),
        "datasets": sorted(datasets, key=lambda d: (d["namespace"], d["name"])),
        "runs": sorted(runs, key=lambda r: r["id"]),
    }


def clear(api: TestClient) -> None:
    """Empty the store."""
    with api.app.state.sessions.begin() as session:  # type: ignore[attr-defined]
        from sqlalchemy import text

        session.execute(text("TRUNCATE event, dataset, job, run, facet, quality_result CASCADE"))


def test_edges_and_state_come_from_a_run(api: TestClient, event: Make) -> None:
    send(api, event("START", at=1), event("COMPLETE", at=3, inputs=["a"], outputs=["b"]))
    run = api.get("/runs/r1").json()
    assert (run["state"], run["duration_seconds"]) == ("COMPLETED", 120.0)
    assert graph(api)["edges"] == [
        (("dataset", "db", "a"), ("job", "tests", "j")),
        (("job", "tests", "j"), ("dataset", "db", "b")),
    ]


def test_the_same_event_twice_changes_nothing(api: TestClient, event: Make) -> None:
    sent = event(inputs=["a"], outputs=["é"])
    assert api.post("/api/v1/lineage", json=sent).json() == {"status": "stored", "kind": "run"}
    before = everything(api)
    assert api.post("/openlineage/events", json=dict(reversed(sent.items()))).json()["status"] == "duplicate"
    for written in (json.dumps(sent, sort_keys=True), json.dumps(sent, indent=1, ensure_ascii=False)):
        assert api.post("/openlineage/events", content=written).json()["status"] == "duplicate"
    assert everything(api) == before


@pytest.mark.parametrize("seed", range(2))
def test_order_and_repetition_do_not_matter(api: TestClient, real_events: list[dict[str, Any]], seed: int) -> None:
    send(api, *real_events)
    expected = everything(api)
    assert expected["graph"]["edges"]
    clear(api)
    shuffled = real_events + real_events[::3]
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - reproducible, not secret
    send(api, *shuffled)
    assert everything(api) == expected


def test_parallel_senders_do_not_disturb_each_other(api: TestClient, real_events: list[dict[str, Any]]) -> None:
    send(api, *real_events)
    expected = everything(api)
    clear(api)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda e: api.post("/api/v1/lineage", json=e).status_code, real_events * 3))
    assert set(answers) == {201}
    assert everything(api) == expected


def test_real_events_make_the_expected_graph(api: TestClient, real_events: list[dict[str, Any]]) -> None:
    send(api, *real_events)
    got = graph(api)
    food_jobs = [n for n, _ in got["nodes"] if n[:2] == ("job", "food_delivery")]
    assert len(food_jobs) == 13
    food = [e for e in got["columns"] if e[2][1] == "food_delivery"]
    # 39 in all; one comes from a dataset that no job reads, so it is no part of the graph.
    assert len({(e[0], e[1], e[2], e[3]) for e in food}) == 38
    # Airflow's DAG runs have no datasets: they are runs, parents of their tasks, and no nodes of the graph.
    assert ("job", "airflow", "BQ") not in [n for n, _ in got["nodes"]]
    assert ("job", "airflow", "BQ.copy") in [n for n, _ in got["nodes"]]
    task = api.get("/runs?job_name=BQ.copy").json()["items"][0]
    parent = api.get(f"/runs/{task['parent_run_id']}").json()
    assert parent["job"]["name"] == "BQ"
    assert task["id"] in [child["id"] for child in parent["children"]]
    # Spark's symlinks are other names of the file, not datasets of their own.
    found = api.get("/datasets", params={"namespace": "file", "name": "/tmp/cll_test/tbl1"}).json()["items"][0]  # noqa: S108
    detail = api.get(f"/datasets/{found['id']}").json()
    assert [alias["name"] for alias in detail["aliases"]] == ["default.tbl1"]
    alias = detail["aliases"][0]
    assert api.get("/datasets", params=alias).json()["items"][0]["id"] == found["id"]
    quality = api.get("/datasets", params={"q": "delivery_7_days"}).json()["items"][0]["quality"]
    assert quality["passed"] + quality["failed"] > 0


def test_every_facet_of_the_specification_is_kept(api: TestClient, openlineage_data: Path, event: Make) -> None:
    facets: dict[str, dict[str, Any]] = {"run": {}, "job": {}, "dataset": {}}
    count = 0
    for file in sorted((openlineage_data / "spec" / "tests").glob("*/*.json")):
        kind = "run" if "RunFacet" in file.parent.name else "job" if "JobFacet" in file.parent.name else "dataset"
        content = json.loads(file.read_text())
        if not all(isinstance(value, dict) for value in content.values()):
            continue
        facets[kind] |= content
        count += 1
        sent = event(
            run=f"spec-{count}",
            run_facets=content if kind == "run" else {},
            job_facets=content if kind == "job" else {},
            outputs=[{"namespace": "db", "name": "t", "facets": content if kind == "dataset" else {}}],
        )
        send(api, sent)
    assert count >= 40
    stored = api.get("/datasets?namespace=db&name=t").json()["items"][0]
    assert set(api.get(f"/datasets/{stored['id']}").json()["facets"]) == set(facets["dataset"])
    assert stored["owner"] == "owner"


def test_a_failed_run_keeps_the_edges_of_the_last_good_one(api: TestClient, event: Make) -> None:
    send(api, event(at=1, inputs=["a"], outputs=["b"]))
    before = graph(api)["edges"]
    send(api, event("FAIL", run="r2", at=5, inputs=["a"]), event("COMPLETE", run="r3", at=6))
    assert graph(api)["edges"] == before
    send(api, event(run="r4", at=7, inputs=["a2"], outputs=["b"]))
    assert (("dataset", "db", "a2"), ("job", "tests", "j")) in graph(api)["edges"]
    assert (("dataset", "db", "a"), ("job", "tests", "j")) not in graph(api)["edges"]


def test_design_events_draw_edges_before_any_run(api: TestClient) -> None:
    base = {"eventTime": "2026-01-01T00:00:00Z", "producer": "p", "schemaURL": "s"}
    dashboard = {"namespace": "superset://h:8088", "name": "dashboard/sales"}
    job = {"namespace": "superset", "name": "sales"}
    send(
        api,
        base
        | {"job": job, "inputs": [{"namespace": "postgres://h:5432", "name": "w.curated.t"}], "outputs": [dashboard]},
    )
    described = {"documentation": {"description": "Revenue", "_producer": "p", "_schemaURL": "s"}}
    send(api, base | {"dataset": dashboard | {"facets": described}})
    found = api.get("/datasets?layer=dashboard").json()["items"][0]
    assert (found["type"], found["description"]) == ("dashboard", "Revenue")
    lineage = api.get(f"/datasets/{found['id']}/lineage?direction=upstream").json()
    assert {(n["type"], n["name"], n["layer"]) for n in lineage["nodes"]} == {
        ("dataset", "dashboard/sales", "dashboard"),
        ("job", "sales", None),
        ("dataset", "w.curated.t", "curated"),
    }
    send(api, base | {"eventTime": "2026-01-02T00:00:00Z", "job": job, "inputs": [{"namespace": "n", "name": "other"}]})
    send(api, base | {"eventTime": "2026-01-01T12:00:00Z", "job": job, "inputs": [{"namespace": "n", "name": "late"}]})
    assert [e[0][2] for e in graph(api)["edges"]] == ["other"]


def test_column_lineage_of_a_dataset_event_needs_no_job(api: TestClient) -> None:
    lineage = {"fields": {"x": {"inputFields": [{"namespace": "db", "name": "src", "field": "y"}]}}}
    dataset = {"namespace": "db", "name": "dst", "facets": {"columnLineage": lineage}}
    send(api, {"eventTime": "2026-01-01T00:00:00Z", "producer": "p", "dataset": dataset})
    assert graph(api)["edges"] == [(("dataset", "db", "src"), ("dataset", "db", "dst"))]


def test_facets_of_one_run_stay_with_it(api: TestClient, event: Make) -> None:
    files = {"files": ["a.csv"], "_producer": "p", "_schemaURL": "s"}
    raw = {
        "namespace": "s3://raw",
        "name": "sales",
        "inputFacets": {"ingestFiles": files},
        "facets": {"custom": {"k": 1}},
    }
    send(api, event(inputs=[raw], outputs=["t"]))
    assert api.get("/runs/r1").json()["inputs"][0]["facets"] == {"custom": {"k": 1}, "ingestFiles": files}
    dataset = api.get("/datasets?layer=raw").json()["items"][0]
    assert api.get(f"/datasets/{dataset['id']}").json()["facets"] == {"custom": {"k": 1}}


def test_deleted_facets_disappear(api: TestClient, event: Make) -> None:
    def described(**facet: Any) -> list[dict[str, Any]]:
        return [{"namespace": "db", "name": "t", "facets": {"documentation": facet}}]

    send(api, event(at=2, outputs=described(_deleted=True)), event(at=1, outputs=described(description="old")))
    dataset = api.get("/datasets?namespace=db&name=t").json()["items"][0]
    assert dataset["description"] is None
    assert api.get(f"/datasets/{dataset['id']}").json()["facets"] == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventTime": 5}, "eventTime"),
        ({"eventType": "DONE"}, "eventType"),
        ({"producer": None}, "producer"),
        ({"run": {}}, "run.runId"),
        ({"run": {"runId": " "}}, "run.runId"),
        ({"job": {"namespace": "n"}}, "job.name"),
        ({"job": {"namespace": "n", "name": "x" * 1001}}, "job.name"),
        ({"inputs": [{"namespace": "n"}]}, "inputs.0.name"),
        ({"outputs": "t"}, "outputs"),
        ({"job": {"namespace": "n", "name": "j", "facets": {"sql": "select"}}}, "job.facets.sql"),
    ],
)
def test_a_malformed_event_names_its_field(api: TestClient, event: Make, change: dict[str, Any], field: str) -> None:
    answer = api.post("/api/v1/lineage", json=event() | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert field in [error["field"] for error in problem["errors"]]
    assert field in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 422), (b"[]", 422), (b"{}", 422), (b"\xff", 400), (b'{"run": NaN}', 422), (b"[" * 100_000, 400)],
)
def test_what_is_no_event_is_refused(api: TestClient, body: bytes, status: int) -> None:
    answer = api.post("/api/v1/lineage", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_strange_text_is_taken(api: TestClient, event: Make) -> None:
    body = json.dumps(event(job_facets={"sql": {"query": "a\x00b \ud800"}}))
    assert api.post("/api/v1/lineage", content=body).status_code == 201


def test_gzip_is_unpacked_within_bounds(api: TestClient, event: Make) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(json.dumps(event()).encode())
    assert api.post("/api/v1/lineage", content=packed, headers=headers).status_code == 201
    bomb = gzip.compress(b" " * 200_000_000)
    assert api.post("/api/v1/lineage", content=bomb, headers=headers).status_code == 413
    assert api.post("/api/v1/lineage", content=b"{}", headers=headers).status_code == 400


def test_a_batch_answers_for_each_event(api: TestClient, event: Make) -> None:
    answer = api.post("/api/v1/lineage/batch", json=[event(), {"job": {}}, event()])
    assert answer.status_code == 200
    got = answer.json()
    assert got["status"] == "partial_success"
    assert got["summary"] == {"received": 3, "successful": 2, "failed": 1, "retriable": 0, "non_retriable": 1}
    assert [item["status"] for item in got["results"]] == ["stored", "rejected", "duplicate"]
    assert got["failed_events"][0]["index"] == 1
    assert "job.namespace" in got["failed_events"][0]["reason"]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic dGVzdA==", "Bearer tést"])
def test_writes_need_the_key(reader: TestClient, event: Make, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    for method, path in [
        ("POST", "/api/v1/lineage"),
        ("POST", "/datasets"),
        ("POST", "/runs"),
        ("PATCH", "/runs/x"),
        ("POST", "/runs/x/dq_results"),
        ("POST", "/openlineage/events"),
        ("POST", "/api/v1/lineage/batch"),
    ]:
        answer = reader.request(method, path, json=event(), headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
        assert answer.headers["www-authenticate"] == "Bearer"
