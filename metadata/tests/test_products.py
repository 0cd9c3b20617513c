"""Products from registration to deletion, their versions, their lineage, and the figures about them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
REVENUE = {
    "name": "daily-revenue",
    "domain": "sales",
    "description": "Revenue by day",
    "owner": "sales-team",
    "status": "active",
    "version": "1.2.0",
    "tags": ["gold"],
    "schema": [{"name": "day", "type": "date", "tags": []}, {"name": "revenue", "type": "numeric(12,2)", "tags": []}],
    "datasets": [{"namespace": "db", "name": "w.curated.revenue"}],
    "metadata": {"slack": "#sales"},
}


def register(api: TestClient, name: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/register_product", json={"name": name, "domain": "sales", **more})
    assert answer.status_code in (200, 201), answer.text
    product: dict[str, Any] = answer.json()
    return product


def test_a_product_lives_from_registration_to_deletion(api: TestClient) -> None:
    created = api.post("/register_product", json=REVENUE)
    assert created.status_code == 201
    product = created.json()
    assert {key: product[key] for key in REVENUE if key not in ("schema", "datasets")} == {
        key: value for key, value in REVENUE.items() if key not in ("schema", "datasets")
    }
    assert [(column["name"], column["type"]) for column in product["schema"]] == [
        ("day", "date"),
        ("revenue", "numeric(12,2)"),
    ]
    assert [(link["namespace"], link["name"]) for link in product["datasets"]] == [("db", "w.curated.revenue")]
    assert product["created_at"] == product["updated_at"]
    assert api.get("/product/daily-revenue").json() == product

    again = api.post("/register_product", json=REVENUE | {"owner": "others"})
    assert (again.status_code, again.json()["owner"], again.json()["id"]) == (200, "others", product["id"])
    put = api.put("/product/daily-revenue", json={"domain": "finance", "version": "2.0.0", "status": "deprecated"})
    assert (put.json()["owner"], put.json()["status"], put.json()["datasets"]) == ("", "deprecated", [])

    assert api.delete("/product/daily-revenue").status_code == 204
    gone = api.get("/product/daily-revenue")
    assert (gone.status_code, gone.json()["detail"]) == (404, "There is no product daily-revenue.")
    assert api.delete("/product/daily-revenue").status_code == 404
    assert api.put("/product/daily-revenue", json={"domain": "x"}).status_code == 404
    assert api.get("/datasets", params={"q": "curated.revenue"}).json()["total"] == 1, "its dataset stays"


def test_lists_are_filtered_and_paged(api: TestClient) -> None:
    register(api, "b", domain="sales", owner="me", tags=["x"])
    register(api, "a", domain="sales", status="inactive", description="Holds returns")
    register(api, "c", domain="marketing", tags=["x", "y"])

    def names(**query: Any) -> list[str]:
        return [product["name"] for product in api.get("/products", params=query).json()["items"]]

    assert names() == ["c", "a", "b"]
    assert names(domain="sales") == ["a", "b"]
    assert names(status="inactive") == ["a"]
    assert names(owner="me") == ["b"]
    assert names(tag="x") == ["c", "b"]
    assert names(q="RETURNS") == ["a"]
    assert names(limit=1, offset=1) == ["a"]
    assert api.get("/products", params={"limit": 1}).json()["total"] == 3
    assert api.get("/products", params={"status": "lost"}).status_code == 422


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "no spaces"}, "name"),
        ({"domain": ""}, "domain"),
        ({"domain": None}, "domain"),
        ({"version": "1.0"}, "version"),
        ({"status": "gone"}, "status"),
        ({"schema": [{"name": "a"}, {"name": "a"}]}, "schema"),
        ({"datasets": [{"name": "x"}]}, "datasets.0.namespace"),
        ({"colour": "red"}, "colour"),
        ({"description": "nul \x00"}, "description"),
    ],
)
def test_what_can_t_be_used_is_named(api: TestClient, change: dict[str, Any], field: str) -> None:
    answer = api.post("/register_product", json=REVENUE | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert api.get("/products").json()["total"] == 0


def test_a_breaking_change_needs_a_major_version(api: TestClient) -> None:
    api.post("/register_product", json=REVENUE)
    less = REVENUE | {"schema": [{"name": "revenue", "type": "integer"}], "version": "1.3.0"}
    refused = api.post("/register_product", json=less)
    assert refused.status_code == 422
    assert "2.0.0" in refused.json()["detail"]
    assert [(error["field"], error["message"]) for error in refused.json()["errors"]] == [
        ("schema.day", "is gone"),
        ("schema.revenue", "was numeric(12,2) and is integer"),
    ]
    assert len(api.get("/product/daily-revenue").json()["schema"]) == 2
    body = {key: value for key, value in less.items() if key != "name"}
    assert api.put("/product/daily-revenue", json=body).status_code == 422

    more = REVENUE | {"schema": [*REVENUE["schema"], {"name": "tax", "type": "numeric(12,2)"}], "version": "1.3.0"}  # type: ignore[misc]
    assert api.post("/register_product", json=more).status_code == 200
    assert api.post("/register_product", json=less | {"version": "2.0.0"}).status_code == 200
    back = api.post("/register_product", json=REVENUE)
    assert (back.status_code, back.json()["errors"][0]["field"]) == (422, "version")
    versions = api.get("/product/daily-revenue/versions").json()["items"]
    assert [(item["version"], len(item["schema"])) for item in versions] == [("2.0.0", 1), ("1.3.0", 3), ("1.2.0", 2)]


def test_columns_and_quality_come_from_the_datasets(api: TestClient) -> None:
    names = {"namespace": "db", "name": "w.curated.a"}, {"namespace": "db", "name": "w.curated.b"}
    api.post("/datasets", json={**names[0], "schema": [{"name": "id", "type": "bigint"}]})
    api.post("/datasets", json={**names[1], "schema": [{"name": "id", "type": "text"}, {"name": "v", "type": "text"}]})
    product = register(api, "p", datasets=[*names, names[0]])
    assert [(column["name"], column["type"]) for column in product["schema"]] == [("id", "bigint"), ("v", "text")]
    assert [link["name"] for link in product["datasets"]] == ["w.curated.a", "w.curated.b"]
    assert product["quality"] == "unknown"
    api.post("/runs/r/dq_results", json=[{"check": "c", "dataset": names[1], "status": "failed"}])
    api.post("/runs/r/dq_results", json=[{"check": "d", "dataset": names[0], "status": "passed"}])
    assert api.get("/product/p").json()["quality"] == "failing"
    refused = api.post("/register_product", json={"name": "p", "domain": "sales", "datasets": [names[0]]})
    assert [error["field"] for error in refused.json()["errors"]] == ["schema.v"]


def test_registered_lineage(api: TestClient) -> None:
    for name in ("raw", "clean", "report"):
        register(api, name)
    entry = {"source": "raw", "target": "clean", "transformation": "dedup", "confidence": 0.9, "metadata": {"by": "x"}}
    created = api.post("/register_lineage", json=entry)
    assert (created.status_code, created.json()["lineage_type"]) == (201, "direct")
    assert api.post("/register_lineage", json=entry | {"confidence": 0.5}).status_code == 200
    api.post("/register_lineage", json={"source": "clean", "target": "report", "lineage_type": "aggregated"})
    found = api.get("/lineage", params={"source": "raw"}).json()
    assert [(item["target"], item["confidence"], item["metadata"]) for item in found["items"]] == [
        ("clean", 0.5, {"by": "x"})
    ]
    assert api.get("/lineage", params={"lineage_type": "aggregated"}).json()["items"][0]["target"] == "report"
    assert api.get("/lineage", params={"limit": 1}).json()["total"] == 2

    up = api.get("/lineage/upstream/report").json()
    assert up["products"] == ["clean", "raw"]
    assert [(item["source"], item["target"], item["depth"]) for item in up["items"]] == [
        ("clean", "report", 1),
        ("raw", "clean", 2),
    ]
    assert api.get("/lineage/upstream/report", params={"depth": 1}).json()["products"] == ["clean"]
    assert api.get("/lineage/downstream/raw").json()["products"] == ["clean", "report"]
    assert api.get("/lineage/downstream/nothing").status_code == 404

    api.post("/register_lineage", json={"source": "report", "target": "raw"})  # a circle ends
    assert api.get("/lineage/downstream/raw").json()["products"] == ["clean", "report"]
    api.delete("/product/clean")
    assert [item["target"] for item in api.get("/lineage").json()["items"]] == ["raw"]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"source": "a", "target": "lost"}, "target"),
        ({"source": "a", "target": "a"}, "target"),
        ({"source": "a", "target": "b", "confidence": 1.5}, "confidence"),
        ({"source": "a", "target": "b", "lineage_type": "odd"}, "lineage_type"),
        ({"target": "b"}, "source"),
    ],
)
def test_lineage_that_can_t_be_is_refused(api: TestClient, entry: dict[str, Any], field: str) -> None:
    register(api, "a")
    register(api, "b")
    answer = api.post("/register_lineage", json=entry)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert api.get("/lineage").json()["total"] == 0


def test_lineage_of_datasets_is_lineage_of_products(api: TestClient, event: Make) -> None:
    for run, source, target in (("1", "a", "b"), ("2", "b", "c"), ("3", "c", "d"), ("4", "a", "d")):
        api.post("/api/v1/lineage", json=event(run=run, job=f"to_{target}_{run}", inputs=[source], outputs=[target]))
    for name, dataset in (("first", "a"), ("middle", "c"), ("last", "d")):
        register(api, name, datasets=[{"namespace": "db", "name": dataset}])
    up = api.get("/lineage/upstream/last").json()
    assert [(item["source"], item["target"], item["depth"], item["origin"]) for item in up["items"]] == [
        ("first", "last", 1, "datasets"),
        ("middle", "last", 1, "datasets"),
        ("first", "middle", 2, "datasets"),
    ]
    assert up["items"][0]["id"] is None
    api.post("/register_lineage", json={"source": "middle", "target": "last", "confidence": 0.7})
    edges = {(e["source"], e["target"]): e["origin"] for e in api.get("/lineage/downstream/first").json()["items"]}
    assert edges == {
        ("first", "middle"): "datasets",
        ("first", "last"): "datasets",
        ("middle", "last"): "registered",
    }


@pytest.fixture
def tight(serve: Callable[..., TestClient]) -> TestClient:
    """A service that takes two products and one entry."""
    client = serve(max_products=2, max_lineage_entries=1)
    client.headers["Authorization"] = "Bearer test-key"
    return client


def test_limits_hold_also_at_the_same_time(tight: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: tight.post("/register_product", json={"name": f"p{n}", "domain": "d"}).status_code, range(8)
            )
        )
    assert sorted(answers) == [201, 201, *[409] * 6]
    names = [product["name"] for product in tight.get("/products").json()["items"]]
    assert tight.post("/register_product", json={"name": names[0], "domain": "e"}).status_code == 200
    assert tight.post("/register_lineage", json={"source": names[0], "target": names[1]}).status_code == 201
    refused = tight.post("/register_lineage", json={"source": names[1], "target": names[0]})
    assert (refused.status_code, "MAX_LINEAGE_ENTRIES" in refused.json()["detail"]) == (409, True)


def test_writes_need_the_key(reader: TestClient) -> None:
    assert reader.post("/register_product", json=REVENUE).status_code == 401
    assert reader.post("/register_lineage", json={"source": "a", "target": "b"}).status_code == 401
    assert reader.put("/product/x", json={"domain": "d"}).status_code == 401
    assert reader.delete("/product/x").status_code == 401
    assert reader.get("/products").status_code == 200


def test_figures(api: TestClient, event: Make) -> None:
    assert api.get("/analytics/domains").json() == []
    assert api.get("/analytics/lineage-stats").json()["average_confidence"] is None
    api.post("/api/v1/lineage", json=event(run="1", job="x", inputs=["a"], outputs=["b", "c"]))
    api.post("/api/v1/lineage", json=event(run="2", job="y", inputs=["a"], outputs=["d"]))
    api.post("/datasets", json={"namespace": "db", "name": "b", "domain": "sales", "owner": "me"})
    api.post("/datasets", json={"namespace": "db", "name": "alone", "domain": "sales"})
    register(api, "p", owner="you")
    register(api, "q", domain="marketing", status="inactive")
    api.post("/register_lineage", json={"source": "p", "target": "q", "confidence": 0.5})
    api.post(
        "/runs/r/dq_results",
        json=[
            {"check": "rows", "dataset": {"namespace": "db", "name": "b"}, "status": "failed", "severity": "critical"},
            {"check": "keys", "dataset": {"namespace": "db", "name": "b"}, "status": "passed"},
        ],
    )
    domains = {item["domain"]: item for item in api.get("/analytics/domains").json()}
    assert list(domains) == ["marketing", "none", "sales"]
    assert domains["sales"] == {
        "domain": "sales",
        "datasets": 2,
        "products": {"active": 1},
        "owners": ["me", "you"],
        "quality": {"failing": 1, "unknown": 1},
    }
    assert (domains["none"]["datasets"], domains["marketing"]["products"]) == (3, {"inactive": 1})

    stats = api.get("/analytics/lineage-stats").json()
    most = stats.pop("most_used")
    assert [(item["name"], item["jobs"]) for item in most] == [("a", 2)]
    assert stats == {
        "datasets": 5, "jobs": 2, "edges": 5, "column_edges": 0, "datasets_without_lineage": 1, "products": 2,
        "registered": 1, "registered_by_type": {"direct": 1}, "average_confidence": 0.5,
    }  # fmt: skip

    quality = api.get("/analytics/quality", params={"days": 3}).json()
    assert quality["datasets"] == {"failing": 1, "unknown": 4}
    assert [(item["dataset"], item["check"], item["severity"]) for item in quality["failing"]] == [
        ("b", "rows", "critical")
    ]
    today = {"day": datetime.now(UTC).date().isoformat(), "passed": 1, "failed": 1, "errors": 0}
    assert quality["days"][-1] == today
    assert [sum((day["passed"], day["failed"], day["errors"])) for day in quality["days"]] == [0, 0, 2]


def test_pages(api: TestClient) -> None:
    html = {"Accept": "text/html"}
    assert "No products yet" in api.get("/ui/products", headers=html).text
    api.post("/register_product", json=REVENUE | {"description": "<script>alert(1)</script>"})
    register(api, "source")
    api.post("/register_lineage", json={"source": "source", "target": "daily-revenue", "transformation": "sum"})
    listed = api.get("/ui/products", headers=html).text.replace("<wbr>", "")
    assert "daily-revenue" in listed
    assert "<script>alert" not in listed
    shown = api.get("/ui/products/daily-revenue", headers=html).text.replace("<wbr>", "")
    for text in (["w", "curated.revenue"][1], "numeric(12,2)", "1.2.0", 'href="/ui/products/source"', "sum"):
        assert text in shown
    assert "Nothing found" in api.get("/ui/products?q=zzz", headers=html).text
    assert api.get("/ui/products/lost", headers=html).status_code == 404
