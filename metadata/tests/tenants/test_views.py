"""What a team sees of its own, and what others see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from marquez_client import MarquezClient
from marquez_client.errors import APIError
from marquez_client.models import DatasetId, DatasetType, JobType

pytestmark = pytest.mark.integration


def test_numbers_are_the_teams_own(filled: TestClient, apple: dict[str, str]):
    counted = filled.get("/analytics/lineage-stats", headers=apple).json()
    assert (counted["datasets"], counted["jobs"], counted["products"], counted["registered"]) == (2, 2, 1, 0)
    assert counted["column_edges"] > 0
    assert filled.get("/analytics/quality", headers=apple).json()["datasets"] == {"failing": 1, "unknown": 1}
    for kind, number in (("jobs", 2), ("datasets", 2), ("sources", 1)):
        assert filled.get(f"/api/v1/stats/{kind}", headers=apple).json()[-1]["count"] == number
        assert filled.get(f"/api/v1/stats/{kind}").json()[-1]["count"] > number
    assert filled.get("/api/v1/events/lineage", headers=apple).json()["totalCount"] == 3
    assert filled.get("/graph", headers=apple).json()["edges"]
    page = filled.get("/datasets", params={"limit": 1}, headers=apple).json()
    assert (page["total"], len(page["items"])) == (2, 1)


def test_a_team_sees_what_is_said_of_its_own(
    filled: TestClient, apple: dict[str, str], parameters: Any, runs: dict[str, str]
):
    ours = parameters("apple", apple)
    quality = filled.get(f"/datasets/{ours['dataset_id']}/quality", headers=apple).json()
    # A run of another team's checked it, too: the result is seen, the run is not.
    assert {(item["check"], item["run_id"]) for item in quality["checks"]} == {
        ("pippin_check", runs["apple"]), ("rows", None),
    }  # fmt: skip
    run = filled.get(f"/runs/{runs['apple']}", headers=apple).json()
    assert (run["parent_run_id"], [item["dataset"]["name"] for item in run["inputs"]]) == (None, ["apple.raw"])
    assert filled.get(f"/runs/{runs['apple']}").json()["parent_run_id"] == runs["zebra"]
    [told_event] = [
        item
        for item in filled.get("/api/v1/events/apple", headers=apple).json()["events"]
        if item.get("eventType") == "COMPLETE"
    ]
    assert [item["name"] for item in told_event["inputs"]] == ["apple.raw"]
    assert (sorted(told_event["run"]["facets"]), sorted(told_event["job"]["facets"])) == (
        ["errorMessage"], ["documentation", "sql"],
    )  # fmt: skip
    assert "columnLineage" not in told_event["outputs"][0]["facets"]
    columns = f"/datasets/{ours['dataset_id']}/columns/n/lineage"
    assert len(filled.get(columns, headers=apple).json()["column_edges"]) == 3  # of run, design, dataset


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_marquez_client_works_with_a_teams_key(
    filled: TestClient, apple: dict[str, str], listen: Callable[[TestClient], str]
):
    client = MarquezClient(url=listen(filled), api_key=apple["Authorization"].removeprefix("Bearer "))
    assert [space["name"] for space in client.list_namespaces()["namespaces"]] == ["apple", "pg://apple"]
    assert [source["name"] for source in client.list_sources()["sources"]] == ["apple_source", "pg://apple"]
    assert [job["name"] for job in client.list_jobs("apple")["jobs"]] == ["apple_design", "apple_job"]
    assert client.list_jobs("zebra")["jobs"] == []
    assert client.create_source("pg://apple", "POSTGRESQL", "postgres://apple-db", "ours")["description"] == "ours"
    made = client.create_dataset("pg://apple", "apple.new", DatasetType.DB_TABLE, "apple.new", "pg://apple")
    assert made["facets"]["dataSource"]["uri"] == "postgres://apple-db"
    # The address of another's source is not told.
    made = client.create_dataset("pg://apple", "apple.new", DatasetType.DB_TABLE, "apple.new", "zebra_source")
    assert made["facets"]["dataSource"]["uri"] == "zebra_source"
    job = client.create_job("apple", "new", JobType.BATCH, inputs=[], outputs=[DatasetId("pg://apple", "apple.new")])
    assert job["outputs"] == [{"namespace": "pg://apple", "name": "apple.new"}]
    for refused in (
        lambda: client.create_source("zebra_source", "POSTGRESQL", "postgres://x"),
        lambda: client.get_dataset("pg://zebra", "zebra.orders"),
        lambda: client.create_namespace("zebra", "me"),
    ):
        with pytest.raises(APIError):
            refused()


def test_a_mistyped_word_is_not_corrected_to_another_teams(filled: TestClient, apple: dict[str, str]):
    assert filled.get("/search", params={"q": "quaga"}).json()["corrected"] == {"quaga": ["quagga"]}
    assert filled.get("/search", params={"q": "pippim"}, headers=apple).json()["corrected"] == {"pippim": ["pippin"]}
    assert filled.get("/search", params={"q": "quaga"}, headers=apple).json()["total"] == 0
    assert filled.get("/search", params={"q": "pip orders", "type": "dataset"}, headers=apple).json()["total"] == 1


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
