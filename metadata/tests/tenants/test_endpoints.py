"""What a team's key sees: every endpoint and page is asked, one after the other, for another team's things.

An endpoint that is new has to be added to the tables below, or the first test fails.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
SECRETS = ("zebra", "quagga")
NOBODY = "nobody"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ZEBRAS_RUN = "0194200e-9a00-7000-8000-00000000000b"

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
    "/runs/{run_id}": "", "/runs/{run_id}/lineage": "", "/runs/{run_id}/spans": "", "/runs/{run_id}/dq_results": "",
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
TOLD = {
    "eventType": "COMPLETE", "eventTime": "2026-01-01T00:10:00Z", "producer": "https://example.org/tests",
    "run": {"runId": ZEBRAS_RUN}, "job": {"namespace": "apple", "name": "job"},
}  # fmt: skip
WRITES: dict[tuple[str, str], tuple[Any, set[int]]] = {
    ("POST", "/keys"): ({"name": "x"}, REFUSED),
    ("DELETE", "/keys/{name}"): (None, REFUSED),
    ("POST", "/import"): (None, REFUSED),
    ("POST", "/retention"): ({"older_than_days": 1}, REFUSED),
    ("POST", "/grants"): ({"namespace": "zebra", "grantee": "apple"}, REFUSED),
    ("DELETE", "/grants/{grant_id}"): (None, HIDDEN),
    ("POST", "/openlineage/events"): (TOLD, REFUSED),
    ("POST", "/api/v1/lineage"): (TOLD, REFUSED),
    ("POST", "/api/v1/lineage/batch"): ([TOLD], {200}),
    ("POST", "/api/v1/lineage/ingest"): ({"namespace": "apple", "events": [TOLD]}, {422}),
    ("POST", "/api/v1/telemetry/ingest"): ({"namespace": "zebra", "spans": []}, REFUSED),
    ("POST", "/api/v1/telemetry/v1/traces"): ({}, {200}),  # tests of what comes in are in test_hub.py
    ("POST", "/api/v1/telemetry/v1/metrics"): ({}, {200}),
    ("POST", "/datasets"): ({"name": "x", "uri": "postgres://zebra-db/zebra/quagga/orders"}, REFUSED),
    ("PUT", "/datasets/{dataset_id}"): ({"name": "x"}, HIDDEN),
    ("DELETE", "/datasets/{dataset_id}"): (None, HIDDEN),
    ("POST", "/runs"): ({"run_id": ZEBRAS_RUN, "job": {"namespace": "apple", "name": "job"}}, REFUSED),
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
    ("POST", "/api/v1/namespaces/{namespace:name}/jobs/{job:name}/runs"): ({"id": ZEBRAS_RUN}, REFUSED),
}


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


def test_no_list_or_page_shows_what_is_another_teams(filled: TestClient, apple: dict[str, str], parameters: Any):
    faults = []
    own = ('"apple"', "apple_", "apple.", "pippin")  # more than the heading of pages says
    silent = {"/discover", "/api/v1/stats/lineage-events"}
    for path, query in LISTS.items():
        everything, seen = filled.get(path + query), filled.get(path + query, headers=apple)
        assert everything.status_code == seen.status_code == 200, (path, everything.text, seen.text)
        if any(secret in told(seen) for secret in SECRETS):
            faults.append(f"{path} shows {seen.text}")
        if path not in silent and not any(secret in told(everything) for secret in SECRETS):
            faults.append(f"{path} has nothing to hide")
        if path not in silent | {"/lineage"} and not any(word in told(seen) for word in own):
            faults.append(f"{path} hides what is the team's own: {seen.text}")
    for path in FOR_ADMINS:
        assert filled.get(path, headers=apple).status_code == 403, path
    assert not faults, "\n".join(faults)


def test_what_is_another_teams_is_as_if_it_were_not_there(filled: TestClient, apple: dict[str, str], parameters: Any):
    faults = []
    ours, theirs = parameters("apple", apple), parameters("zebra")
    nothing = unknown(theirs)
    for path, query in (THINGS | EMPTY).items():
        own, other = address(path, query, ours), address(path, query, theirs)
        mine, hidden = filled.get(own, headers=apple), filled.get(other, headers=apple)
        if mine.status_code != 200 or any(secret in told(mine) for secret in SECRETS):
            faults.append(f"{own}: {mine.status_code} {mine.text}")
        if hidden.status_code != (200 if path in EMPTY else 404) or "quagga" in told(hidden):
            faults.append(f"{other}: {hidden.status_code} {hidden.text}")
        if not alike(hidden, (missing := filled.get(address(path, query, nothing), headers=apple)), theirs, nothing):
            faults.append(f"{other}: {hidden.text} is not {missing.text}")
        if (shown := filled.get(other)).status_code != 200:
            faults.append(f"{other} is not there for anybody: {shown.text}")
    assert not faults, "\n".join(faults)


def test_writing_tells_nothing_of_what_is_another_teams(filled: TestClient, apple: dict[str, str], parameters: Any):
    faults = []
    theirs = parameters("zebra")
    nothing = unknown(theirs)
    for (method, path), (body, statuses) in WRITES.items():
        answer = filled.request(method, address(path, "", theirs), json=body, headers=apple)
        if answer.status_code not in statuses or "quagga" in told(answer).replace("zebra/quagga", ""):
            faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
        if "zebra" in told(answer).replace(address(path, "", theirs), "") and "zebra" not in path + json.dumps(
            [body, *theirs.values()]
        ):
            faults.append(f"{method} {path} tells {answer.text}")
        if statuses == HIDDEN:
            missing = filled.request(method, address(path, "", nothing), json=body, headers=apple)
            if not alike(answer, missing, theirs, nothing):
                faults.append(f"{method} {path}: {answer.text} is not {missing.text}")
    assert not faults, "\n".join(faults)
    assert parameters("zebra") == theirs
