"""What a team's key sees: every endpoint and page is asked, one after the other, for another team's things.

Team zebra's names begin with `zebra`, and what is said of its things with `quagga`: neither is ever in an answer to
team apple. An endpoint that is new has to be added to the tables below, or the first test fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from metadata_service.migrations.versions.v0012_tenants import POLICIES
from metadata_service.repositories import tenancy

pytestmark = pytest.mark.integration
PRODUCER = "https://example.org/tests"
OURS, THEIRS = ("apple", "pg://apple"), ("zebra", "pg://zebra")
RUNS = {"apple": "0194200e-9a00-7000-8000-00000000000a", "zebra": "0194200e-9a00-7000-8000-00000000000b"}
SECRETS = ("zebra", "quagga")
NOBODY = "nobody"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What there is to read. Lists have no path parameters that name something; their answers are searched. Things are asked
# for with their own team's parameters and with the other's, which is answered like what does not exist.
LISTS = {
    "/datasets": "", "/graph": "", "/runs": "", "/jobs": "", "/products": "", "/lineage": "",
    "/search": "?q=orders", "/discover": "?q=orders", "/grants": "",
    "/analytics/domains": "", "/analytics/lineage-stats": "", "/analytics/quality": "",
    "/api/v1/events/lineage": "", "/api/v1/events": "", "/api/v1/search": "?q=orders",
    "/api/v1/stats/lineage-events": "?period=DAY", "/api/v1/namespaces": "", "/api/v1/sources": "", "/api/v1/tags": "",
    "/api/v1/jobs": "",
    "/": "", "/ui/search": "?q=orders", "/ui/quality": "", "/ui/runs": "", "/ui/products": "",
}  # fmt: skip
THINGS = {
    "/datasets/{dataset_id}": "", "/datasets/{dataset_id}/versions": "", "/datasets/{dataset_id}/quality": "",
    "/datasets/{dataset_id}/runs": "", "/datasets/{dataset_id}/lineage": "",
    "/datasets/{dataset_id}/lineage/changes": "?from=2025-01-01T00:00:00Z&to=2027-01-01T00:00:00Z",
    "/datasets/{dataset_id}/columns/{column:path}/lineage": "", "/datasets/{dataset_id}/impact": "",
    "/jobs/{job_id}": "", "/jobs/{job_id}/lineage": "",
    "/jobs/{job_id}/lineage/changes": "?from=2025-01-01T00:00:00Z&to=2027-01-01T00:00:00Z",
    "/runs/{run_id}": "", "/runs/{run_id}/lineage": "", "/runs/{run_id}/dq_results": "",
    "/product/{name}": "", "/product/{name}/versions": "", "/lineage/upstream/{name}": "",
    "/lineage/downstream/{name}": "",
    "/api/v1/lineage": "?nodeId=dataset:{db}:{dataset}", "/api/v1/column-lineage": "?nodeId=dataset:{db}:{dataset}",
    "/api/v1/namespaces/{namespace:name}": "", "/api/v1/sources/{source:name}": "",
    "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}": "",
    "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/versions": "",
    "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/versions/{version:name}": "",
    "/api/v1/jobs/runs/{id:name}": "", "/api/v1/jobs/runs/{id:name}/facets": "?type=run",
    "/api/v1/namespaces/{namespace:name}/jobs/{job:name}": "",
    "/api/v1/namespaces/{namespace:name}/jobs/{job:name}/versions": "",
    "/api/v1/namespaces/{namespace:name}/jobs/{job:name}/versions/{version:name}": "",
    "/api/v1/namespaces/{namespace:name}/jobs/{job:name}/runs": "",
    "/ui/datasets/{dataset_id}": "", "/ui/runs/{run_id}": "", "/ui/jobs/{job_id}": "", "/ui/products/{name}": "",
}  # fmt: skip
# Lists of a namespace, or of something else that is named: of what is not seen, they are empty.
EMPTY = {
    "/api/v1/events/{namespace:name}": "", "/api/v1/namespaces/{namespace:name}/datasets": "",
    "/api/v1/namespaces/{namespace:name}/jobs": "",
}  # fmt: skip
FOR_ADMINS = {"/keys", "/audit", "/export"}
# These tell nothing of what teams have, or (stats) numbers only, which `test_numbers_are_the_teams_own` compares. Rows
# of the warehouse are in test_domain_data.py.
WITHOUT_NAMES = {
    "/openapi.json", "/health", "/health/projection", "/metrics", "/api/v1/health", "/docs", "/redoc", "/ui/lineage",
    "/sign-in", "/api/v1/stats/{kind}", "/sales/orders", "/marketing/campaigns", "/product/{name}/data",
}  # fmt: skip

# What there is to write: a body that names the other team's things, and the answers there may be.
DATASET = {"type": "DB_TABLE", "physicalName": "x", "sourceName": "zebra_source"}
JOB = {"type": "BATCH", "inputs": [], "outputs": []}
HIDDEN, REFUSED = {404}, {403}
HIDDEN_TABLES = {
    "alembic_version", "api_key", "audit_entry", "event_failure", "event_queue", "namespace_grant", "search_new_word",
    "search_word",
}  # fmt: skip


def event(namespace: str, run: str, job: str = "job", **more: Any) -> dict[str, Any]:
    told = {"eventType": "COMPLETE", "eventTime": "2026-01-01T00:10:00Z", "producer": PRODUCER, "run": {"runId": run}}
    return told | {"job": {"namespace": namespace, "name": job}} | more


WRITES: dict[tuple[str, str], tuple[Any, set[int]]] = {
    ("POST", "/keys"): ({"name": "x"}, REFUSED),
    ("DELETE", "/keys/{name}"): (None, REFUSED),
    ("POST", "/import"): (None, REFUSED),
    ("POST", "/retention"): ({"older_than_days": 1}, REFUSED),
    ("POST", "/grants"): ({"namespace": "zebra", "grantee": "apple"}, REFUSED),
    ("DELETE", "/grants/{grant_id}"): (None, HIDDEN),
    ("POST", "/openlineage/events"): (event("apple", RUNS["zebra"]), REFUSED),
    ("POST", "/api/v1/lineage"): (event("apple", RUNS["zebra"]), REFUSED),
    ("POST", "/api/v1/lineage/batch"): ([event("apple", RUNS["zebra"])], {200}),
    ("POST", "/api/v1/lineage/ingest"): ({"namespace": "apple", "events": [event("apple", RUNS["zebra"])]}, {422}),
    ("POST", "/api/v1/telemetry/ingest"): ({"namespace": "zebra", "spans": []}, REFUSED),
    ("POST", "/api/v1/telemetry/v1/traces"): ({}, {200}),  # tests of what comes in are in test_hub.py
    ("POST", "/api/v1/telemetry/v1/metrics"): ({}, {200}),
    ("POST", "/datasets"): ({"name": "x", "uri": "postgres://zebra-db/zebra/quagga/orders"}, REFUSED),
    ("PUT", "/datasets/{dataset_id}"): ({"name": "x"}, HIDDEN),
    ("DELETE", "/datasets/{dataset_id}"): (None, HIDDEN),
    ("POST", "/runs"): ({"run_id": RUNS["zebra"], "job": {"namespace": "apple", "name": "job"}}, REFUSED),
    ("PATCH", "/runs/{run_id}"): ({"state": "FAILED"}, HIDDEN),
    ("POST", "/runs/{run_id}/dq_results"): ([], REFUSED),
    ("POST", "/register_product"): ({"name": "zebra_product", "domain": "d"}, REFUSED),
    ("PUT", "/product/{name}"): ({"domain": "d"}, REFUSED),
    ("DELETE", "/product/{name}"): (None, REFUSED),
    ("POST", "/register_lineage"): ({"source": "zebra_product", "target": "apple_product"}, REFUSED),
    ("PUT", "/api/v1/namespaces/{namespace:name}"): ({"ownerName": "x"}, REFUSED),
    ("DELETE", "/api/v1/namespaces/{namespace:name}"): (None, REFUSED),
    ("PUT", "/api/v1/sources/{source:name}"): ({"type": "x", "connectionUrl": "x"}, REFUSED),
    ("PUT", "/api/v1/tags/{tag:name}"): ({"description": "x"}, REFUSED),
    ("PUT", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}"): (DATASET, REFUSED),
    ("DELETE", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}"): (None, REFUSED),
    ("POST", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/tags/{tag:name}"): (None, REFUSED),
    ("DELETE", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/tags/{tag:name}"): (None, REFUSED),
    ("POST", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/fields/{field:name}/tags/{tag:name}"): (
        None,
        REFUSED,
    ),
    ("DELETE", "/api/v1/namespaces/{namespace:name}/datasets/{dataset:name}/fields/{field:name}/tags/{tag:name}"): (
        None,
        REFUSED,
    ),
    ("POST", "/api/v1/jobs/runs/{id:name}/{transition}"): (None, HIDDEN),
    ("PUT", "/api/v1/namespaces/{namespace:name}/jobs/{job:name}"): (JOB, REFUSED),
    ("DELETE", "/api/v1/namespaces/{namespace:name}/jobs/{job:name}"): (None, REFUSED),
    ("POST", "/api/v1/namespaces/{namespace:name}/jobs/{job:name}/runs"): ({"id": RUNS["zebra"]}, REFUSED),
}


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


def parameters(api: TestClient, team: str, key: dict[str, str] | None = None) -> dict[str, str]:
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


def unknown(known: dict[str, str]) -> dict[str, str]:
    """Return parameters like these that stand for nothing."""
    made_up = {
        value: str(uuid4()) if _UUID.fullmatch(value) else value.replace("zebra", NOBODY) for value in known.values()
    }
    return {key: made_up[value] for key, value in known.items()}


def address(path: str, query: str, given: dict[str, str]) -> str:
    """Return a route's path with its parameters filled in; datasets of Marquez' API lie in the namespace of tables."""
    values = given | ({"namespace": given["db"]} if "{dataset:name}" in path else {})
    if path.endswith("/jobs/{job:name}/versions/{version:name}"):
        values["version"] = values["job_version"]
    for key, value in values.items():
        for form in (f"{{{key}}}", f"{{{key}:name}}", f"{{{key}:path}}"):
            path, query = path.replace(form, quote(value, safe="")), query.replace(form, quote(value, safe=""))
    assert "{" not in path + query, f"say in `parameters` what stands for {path}"
    return path + query


def told(answer: Any) -> str:
    """Return all that an answer tells."""
    return (answer.text + json.dumps(dict(answer.headers))).lower()


def alike(answer: Any, other: Any, given: dict[str, str], made_up: dict[str, str]) -> bool:
    """Tell whether two answers are the same but for the parameters that were asked with."""

    def plain(text: str, values: dict[str, str]) -> str:
        for key in sorted(values, key=lambda key: -len(values[key])):
            for form in (quote(values[key], safe=""), values[key]):
                text = text.replace(form, f"<{'id' if key == 'run_id' else key}>")
        return text

    bodies = []
    for one, values in ((answer, given), (other, made_up)):
        body = json.loads(one.text) if "json" in one.headers["content-type"] else {"page": one.text}
        body.pop("request_id", None)
        bodies.append(plain(json.dumps(body), values))
    return answer.status_code == other.status_code and bodies[0] == bodies[1]


def routes(api: TestClient) -> set[tuple[str, str]]:
    """Return (method, path) of everything that the service answers."""
    found: set[tuple[str, str]] = set()
    for route in api.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
        elif route.path not in ("/static", "/openapi.json"):
            raise AssertionError(f"what does a team see at {route.path}?")
    return found | {("GET", "/openapi.json")}


def test_what_each_endpoint_shows_a_team_is_said_here(filled: TestClient):
    reads = {*LISTS, *THINGS, *EMPTY, *FOR_ADMINS, *WITHOUT_NAMES}
    assert {path for method, path in routes(filled) if method == "GET"} == reads
    assert {(method, path) for method, path in routes(filled) if method != "GET"} == set(WRITES)


def test_no_list_or_page_shows_what_is_another_teams(filled: TestClient, bound: Any):
    key, faults = bound(*OURS), []
    own = ('"apple"', "apple_", "apple.", "pippin")  # more than the heading of pages says
    silent = {"/discover", "/api/v1/stats/lineage-events"}
    for path, query in LISTS.items():
        everything, seen = filled.get(path + query), filled.get(path + query, headers=key)
        assert everything.status_code == seen.status_code == 200, (path, everything.text, seen.text)
        if any(secret in told(seen) for secret in SECRETS):
            faults.append(f"{path} shows {seen.text}")
        if path not in silent and not any(secret in told(everything) for secret in SECRETS):
            faults.append(f"{path} has nothing to hide")
        if path not in silent | {"/lineage"} and not any(word in told(seen) for word in own):
            faults.append(f"{path} hides what is the team's own: {seen.text}")
    for path in FOR_ADMINS:
        assert filled.get(path, headers=key).status_code == 403, path
    assert not faults, "\n".join(faults)


def test_what_is_another_teams_is_as_if_it_were_not_there(filled: TestClient, bound: Any):
    key, faults = bound(*OURS), []
    ours, theirs = parameters(filled, "apple", key), parameters(filled, "zebra")
    nothing = unknown(theirs)
    for path, query in (THINGS | EMPTY).items():
        own, other = address(path, query, ours), address(path, query, theirs)
        mine, hidden = filled.get(own, headers=key), filled.get(other, headers=key)
        if mine.status_code != 200 or any(secret in told(mine) for secret in SECRETS):
            faults.append(f"{own}: {mine.status_code} {mine.text}")
        if hidden.status_code != (200 if path in EMPTY else 404) or "quagga" in told(hidden):
            faults.append(f"{other}: {hidden.status_code} {hidden.text}")
        if not alike(hidden, (missing := filled.get(address(path, query, nothing), headers=key)), theirs, nothing):
            faults.append(f"{other}: {hidden.text} is not {missing.text}")
        if (shown := filled.get(other)).status_code != 200:
            faults.append(f"{other} is not there for anybody: {shown.text}")
    assert not faults, "\n".join(faults)


def test_writing_tells_nothing_of_what_is_another_teams(filled: TestClient, bound: Any):
    key, faults = bound(*OURS), []
    theirs = parameters(filled, "zebra")
    nothing = unknown(theirs)
    for (method, path), (body, statuses) in WRITES.items():
        answer = filled.request(method, address(path, "", theirs), json=body, headers=key)
        if answer.status_code not in statuses or "quagga" in told(answer).replace("zebra/quagga", ""):
            faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
        if "zebra" in told(answer).replace(address(path, "", theirs), "") and "zebra" not in path + json.dumps(
            [body, *theirs.values()]
        ):
            faults.append(f"{method} {path} tells {answer.text}")
        if statuses == HIDDEN:
            missing = filled.request(method, address(path, "", nothing), json=body, headers=key)
            if not alike(answer, missing, theirs, nothing):
                faults.append(f"{method} {path}: {answer.text} is not {missing.text}")
    assert not faults, "\n".join(faults)
    assert parameters(filled, "zebra") == theirs


def test_numbers_are_the_teams_own(filled: TestClient, bound: Any):
    key = bound(*OURS)
    counted = filled.get("/analytics/lineage-stats", headers=key).json()
    assert (counted["datasets"], counted["jobs"], counted["products"], counted["registered"]) == (2, 2, 1, 0)
    assert counted["column_edges"] > 0
    assert filled.get("/analytics/quality", headers=key).json()["datasets"] == {"failing": 1, "unknown": 1}
    for kind, number in (("jobs", 2), ("datasets", 2), ("sources", 1)):
        assert filled.get(f"/api/v1/stats/{kind}", headers=key).json()[-1]["count"] in (0, number)
        assert filled.get(f"/api/v1/stats/{kind}").json()[-1]["count"] > number
    assert filled.get("/api/v1/events/lineage", headers=key).json()["totalCount"] == 3
    assert filled.get("/graph", headers=key).json()["edges"]
    page = filled.get("/datasets", params={"limit": 1}, headers=key).json()
    assert (page["total"], len(page["items"])) == (2, 1)


def test_a_team_sees_what_is_said_of_its_own(filled: TestClient, bound: Any):
    key = bound(*OURS)
    ours = parameters(filled, "apple", key)
    quality = filled.get(f"/datasets/{ours['dataset_id']}/quality", headers=key).json()
    # A run of another team's checked it, too: the result is seen, the run is not.
    assert {(item["check"], item["run_id"]) for item in quality["checks"]} == {
        ("pippin_check", RUNS["apple"]), ("rows", None),
    }  # fmt: skip
    run = filled.get(f"/runs/{RUNS['apple']}", headers=key).json()
    assert (run["parent_run_id"], [item["dataset"]["name"] for item in run["inputs"]]) == (None, ["apple.raw"])
    assert filled.get(f"/runs/{RUNS['apple']}").json()["parent_run_id"] == RUNS["zebra"]
    [told_event] = [
        item
        for item in filled.get("/api/v1/events/apple", headers=key).json()["events"]
        if item.get("eventType") == "COMPLETE"
    ]
    assert [item["name"] for item in told_event["inputs"]] == ["apple.raw"]
    assert (sorted(told_event["run"]["facets"]), sorted(told_event["job"]["facets"])) == (
        ["errorMessage"], ["documentation", "sql"],
    )  # fmt: skip
    assert "columnLineage" not in told_event["outputs"][0]["facets"]
    columns = f"/datasets/{ours['dataset_id']}/columns/n/lineage"
    assert len(filled.get(columns, headers=key).json()["column_edges"]) == 3  # of run, design, dataset


def test_a_mistyped_word_is_not_corrected_to_another_teams(filled: TestClient, bound: Any):
    key = bound(*OURS)
    assert filled.get("/search", params={"q": "quaga"}).json()["corrected"] == {"quaga": ["quagga"]}
    assert filled.get("/search", params={"q": "pippim"}, headers=key).json()["corrected"] == {"pippim": ["pippin"]}
    assert filled.get("/search", params={"q": "quaga"}, headers=key).json()["total"] == 0
    assert filled.get("/search", params={"q": "pip orders", "type": "dataset"}, headers=key).json()["total"] == 1


def test_a_pattern_stands_for_what_begins_so(filled: TestClient, bound: Any):
    def seen(*patterns: str) -> set[str]:
        page = filled.get("/datasets", headers=bound(*patterns, role="reader")).json()
        return {item["namespace"] for item in page["items"]}

    assert seen("pg://app*") == {"pg://apple"}
    assert seen("pg://*") == {"pg://apple", "pg://zebra"}
    assert seen("*") == {"pg://apple", "pg://zebra"}
    assert seen("pg://appl", "pg://apple.*", "%", "pg:__apple", "{pg://apple}", '"', "\\") == set()


@pytest.mark.parametrize("public", [True, False])
def test_whoever_comes_without_a_bound_key(serve: Callable[..., TestClient], public: bool):
    api = serve(public_reads=public)
    admin = {"Authorization": "Bearer test-key"}
    api.post("/datasets", json={"namespace": "zebra", "name": "z"}, headers=admin)
    assert api.get("/datasets").status_code == (200 if public else 401)
    keys = {
        name: {"Authorization": f"Bearer {api.post('/keys', json=body, headers=admin).json()['key']}"}
        for name, body in (
            ("reads", {"name": "reads", "role": "reader"}),
            ("apple", {"name": "apple", "role": "reader", "namespaces": ["apple"]}),
        )
    }
    assert api.get("/datasets", headers=admin).json()["total"] == 1
    assert api.get("/datasets", headers=keys["reads"]).json()["total"] == 1
    assert api.get("/datasets", headers=keys["apple"]).json()["total"] == 0
    password = keys["apple"]["Authorization"].removeprefix("Bearer ")
    page = api.get("/", auth=("anybody", password))
    assert page.status_code == 200
    assert "apple" in page.text
    assert "zebra" not in page.text
    shown = api.get("/sign-in", headers={"accept": "text/html"})
    assert (shown.status_code, shown.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert api.get("/sign-in", auth=("anybody", password), follow_redirects=False).headers["location"] == "/"


def test_a_team_lets_another_read(filled: TestClient, bound: Any):
    apple, zebra = bound(*OURS), bound(*THEIRS)
    theirs = parameters(filled, "zebra")

    def seen() -> tuple[int, int]:
        dataset = filled.get(f"/datasets/{theirs['dataset_id']}", headers=apple)
        return dataset.status_code, filled.get("/datasets", headers=apple).json()["total"]

    assert seen() == (404, 2)
    body = {"namespace": "pg://zebra", "grantee": "apple", "permission": "read"}
    assert filled.post("/grants", json=body, headers=apple).status_code == 403
    made = filled.post("/grants", json=body, headers=zebra)
    assert made.status_code == 201
    assert filled.post("/grants", json=body, headers=zebra).status_code == 200
    assert seen() == (200, 4)
    # Only that namespace: its jobs lie in another, so lineage through them stays hidden.
    assert filled.get(f"/jobs/{theirs['job_id']}", headers=apple).status_code == 404
    assert filled.get(f"/runs/{RUNS['zebra']}", headers=apple).status_code == 404
    nodes = filled.get(f"/datasets/{theirs['dataset_id']}/lineage", headers=apple).json()["nodes"]
    names = {node["name"] for node in nodes}
    assert names == {"zebra.orders", "zebra.raw", "apple_job", "apple_design", "apple.orders", "apple.raw"}
    # To read is not to write, and what is seen may be named.
    assert filled.delete(f"/datasets/{theirs['dataset_id']}", headers=apple).status_code == 403
    [received] = [item for item in filled.get("/grants", headers=apple).json()["items"] if item["grantee"] == "apple"]
    assert (received["id"], received["created_by"]) == (made.json()["id"], None)
    assert filled.delete(f"/grants/{received['id']}", headers=apple).status_code == 404
    assert filled.delete(f"/grants/{received['id']}", headers=zebra).status_code == 204
    assert seen() == (404, 2)
    assert filled.get("/audit").json()["items"][0]["path"] == f"/grants/{received['id']}"


def test_a_team_lets_others_find_what_it_has(filled: TestClient, bound: Any):
    apple, zebra = bound(*OURS), bound(*THEIRS)
    for namespace in THEIRS:
        body = {"namespace": namespace, "grantee": "*", "permission": "discover"}
        assert filled.post("/grants", json=body, headers=zebra).status_code == 201
    found = filled.get("/discover", params={"q": "zebra"}, headers=apple).json()
    assert {(item["type"], item["name"]) for item in found["items"]} == {
        ("dataset", "zebra.orders"), ("dataset", "zebra.raw"), ("job", "zebra_job"), ("job", "zebra_design"),
    }  # fmt: skip
    assert found["total"] == 4
    [orders] = [item for item in found["items"] if item["name"] == "zebra.orders"]
    assert orders == {
        "type": "dataset", "namespace": "pg://zebra", "name": "zebra.orders", "description": "quagga orders",
        "owner": "quagga", "tags": ["quagga_tag"],
    }  # fmt: skip
    pages = [
        filled.get("/discover", params={"q": "zebra", "limit": 1, "offset": n}, headers=apple).json() for n in range(4)
    ]
    assert [page["items"][0] for page in pages] == found["items"]
    # By nothing else than what is shown; and the thing itself stays hidden.
    assert filled.get("/discover", params={"q": "quagga_id"}, headers=apple).json()["total"] == 0
    assert filled.get("/search", params={"q": "zebra"}, headers=apple).json()["total"] == 0
    theirs = parameters(filled, "zebra")
    assert filled.get(f"/datasets/{theirs['dataset_id']}", headers=apple).status_code == 404
    page = filled.get("/ui/search", params={"q": "zebra"}, headers=apple).text
    assert "Of other teams" in page
    assert "quagga orders" in page
    # Who may find may not find by being asked for more; who has it, or sees all, finds nothing here.
    assert filled.get("/discover", headers=zebra).json()["total"] == 0
    assert filled.get("/discover").json()["total"] == 0


def test_streams_of_different_keys_over_the_same_connections(serve: Callable[..., TestClient], listen: Any):
    api = serve(database_pool_size=2)
    api.headers["Authorization"] = "Bearer test-key"
    fill(api)
    keys = {
        team: f"Bearer {api.post('/keys', json={'name': team, 'namespaces': names}).json()['key']}"
        for team, names in (("apple", OURS), ("zebra", THEIRS))
    }
    with_names = [*({"apple": "zebra", "zebra": "apple"}).items(), ("all", "")]
    ids = {team: parameters(api, team)["dataset_id"] for team in keys}
    base = listen(api)

    def ask(place: int) -> str | None:
        team, hidden = with_names[place % 3]
        headers = {"Authorization": keys.get(team, "Bearer test-key")}
        other = ids.get(hidden, ids["zebra"])
        paths = ("/datasets", f"/datasets/{other}", "/search?q=orders", "/datasets?limit=x", "/graph", "/runs/none")
        path = paths[place // 3 % len(paths)]
        answer = httpx.get(base + path, headers=headers, timeout=60)
        if hidden and hidden in answer.text.replace(f"{hidden} ", ""):
            return f"{team} got {answer.text} at {path}"
        if not hidden and path == "/datasets" and answer.json()["total"] != 4:
            return f"an admin got {answer.text}"
        if path == f"/datasets/{other}" and answer.status_code != (404 if hidden else 200):
            return f"{team} got {answer.status_code} at {path}"
        return None

    with ThreadPoolExecutor(8) as pool:
        faults = [fault for fault in pool.map(ask, range(270)) if fault]
    assert not faults, faults[:3]


def test_the_role_ends_with_its_transaction(filled: TestClient):
    sessions = filled.app.state.sessions  # type: ignore[attr-defined]
    who = text("SELECT current_user, current_setting('metadata_tenant.names', true)")

    def narrowed_session() -> Any:
        session = sessions()
        tenancy.narrow(session, ["apple", "pg://a*"])
        return session

    with narrowed_session() as session:
        owner = sessions().scalar(text("SELECT current_user"))
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        assert session.execute(who).one() == (tenancy.ROLE, "{apple}")
        session.rollback()
        assert session.scalar(who) == tenancy.ROLE  # every transaction of the session is narrowed
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT 1 / 0"))
        session.rollback()
        assert session.scalar(who) == tenancy.ROLE
        session.execute(text("SET LOCAL statement_timeout = 10"))
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT pg_sleep(1)"))
    for refused in ("INSERT INTO tag VALUES ('x', NULL, now(), now())", "DELETE FROM dataset", "SELECT * FROM api_key"):
        with narrowed_session() as session, pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text(refused))
    with sessions() as session:
        session.execute(who)
        with pytest.raises(RuntimeError):
            tenancy.narrow(session, ["apple"])
    engine = filled.app.state.sessions.kw["bind"]  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == backend  # the same connection
        assert connection.execute(
            text("SELECT current_user, coalesce(current_setting('metadata_tenant.names', true), '')")
        ).one() == (owner, "")


def test_of_each_table_it_is_said_what_a_team_sees(filled: TestClient):
    with filled.app.state.sessions() as session:  # type: ignore[attr-defined]
        rows = session.execute(
            text(
                """
                SELECT c.relname, c.relrowsecurity,
                       has_any_column_privilege(:role, c.oid, 'SELECT'),
                       has_any_column_privilege(:role, c.oid, 'INSERT, UPDATE') OR has_table_privilege(:role, c.oid,
                           'DELETE, TRUNCATE'),
                       (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)
                  FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = 'public'::regnamespace
                """
            ),
            {"role": tenancy.ROLE},
        ).all()
    seen = {name for name, secured, readable, _, policies in rows if readable and secured and policies == 1}
    hidden = {name for name, _, readable, _, _ in rows if not readable}
    assert not [name for name, _, _, writable, _ in rows if writable]
    assert hidden == HIDDEN_TABLES
    assert seen == set(POLICIES)
    assert seen | hidden == {name for name, *_ in rows}, "say in a migration, or in HIDDEN_TABLES, what a team sees"
