"""Keys: roles, namespaces, expiry, revocation, and the trail of writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from metadata_service.services import access


@pytest.fixture
def key(api: TestClient) -> Callable[..., dict[str, str]]:
    """A maker of keys; returns the header to send."""

    def make(name: str = "team-a", **more: Any) -> dict[str, str]:
        answer = api.post("/keys", json={"name": name, **more})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['key']}"}

    return make


@pytest.fixture
def bound(key: Any) -> dict[str, str]:
    """A writer's key for the namespaces team-a and pg://a*."""
    return key("team-a", namespaces=["team-a", "pg://a*"])


def of_team(event: Any, namespace: str = "team-a", *, run: str = "r1", **more: Any) -> dict[str, Any]:
    return event(run=run, **more) | {"job": {"namespace": namespace, "name": "j", "facets": {}}}


def test_a_key_is_shown_once_and_stored_as_a_digest(api: TestClient, empty_database: str):
    made = api.post("/keys", json={"name": "team-a", "role": "writer", "namespaces": ["team-a"]}).json()
    assert made["key"].startswith("dpk_")
    assert len(made["key"]) > 40
    assert made["created_by"] == "API_KEY"
    [listed] = api.get("/keys").json()["items"]
    assert "key" not in listed
    assert listed["hint"] == made["key"][:8]
    with psycopg.connect(empty_database) as connection:
        stored = connection.execute("SELECT api_key::text FROM api_key").fetchone()
    assert made["key"] not in str(stored)


def test_roles(api: TestClient, key: Any, event: Any):
    reader, writer, admin = key("r", role="reader"), key("w"), key("a", role="admin")
    body = {"namespace": "n", "name": "d"}
    assert api.post("/datasets", json=body, headers=reader).status_code == 403
    assert api.post("/api/v1/lineage", json=event(), headers=reader).status_code == 403
    assert api.post("/datasets", json=body, headers=writer).status_code == 201
    assert api.post("/api/v1/lineage", json=event(), headers=writer).status_code == 201
    assert api.post("/keys", json={"name": "x"}, headers=writer).status_code == 403
    assert api.get("/keys", headers=writer).status_code == 403
    assert api.post("/keys", json={"name": "x"}, headers=admin).status_code == 201


