"""What teams let each other see."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration


def test_a_team_lets_another_read(
    filled: TestClient, apple: dict[str, str], zebra: dict[str, str], parameters: Any, runs: dict[str, str]
):
    theirs = parameters("zebra")

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
    assert filled.get(f"/runs/{runs['zebra']}", headers=apple).status_code == 404
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


def test_a_team_lets_others_find_what_it_has(
    filled: TestClient, apple: dict[str, str], zebra: dict[str, str], parameters: Any
):
    for namespace in ("zebra", "pg://zebra"):
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
    theirs = parameters("zebra")
    assert filled.get(f"/datasets/{theirs['dataset_id']}", headers=apple).status_code == 404
    page = filled.get("/ui/search", params={"q": "zebra"}, headers=apple).text
    assert "Of other teams" in page
    assert "quagga orders" in page
    # Who may find may not find by being asked for more; who has it, or sees all, finds nothing here.
    assert filled.get("/discover", headers=zebra).json()["total"] == 0
    assert filled.get("/discover").json()["total"] == 0
