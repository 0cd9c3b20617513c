"""The web pages hold what they should, and nothing from elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from metadata_service.reference import build_reference

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
HTML = {"Accept": "text/html"}


def page(api: TestClient, path: str, status: int = 200) -> str:
    answer = api.get(path, headers=HTML)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert address.startswith(("/", "?", "#")), f"{address} is not part of the service"
        if address.startswith("/static/"):
            assert api.get(address).status_code == 200
    return answer.text.replace("<wbr>", "")


def test_an_empty_service_says_so(api: TestClient) -> None:
    assert "No datasets yet" in page(api, "/")
    assert "No runs yet" in page(api, "/ui/runs")
    assert "Nothing found" in page(api, "/ui/search?q=x")
    assert "What are you looking for?" in page(api, "/ui/search")
    assert "No check has run" in page(api, "/ui/quality")
    page(api, "/ui/lineage")


def test_pages_show_what_is_known(api: TestClient, event: Make) -> None:
    attack = "<script>alert(1)</script>"
    columns = [{"name": "email", "type": "text", "tags": ["PII"], "description": attack}]
    source = {"uri": "postgres://me:hunter2@h/db"}
    lineage = {"fields": {"email": {"inputFields": [{"namespace": "db", "name": "w.raw.src", "field": "mail"}]}}}
    target = {"namespace": "db", "name": "w.curated.t", "facets": {"dataSource": source, "columnLineage": lineage}}
    files = {"ingestFiles": {"files": ["a.csv"]}}
    origin = {"namespace": "db", "name": "w.raw.src", "inputFacets": files}
    error = {"errorMessage": {"message": "it broke"}}
    sent = event(inputs=[origin], outputs=[target], run_facets=error, job_facets={"sql": {"query": "select 42"}})
    api.post("/api/v1/lineage", json=sent)
    api.post(
        "/datasets", json={"namespace": "db", "name": "w.curated.t", "owner": "me", "tags": [attack], "schema": columns}
    )
    result = {
        "check": "rows",
        "dataset": {"namespace": "db", "name": "w.curated.t"},
        "status": "failed",
        "measured": 12345,
    }
    api.post("/runs/r1/dq_results", json=[result])

    assert "curated.t" in page(api, "/")
    dataset = api.get("/datasets?namespace=db&name=w.curated.t").json()["items"][0]["id"]
    shown = page(api, f"/ui/datasets/{dataset}")
    for text in ("email", "PII", "12,345", "failing", "src.mail", "wrote", "dataSource"):
        assert text in shown
    assert attack not in shown
    assert "hunter2" not in shown
    assert "it broke" in page(api, "/ui/runs")
    run = page(api, "/ui/runs/r1")
    assert "a.csv" in run
    assert "it broke" in run
    assert "select 42" in page(api, f"/ui/jobs/{api.get('/jobs').json()['items'][0]['id']}")


def test_what_is_not_there_is_told_as_a_page(api: TestClient) -> None:
    assert "Back to the catalog" in page(api, "/ui/runs/none", 404)
    assert api.get("/nothing").headers["content-type"] == "application/problem+json"


def test_the_reference_is_complete_and_needs_no_network(api: TestClient) -> None:
    shown = page(api, "/docs")
    assert page(api, "/redoc") == shown
    assert set(re.findall(r"https?://[^/\s\"'<&]+", shown)) <= {"http://testserver", "https://example.org"}
    document = api.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in shown, path
    for name in document["components"]["schemas"]:
        assert name.startswith("HTTPValid") or f'id="schema-{name}"' in shown
    assert "Authorization: Bearer $API_KEY" in shown
    links = set(re.findall(r'href="#([^"]+)"', shown))
    assert links <= set(re.findall(r'id="([^"]+)"', shown))


def test_the_references_examples_are_taken(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    endpoints = [item for group in build_reference(document, "").groups.values() for item in group]
    # Those of Marquez' API have names in their paths, which the examples leave open.
    posts = [item for item in endpoints if item.method == "POST" and "{" not in item.path and " -d " in item.curl]
    assert {item.path for item in posts} >= {"/datasets", "/runs", "/keys", "/api/v1/lineage", "/register_product"}
    api.post("/register_product", json={"name": "weekly-revenue", "domain": "sales"})  # the example's target
    for item in posts:
        words = shlex.split(item.curl.replace("\\\n", ""))
        json_type = {"Content-Type": "application/json"}
        answer = api.post(words[-1], content=words[words.index("-d") + 1], headers=json_type)
        assert answer.status_code in (200, 201, 202), (item.path, answer.text)