def test_refusals_say_why(api: TestClient, key: Any):
    for header, detail in (
        ({"Authorization": "Bearer nonsense"}, "wrong"),
        ({"Authorization": ""}, "needs the header"),
    ):
        answer = api.post("/datasets", json={"name": "d"}, headers=header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert detail in answer.json()["detail"]
    key("team-a")
    assert api.post("/keys", json={"name": "team-a"}).status_code == 409
    assert api.post("/keys", json={"name": "API_KEY"}).status_code == 409
    assert api.post("/keys", json={"name": "b", "role": "admin", "namespaces": ["n"]}).status_code == 422
    assert api.post("/keys", json={"name": "b", "expires_at": "2020-01-01T00:00:00Z"}).status_code == 422
    assert api.post("/keys", json={"name": "no spaces"}).status_code == 422
    assert api.delete("/keys/nobody").status_code == 404


def test_a_revoked_or_expired_key_is_refused(api: TestClient, key: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access, "REMEMBERED_SECONDS", 0.0)
    first = key("team-a")
    assert api.post("/datasets", json={"name": "d"}, headers=first).status_code == 201
    assert api.delete("/keys/team-a").status_code == 204
    assert api.post("/datasets", json={"name": "d"}, headers=first).status_code == 401
    second = key("team-a")  # its name is free again
    assert api.post("/datasets", json={"name": "d"}, headers=second).status_code == 200
    short = key("short", expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    time.sleep(1.1)
    assert api.post("/datasets", json={"name": "d"}, headers=short).status_code == 401
    items = api.get("/keys").json()["items"]
    assert [(item["name"], item["revoked_at"] is None) for item in items] == [
        ("short", True), ("team-a", True), ("team-a", False),
    ]  # fmt: skip
    assert items[1]["last_used_at"] is not None


def test_a_bound_key_writes_in_its_namespaces_only(api: TestClient, bound: dict[str, str], event: Any):
    def sent(body: Any) -> int:
        return api.post("/api/v1/lineage", json=body, headers=bound).status_code

    mine, others = {"namespace": "pg://a1", "name": "t"}, {"namespace": "pg://b", "name": "t"}
    assert sent(of_team(event, inputs=[others], outputs=[mine])) == 201
    assert sent(of_team(event, "team-b")) == 403
    assert sent(of_team(event, run="r2", outputs=[others])) == 403
    alias = {"symlinks": {"identifiers": [{**others, "type": "TABLE"}]}}
    assert sent(of_team(event, run="r2", outputs=[mine | {"facets": alias}])) == 403
    dataset = {"eventTime": "2026-01-01T00:00:00Z", "producer": "p"}
    assert sent(dataset | {"dataset": others}) == 403
    assert sent(dataset | {"dataset": mine}) == 201
    for path, method, body in (
        ("/datasets", "POST", others),
        ("/datasets", "POST", mine | {"uri": "postgres://b:1/x/y/z"}),
        ("/runs", "POST", {"job": {"namespace": "team-b", "name": "j"}}),
        ("/runs/r9/dq_results", "POST", [{"check": "c", "status": "passed", "dataset": others}]),
        ("/register_product", "POST", {"name": "p", "domain": "d"}),
    ):
        answer = api.request(method, path, json=body, headers=bound)
        assert answer.status_code == 403, (path, answer.text)
    assert api.post("/datasets", json=mine, headers=bound).status_code == 200
    assert api.post("/runs", json={"job": {"namespace": "team-a", "name": "j"}}, headers=bound).status_code == 201


def test_a_bound_key_cannot_touch_what_others_have(api: TestClient, bound: dict[str, str], event: Any):
    api.post("/api/v1/lineage", json=of_team(event, "team-b", run="theirs"))
    theirs = api.post("/datasets", json={"namespace": "pg://b", "name": "t", "description": "ours"}).json()
    assert api.post("/api/v1/lineage", json=of_team(event, run="theirs"), headers=bound).status_code == 403
    assert api.patch("/runs/theirs", json={"state": "FAILED"}, headers=bound).status_code == 404
    assert api.post("/runs/theirs/dq_results", json=[], headers=bound).status_code == 403
    assert api.put(f"/datasets/{theirs['id']}", json={"name": "t"}, headers=bound).status_code == 404
    assert api.delete(f"/datasets/{theirs['id']}", headers=bound).status_code == 404
    # Nor a run that belongs to no job, but checked what is others'.
    results = [{"check": "c", "status": "passed", "dataset": {"namespace": "pg://b", "name": "t"}}, {"check": "d"}]
    for name, result in zip(("with-dataset", "with-none"), results, strict=True):
        body = [result | {"status": "passed"}]
        assert api.post(f"/runs/{name}/dq_results", json=body).status_code == 201
        mine = {"job": {"namespace": "team-a", "name": "j"}, "results": []}
        assert api.post(f"/runs/{name}/dq_results", json=mine, headers=bound).status_code == 403
        assert api.post("/runs", json={"run_id": name, "job": mine["job"]}, headers=bound).status_code == 403
        assert api.patch(f"/runs/{name}", json={"state": "FAILED"}, headers=bound).status_code == 404
    # What its events say of a dataset elsewhere that they read is left out; that they read it is kept.
    said = {"documentation": {"description": "theirs is bad"}}
    read = of_team(event, run="mine", inputs=[{"namespace": "pg://b", "name": "t", "facets": said}])
    assert api.post("/api/v1/lineage", json=read, headers=bound).status_code == 201
    shown = api.get(f"/datasets/{theirs['id']}").json()
    assert (shown["description"], shown["facets"]) == ("ours", {})
    [run] = api.get(f"/datasets/{theirs['id']}/runs").json()["items"]
    assert run["id"] == "mine"


def test_a_bound_key_cannot_do_it_by_marquez_api_either(api: TestClient, bound: dict[str, str], event: Any):
    theirs = "0194200e-9a00-7000-8000-000000000001"
    alias = {"symlinks": {"identifiers": [{"namespace": "team-a", "name": "alias", "type": "TABLE"}]}}
    told = of_team(
        event, "team-b", run=theirs, kind="START", outputs=[{"namespace": "pg://b", "name": "t", "facets": alias}]
    )
    api.post("/api/v1/lineage", json=told)
    mine = "/api/v1/namespaces/team-a"
    dataset = {"type": "DB_TABLE", "physicalName": "x", "sourceName": "s"}
    job = {"type": "BATCH", "inputs": [], "outputs": []}
    assert api.put(f"{mine}/datasets/x", json=dataset, headers=bound).status_code == 200
    assert api.put(f"{mine}/jobs/j2", json=job, headers=bound).status_code == 200
    for method, path, body, status in (
        ("PUT", f"{mine}/datasets/x", dataset | {"runId": theirs}, 403),
        ("PUT", f"{mine}/jobs/j2", job | {"runId": theirs}, 403),
        ("POST", f"{mine}/jobs/j2/runs", {"id": theirs}, 403),
        ("POST", f"/api/v1/jobs/runs/{theirs}/fail", None, 404),
        ("POST", f"{mine}/datasets/alias/tags/bad", None, 404),
        ("DELETE", f"{mine}/datasets/alias/tags/bad", None, 404),
        ("DELETE", f"{mine}/datasets/alias", None, 404),
        ("POST", "/datasets", {"namespace": "team-a", "name": "alias", "description": "mine"}, 403),
    ):
        answer = api.request(method, path, json=body, headers=bound)
        assert answer.status_code == status, (method, path, answer.text)
        assert "pg://b" not in answer.text
    assert api.get(f"/runs/{theirs}").json()["job"]["namespace"] == "team-b"


def test_in_a_batch_each_event_is_judged_for_itself(api: TestClient, bound: dict[str, str], event: Any):
    api.post("/api/v1/lineage", json=of_team(event, "team-b", run="theirs"))
    batch = [of_team(event, run="r1"), of_team(event, "team-b", run="r2"), of_team(event, run="r3")]
    batch.append(of_team(event, run="theirs"))
    answer = api.post("/api/v1/lineage/batch", json=batch, headers=bound).json()
    assert [item["status"] for item in answer["results"]] == ["stored", "rejected", "stored", "rejected"]
    assert "Run theirs" in answer["failed_events"][1]["reason"]
    assert "team-b" in answer["failed_events"][0]["reason"]


def test_every_write_leaves_a_trail(api: TestClient, key: Any, event: Any, empty_database: str):
    header = key("team-a")
    secret = {"name": "d", "namespace": "n", "uri": "postgres://me:hunter2@db:5432/a/b/c"}
    made = api.post("/datasets", json=secret, headers=header | {"X-Request-ID": "abc"}).json()
    assert api.post("/datasets", json={"name": ""}, headers=header).status_code == 422  # nothing was written
    api.delete(f"/datasets/{made['id']}", headers=header)
    api.post("/api/v1/lineage", json=event(), headers=header)
    entries = api.get("/audit", params={"key": "team-a"}).json()["items"]
    assert [(e["method"], e["path"], e["key_name"]) for e in entries] == [
        ("DELETE", f"/datasets/{made['id']}", "team-a"), ("POST", "/datasets", "team-a"),
    ]  # fmt: skip
    assert entries[1]["request_id"] == "abc"
    assert "hunter2" not in str(entries)
    assert [e["path"] for e in api.get("/audit", params={"path": "/keys"}).json()["items"]] == ["/keys"]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT key_name FROM event").fetchall() == [("team-a",)]


def test_reading_can_need_a_key_too(serve: Callable[..., TestClient]):
    client = serve(public_reads=False)
    assert client.get("/health").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert client.get("/datasets").status_code == 401
    page = client.get("/", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert client.get("/", auth=("anybody", "test-key")).status_code == 200
    client.headers["Authorization"] = "Bearer test-key"
    reader = client.post("/keys", json={"name": "r", "role": "reader"}).json()["key"]
    assert client.get("/datasets", headers={"Authorization": f"Bearer {reader}"}).status_code == 200


def test_a_wrong_key_is_refused_where_none_is_needed(reader: TestClient):
    for header in ("Bearer nonsense", "Bearer", "Bearer ", "Basic !", "Basic bmFtZTpub25zZW5zZQ==", "Token test-key"):
        for path in ("/datasets", "/api/v1/namespaces", "/search?q=x", "/nothing"):
            answer = reader.get(path, headers={"Authorization": header})
            expected = (404, None) if path == "/nothing" else (401, "Bearer")
            assert (answer.status_code, answer.headers.get("www-authenticate")) == expected, (header, path)
            assert answer.headers["content-type"] == "application/problem+json"
        assert reader.get("/health", headers={"Authorization": header}).status_code == 200
    for path in ("/", "/ui/runs", "/docs"):  # a browser asks again for the key
        page = reader.get(path, auth=("anybody", "revoked"), headers={"accept": "text/html"})
        assert (page.status_code, page.headers["www-authenticate"].split()[0]) == (401, "Basic"), path
        assert 'href="/sign-in"' in page.text
    assert reader.get("/datasets", headers={"Authorization": ""}).status_code == 200


def test_a_body_that_is_too_large_is_refused(serve: Callable[..., TestClient]):
    client = serve(max_body_bytes=2048)
    client.headers["Authorization"] = "Bearer test-key"
    for path in ("/datasets", "/api/v1/lineage"):
        answer = client.post(path, json={"name": "d", "description": "x" * 3000})
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json"), path
    assert client.post("/datasets", json={"name": "d", "description": "x" * 1000}).status_code == 201
