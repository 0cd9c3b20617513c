"""Search: what is found, in which order, with which typos."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

PG = "postgres://db:5432"


@pytest.fixture
def catalog(api: TestClient, event: Any) -> TestClient:
    """A small catalog."""
    for name, more in {
        "warehouse.staging.customers": {"owner": "Sales-Team", "tags": ["PII"], "description": "Everybody who bought."},
        "warehouse.curated.dim_customer": {"domain": "sales", "description": "Customers with their history."},
        "warehouse.curated.fct_sales": {
            "tags": ["gold"],
            "description": "One row a sale.",
            "schema": [{"name": "customer_key", "type": "text"}, {"name": "total_amount", "type": "numeric"}],
        },
        "warehouse.staging.OrderItems": {"uri": "s3://staging/order-items"},
    }.items():
        assert api.post("/datasets", json={"namespace": PG, "name": name, **more}).status_code == 201
    sent = event(job="warehouse.build_customers", inputs=[{"namespace": PG, "name": "warehouse.staging.customers"}])
    assert api.post("/api/v1/lineage", json=sent).status_code == 201
    product = {"name": "customer-360", "domain": "sales", "description": "All of a customer.", "owner": "crm"}
    assert api.post("/register_product", json=product).status_code == 201
    return api


def found(api: TestClient, q: str, **more: Any) -> list[str]:
    answer = api.get("/search", params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    return [item["name"].removeprefix("warehouse.") for item in answer.json()["items"]]


def test_exact_names_come_first_then_titles_then_the_rest(catalog: TestClient):
    assert found(catalog, "customers")[0] == "staging.customers"
    assert found(catalog, "warehouse.curated.dim_customer") == ["curated.dim_customer"]
    everything = found(catalog, "customer")
    assert set(everything[:4]) == {"customer-360", "staging.customers", "curated.dim_customer", "build_customers"}
    assert everything[-1] == "curated.fct_sales"  # a column only
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("s3://staging/order-items", ["staging.OrderItems"]),
        ("items order", ["staging.OrderItems"]),
        ("orderitems", ["staging.OrderItems"]),
        ("total_amount", ["curated.fct_sales"]),
        ("everybody bought", ["staging.customers"]),
        ("gold", ["curated.fct_sales"]),
        ("crm", ["customer-360"]),
        ("custmoers", ["staging.customers"]),
        ("ordre itmes", ["staging.OrderItems"]),
        ("nothing like this", []),
        ("'; DROP TABLE dataset; --", []),
        ("{weight} \\ ' : & | ! ( )", []),
        ("...", []),
        ("日本", []),
    ],
)
def test_what_is_found(catalog: TestClient, q: str, expected: list[str]):
    result = found(catalog, q)
    assert result[: len(expected)] == expected
    if not expected:
        assert result == []


def test_typos_are_told(catalog: TestClient):
    answer = catalog.get("/search", params={"q": "custmoers"}).json()
    assert answer["corrected"] == {"custmoers": ["customers", "customer"]}
    assert answer["is_complete"] is True
    assert catalog.get("/search", params={"q": "customers"}).json()["corrected"] == {}


def test_filters(catalog: TestClient):
    assert found(catalog, "customer", type="product") == ["customer-360"]
    assert found(catalog, "customer", type=["job", "product"], owner="CRM") == ["customer-360"]
    assert found(catalog, "customer", tag="pii") == ["staging.customers"]
    assert found(catalog, "customer", owner="sales-team", layer="staging") == ["staging.customers"]
    assert found(catalog, "customer", namespace="tests") == ["build_customers"]
    assert found(catalog, "customer", namespace="nowhere") == []
    assert catalog.get("/search", params={"q": "a", "type": "table"}).status_code == 422
    assert catalog.get("/search").status_code == 422


def test_pages_are_stable_and_without_gaps(api: TestClient):
    for number in range(25):
        api.post("/datasets", json={"namespace": PG, "name": f"warehouse.staging.events_{number:02}"})
    whole = found(api, "events", limit=25)
    assert len(set(whole)) == 25
    parts = [name for offset in range(0, 30, 10) for name in found(api, "events", limit=10, offset=offset)]
    assert parts == whole


def test_what_changes_is_found_by_its_new_words_only(api: TestClient):
    made = api.post("/datasets", json={"namespace": PG, "name": "a.b.c", "description": "zebras"}).json()
    assert found(api, "zebras") == ["a.b.c"]
    api.put(f"/datasets/{made['id']}", json={"namespace": PG, "name": "a.b.c", "description": "giraffes"})
    assert (found(api, "zebras"), found(api, "girafes")) == ([], ["a.b.c"])
    api.delete(f"/datasets/{made['id']}")
    assert found(api, "giraffes") == []
