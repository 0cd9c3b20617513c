"""Domain data, read from a real warehouse through the reporter's role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

TODAY = datetime.now(UTC).date()


@pytest.fixture
def curated(postgres: Any) -> Iterator[Callable[[str], None]]:
    """A function that runs SQL as the one who makes curated tables; they go afterwards."""
    tables = ("fct_orders", "fct_campaign_performance", 'odd"name')
    with psycopg.connect(postgres.dsn("transformer"), autocommit=True) as connection:

        def run(statement: str) -> None:
            connection.execute(statement)  # type: ignore[arg-type]

        yield run
        for table in tables:
            quoted = psycopg.sql.Identifier("curated", table)
            connection.execute(psycopg.sql.SQL("DROP TABLE IF EXISTS {}").format(quoted))


@pytest.fixture
def api(serve: Callable[..., TestClient], postgres: Any) -> TestClient:
    """A service that knows the warehouse."""
    client = serve(warehouse_url=postgres.dsn("reporter"))
    client.headers["Authorization"] = "Bearer test-key"
    return client


def test_orders_of_some_days(api: TestClient, curated: Callable[[str], None]):
    curated("CREATE TABLE curated.fct_orders (order_id text, order_date date, amount numeric(12, 2))")
    curated(
        "INSERT INTO curated.fct_orders SELECT 'o' || n, date '2026-01-01' + n, n + 0.5 FROM generate_series(0, 9) AS n"
    )
    page = api.get("/sales/orders", params={"limit": 2}).json()
    assert page["items"] == [
        {"order_id": "o9", "order_date": "2026-01-10", "amount": 9.5},
        {"order_id": "o8", "order_date": "2026-01-09", "amount": 8.5},
    ]
    assert (page["total"], page["limit"], page["offset"]) == (10, 2, 0)
    some = api.get("/sales/orders", params={"start_date": "2026-01-03", "end_date": "2026-01-04"}).json()
    assert [item["order_id"] for item in some["items"]] == ["o3", "o2"]
    assert api.get("/sales/orders", params={"start_date": "'; DROP"}).status_code == 422
    assert api.get("/sales/orders", params={"limit": 501}).status_code == 422


def test_campaigns_that_run_today(api: TestClient, curated: Callable[[str], None]):
    curated("CREATE TABLE curated.fct_campaign_performance (campaign_id text, start_date date, end_date date)")
    day = timedelta(days=1)
    for name, start, end in (("over", -9, -1), ("now", -1, 1), ("last day", -2, 0), ("to come", 1, 9)):
        values = f"('{name}', '{TODAY + start * day}', '{TODAY + end * day}')"
        curated(f"INSERT INTO curated.fct_campaign_performance VALUES {values}")
    assert [item["campaign_id"] for item in api.get("/marketing/campaigns").json()["items"]] == [
        "to come", "now", "last day", "over",
    ]  # fmt: skip
    active = api.get("/marketing/campaigns", params={"active_only": True}).json()
    assert [item["campaign_id"] for item in active["items"]] == ["now", "last day"]


def test_the_table_of_a_product(api: TestClient, curated: Callable[[str], None]):
    curated('CREATE TABLE curated."odd""name" (a integer)')
    curated('INSERT INTO curated."odd""name" VALUES (1), (2)')
    names = ["warehouse.staging.x", 'warehouse.curated.odd"name', "warehouse.curated.not_built"]
    datasets = [{"namespace": "postgres://h:5432", "name": name} for name in names]
    api.post("/register_product", json={"name": "p", "domain": "d", "datasets": datasets})
    api.post("/register_product", json={"name": "empty", "domain": "d"})
    assert api.get("/product/p/data").json() == {"items": [{"a": 1}, {"a": 2}], "total": 2, "limit": 50, "offset": 0}
    assert api.get("/product/p/data", params={"offset": 1}).json()["items"] == [{"a": 2}]
    for path, detail in (
        ("/product/p/data?table=not_built", "does not exist"),
        ("/product/p/data?table=x", "has no table x"),
        ("/product/empty/data", "has no table of the schema curated"),
        ("/product/nothing/data", "no product nothing"),
        ("/sales/orders", "curated.fct_orders"),
    ):
        answer = api.get(path)
        assert (answer.status_code, detail in answer.json()["detail"]) == (404, True), answer.text


def test_nothing_else_can_be_read_or_written(api: TestClient, curated: Callable[[str], None]):
    curated("CREATE TABLE curated.fct_orders (order_id text, order_date date)")
    curated("REVOKE SELECT ON curated.fct_orders FROM reporter")
    answer = api.get("/sales/orders")
    assert (answer.status_code, "permission denied" in answer.json()["detail"]) == (404, True)


def test_without_a_warehouse_it_says_so(serve: Callable[..., TestClient], postgres: Any):
    answer = serve().get("/sales/orders")
    assert (answer.status_code, "WAREHOUSE_URL" in answer.json()["detail"]) == (404, True)
    away = serve(warehouse_url="postgresql://nobody:x@127.0.0.1:9/warehouse").get("/sales/orders")
    assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")


def test_a_team_reads_the_tables_whose_datasets_it_sees(api: TestClient, curated: Callable[[str], None], postgres: Any):
    curated("CREATE TABLE curated.fct_orders AS SELECT 'o1' AS order_id, current_date AS order_date")
    server = f"postgres://127.0.0.1:{postgres.postgres_port}"
    names = [(server, "warehouse.curated.fct_orders"), ("team", "own.curated.fct_orders")]
    for place, (namespace, name) in enumerate(names):
        named = {"namespace": namespace, "name": name}
        assert api.post("/datasets", json=named).status_code == 201
        product = {"name": f"p{place}", "domain": "d", "owner": "o", "description": "d", "datasets": [named]}
        assert api.post("/register_product", json=product).status_code == 201
    for namespace, status in ((server, 200), ("team", 404)):
        body = {"name": namespace.partition(":")[0], "role": "reader", "namespaces": [namespace]}
        key = {"Authorization": f"Bearer {api.post('/keys', json=body).json()['key']}"}
        assert api.get("/sales/orders", headers=key).status_code == status
        assert api.get("/marketing/campaigns", headers=key).status_code == 404
        own = "p0" if status == 200 else "p1"
        assert api.get(f"/product/{own}/data", headers=key).status_code == status
        # A table of a name that ends so, in a namespace of one's own, is not the warehouse's.
        assert api.get("/product/p1/data").status_code == 200
