"""Schema versions."""

from __future__ import annotations

import itertools
from typing import Any

from fastapi.testclient import TestClient


def table(*columns: tuple[str, str]) -> dict[str, Any]:
    fields = [{"name": name, "type": kind} for name, kind in columns]
    return {"namespace": "db", "name": "t", "facets": {"schema": {"fields": fields}}}


FIRST = (("id", "integer"), ("name", "text"))
SECOND = (("id", "bigint"), ("name", "text"), ("city", "text"))
THIRD = (("id", "bigint"), ("city", "varchar(10)"))


def versions(api: TestClient) -> list[dict[str, Any]]:
    [dataset] = api.get("/datasets", params={"namespace": "db", "name": "t"}).json()["items"]
    answer = api.get(f"/datasets/{dataset['id']}/versions").json()
    assert answer["total"] == len(answer["items"])
    found: list[dict[str, Any]] = answer["items"]
    return found


def test_versions_tell_what_changed_and_what_it_breaks(api: TestClient, event: Any):
    for at, columns in enumerate((FIRST, FIRST, SECOND, THIRD)):
        api.post("/api/v1/lineage", json=event(run=f"r{at}", at=at, outputs=[table(*columns)]))
    third, second, first = versions(api)
    assert [version["version"] for version in (first, second, third)] == [1, 2, 3]
    assert (first["first_seen_at"][14:16], first["last_seen_at"][14:16], first["changes"]) == ("00", "01", [])
    assert [(c["column"], c["change"], c["before"], c["after"], c["breaking"]) for c in second["changes"]] == [
        ("id", "type", "integer", "bigint", False), ("city", "added", None, "text", False),
    ]  # fmt: skip
    assert [(c["column"], c["change"], c["breaking"]) for c in third["changes"]] == [
        ("name", "removed", True), ("city", "type", True),
    ]  # fmt: skip
    assert [version["is_current"] for version in (first, second, third)] == [False, False, True]


def test_the_order_of_events_does_not_matter(api: TestClient, event: Any):
    seen = []
    events = [
        event(run=f"r{at}", at=at, outputs=[table(*columns)]) for at, columns in enumerate((FIRST, SECOND, FIRST))
    ]
    for order in itertools.permutations(events):
        api.post("/api/v1/lineage/batch", json=list(order)[:2])
        api.post("/api/v1/lineage", json=order[2])
        seen.append([(v["version"], v["first_seen_at"], v["last_seen_at"], v["is_current"]) for v in versions(api)])
        [dataset] = api.get("/datasets", params={"namespace": "db", "name": "t"}).json()["items"]
        api.delete(f"/datasets/{dataset['id']}")
        for sent in events:
            sent["run"]["facets"] = {"again": {"number": len(seen)}}  # another event than before
    assert all(versions == seen[0] for versions in seen)
    assert [(number, current) for number, _, _, current in seen[0]] == [(2, False), (1, True)]


def test_a_registered_schema_is_a_version_too(api: TestClient):
    body = {"namespace": "db", "name": "t", "schema": [{"name": "id", "type": "integer"}]}
    for _ in range(2):
        api.post("/datasets", json=body)
    [version] = versions(api)
    assert [(column["name"], column["type"]) for column in version["columns"]] == [("id", "integer")]
    assert api.get("/datasets/3fa85f64-5717-4562-b3fc-2c963f66afa6/versions").status_code == 404
