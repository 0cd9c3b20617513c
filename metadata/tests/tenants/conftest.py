"""Two teams that share a service, and read from each other.

Team zebra's names begin with `zebra`, and what is said of its things with `quagga`: neither is ever in an answer to
team apple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

PRODUCER = "https://example.org/tests"
RUNS = {"apple": "0194200e-9a00-7000-8000-00000000000a", "zebra": "0194200e-9a00-7000-8000-00000000000b"}


def event(namespace: str, run: str, job: str = "job", **more: Any) -> dict[str, Any]:
    told = {"eventType": "COMPLETE", "eventTime": "2026-01-01T00:10:00Z", "producer": PRODUCER, "run": {"runId": run}}
    return told | {"job": {"namespace": namespace, "name": job}} | more


def table(team: str, name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": f"pg://{team}", "name": name, "facets": facets}


def column_lineage(source: dict[str, Any], column: str, target: str) -> dict[str, Any]:
    origin = {"namespace": source["namespace"], "name": source["name"], "field": column}
    return {"fields": {target: {"inputFields": [origin]}}}


def fill(api: TestClient) -> None:
    """Give both teams the same things, each with words of its own, that read from each other and were sent by nobody's
    key: the events of a team's job say much of what the other has.
    """
    words = {"apple": "pippin", "zebra": "quagga"}
    for team, other in (("apple", "zebra"), ("zebra", "apple")):
        said = words[team]
        own = table(
            team,
            f"{team}.orders",
            schema={"fields": [{"name": f"{said}_id", "type": "text"}, {"name": "n", "type": "int"}]},
            documentation={"description": f"{said} orders"},
            dataSource={"name": f"{team}_source", "uri": f"postgres://{team}-db"},
            ownership={"owners": [{"name": f"{said} people"}]},
            tags={"tags": [{"key": f"{said}_tag", "value": "true"}]},
        )
        read = table(other, f"{other}.orders")
        read["facets"] = {"schema": {"fields": [{"name": f"{words[other]}_id", "type": "text"}]}}
        raw = table(team, f"{team}.raw", schema={"fields": [{"name": "n", "type": "int"}]})
        own["outputFacets"] = {"outputStatistics": {"rowCount": 1}}
        columns = column_lineage(read, f"{words[other]}_id", f"{said}_id")
        columns["fields"] |= column_lineage(raw, "n", "n")["fields"]
        own["facets"]["columnLineage"] = columns
        parent = {"run": {"runId": RUNS[other]}, "job": {"namespace": other, "name": f"{other}_job"}}
        told = event(team, RUNS[team], f"{team}_job", inputs=[read, raw], outputs=[own])
        told["run"]["facets"] = {"parent": parent, "errorMessage": {"message": f"{said} broke"}}
        told["job"]["facets"] = {"sql": {"query": f"SELECT {said}"}, "documentation": {"description": f"{said} job"}}
        assert api.post("/api/v1/lineage", json=told).status_code == 201
        said_of = {"eventTime": "2026-01-01T00:00:00Z", "producer": PRODUCER}
        assert api.post("/api/v1/lineage", json=said_of | {"dataset": own}).status_code == 201
        design = {"job": {"namespace": team, "name": f"{team}_design"}, "inputs": [read, raw], "outputs": [own]}
        assert api.post("/api/v1/lineage", json=said_of | design).status_code == 201
        name = {"namespace": f"pg://{team}", "name": f"{team}.orders"}
        address = {"uri": f"postgres://{team}-db/{team}/{said}/orders", "domain": f"{said}_domain", "owner": said}
        assert api.post("/datasets", json=name | address).status_code == 200
        failed = {"check": f"{said}_check", "dataset": name, "status": "failed", "message": said, "sql": said}
        other_check = {"check": "rows", "dataset": {"namespace": f"pg://{other}", "name": f"{other}.orders"}}
        results = [failed, other_check | {"status": "passed", "message": "from elsewhere"}]
        assert api.post(f"/runs/{RUNS[team]}/dq_results", json=results).status_code == 201
        product = {"name": f"{team}_product", "domain": said, "owner": said, "description": said, "datasets": [name]}
        assert api.post("/register_product", json=product).status_code == 201
        assert api.put(f"/api/v1/namespaces/{team}", json={"ownerName": said, "description": said}).status_code == 200
        source = {"type": "POSTGRESQL", "connectionUrl": f"postgres://{said}-db", "description": said}
        assert api.put(f"/api/v1/sources/{team}_source", json=source).status_code == 200
        assert api.put(f"/api/v1/tags/{said}_tag", json={"description": said}).status_code == 200
        assert api.post("/grants", json={"namespace": team, "grantee": "third"}).status_code == 201
    both = [{"namespace": f"pg://{team}", "name": f"{team}.orders"} for team in words]
    mixed = {"name": "quagga_mixed", "domain": "zebra", "owner": "o", "datasets": both}
    assert api.post("/register_product", json=mixed).status_code == 201
    entry = {"source": "zebra_product", "target": "apple_product", "transformation": "quagga"}
    assert api.post("/register_lineage", json=entry).status_code == 201


@pytest.fixture
def filled(serve: Callable[..., TestClient]) -> TestClient:
    """A service that both teams use; the client has an admin's key."""
    api = serve()
    api.headers["Authorization"] = "Bearer test-key"
    fill(api)
    return api


@pytest.fixture
def bound(filled: TestClient) -> Callable[..., dict[str, str]]:
    """A maker of keys bound to namespaces; returns the header to send."""

    def make(*namespaces: str, role: str = "writer") -> dict[str, str]:
        made = filled.post("/keys", json={"name": f"k{uuid4().hex}", "role": role, "namespaces": list(namespaces)})
        return {"Authorization": f"Bearer {made.json()['key']}"}

    return make


@pytest.fixture
def apple(bound: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The header of team apple."""
    return bound("apple", "pg://apple")


@pytest.fixture
def zebra(bound: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The header of team zebra."""
    return bound("zebra", "pg://zebra")


@pytest.fixture
def runs() -> dict[str, str]:
    """The run of each team."""
    return RUNS


@pytest.fixture
def fill_service() -> Callable[[TestClient], None]:
    """A function that gives both teams their things."""
    return fill


def parameters_of(api: TestClient, team: str, key: dict[str, str] | None = None) -> dict[str, str]:
    """Return what stands for each path parameter: something of the team's. `key` is who sees the job's version."""
    named = {"namespace": f"pg://{team}", "name": f"{team}.orders"}
    [dataset] = api.get("/datasets", params=named).json()["items"]
    [job] = api.get("/jobs", params={"q": f"{team}_job"}).json()["items"]
    shown = api.get(f"/api/v1/namespaces/{team}/jobs/{team}_job/versions", headers=key).json()["versions"][0]
    grant = next(item for item in api.get("/grants").json()["items"] if item["namespace"] == team)
    return {
        "dataset_id": dataset["id"], "job_id": job["id"], "run_id": RUNS[team], "id": RUNS[team], "column": "n",
        "namespace": team, "db": named["namespace"], "dataset": named["name"], "job": f"{team}_job", "field": "n",
        "tag": "zebra_tag" if team == "zebra" else "pippin_tag", "source": f"{team}_source", "kind": "jobs",
        "name": f"{team}_product", "version": RUNS[team], "job_version": shown["version"],
        "grant_id": grant["id"], "transition": "fail",
    }  # fmt: skip


@pytest.fixture
def parameters(filled: TestClient) -> Callable[..., dict[str, str]]:
    """A function that returns what stands for each path parameter: something of a team's."""
    return lambda team, key=None: parameters_of(filled, team, key)
