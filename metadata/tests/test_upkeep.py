"""Export, import and forgetting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def filled(api: TestClient, real_events: list[dict[str, Any]]) -> TestClient:
    """A service that holds some of everything."""
    assert api.post("/api/v1/lineage/batch", json=real_events).json()["summary"]["failed"] == 0
    dataset = {"namespace": "db", "name": "w.curated.t", "uri": "s3://curated/t"}
    api.post("/datasets", json=dataset | {"owner": "me", "schema": [{"name": "a", "type": "text"}]})
    api.post(
        "/runs", json={"run_id": "r1", "job": {"namespace": "n", "name": "j"}, "outputs": [dataset | {"uri": None}]}
    )
    api.post(
        "/runs/r1/dq_results", json=[{"check": "c", "status": "failed", "dataset": {"namespace": "db", "name": "t"}}]
    )
    api.post("/register_product", json={"name": "p", "domain": "d", "datasets": [{"namespace": "db", "name": "t"}]})
    api.post("/register_product", json={"name": "q", "domain": "d"})
    api.post("/register_lineage", json={"source": "p", "target": "q"})
    api.post("/keys", json={"name": "team-a", "namespaces": ["n"]})
    return api


def contents(dsn: str) -> dict[str, list[str]]:
    """Return all rows of all tables."""
    with psycopg.connect(dsn) as connection:
        tables = [row[0] for row in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'search%'"
        )]  # fmt: skip
        return {
            table: sorted(row[0] for row in connection.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t'))  # type: ignore[arg-type]
            for table in tables
        }


def other_service(admin_dsn: str, name: str) -> tuple[TestClient, str]:
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    dsn = psycopg.conninfo.make_conninfo(admin_dsn, dbname=name)
    info = psycopg.conninfo.conninfo_to_dict(dsn)
    url = f"postgresql://{info['user']}:{info.get('password', '')}@{info['host']}:{info['port']}/{name}"
    settings = ServiceSettings(api_key="test-key", database_url=url)
    engine = make_engine(settings)
    migrate(engine)
    client = TestClient(create_app(settings, engine), raise_server_exceptions=False)
    client.headers["Authorization"] = "Bearer test-key"
    return client, dsn


def test_everything_goes_out_and_in_again(filled: TestClient, empty_database: str, admin_dsn: str):
    exported = filled.get("/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    lines = exported.text.splitlines()
    assert json.loads(lines[-1]) == {"rows": len(lines) - 2}
    before = contents(empty_database)
    client, dsn = other_service(admin_dsn, "imported")
    with client:
        answer = client.post("/import", content=exported.content)
        assert answer.status_code == 200, answer.text
        assert sum(answer.json()["rows"].values()) == len(lines) - 2
        after = contents(dsn)
        trail = [json.loads(row)["path"] for row in after.pop("audit_entry")]
        assert trail[-1:] == ["/import"] or "/import" in trail
        before.pop("audit_entry")
        assert after == before
        assert client.get("/search", params={"q": "w.curated.t"}).json()["items"][0]["name"] == "w.curated.t"
        again = client.post("/import", content=exported.content)
        assert (again.status_code, "not empty" in again.json()["detail"]) == (409, True)
        assert contents(dsn) | {"audit_entry": []} == after | {"audit_entry": []}


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (lambda lines: lines[:-1], 422, "cut short"),
        (lambda lines: lines[:2] + lines[3:], 422, "says 2 rows, 1 came"),
        (lambda lines: lines[1:], 422, "is no export"),
        (lambda lines: [], 422, "is no JSON"),
        (lambda lines: [lines[0], b"{", *lines[1:]], 422, "line 2"),
        (lambda lines: [lines[0], b'{"table":"pg_authid","row":{}}', *lines[1:]], 422, "line 2"),
        (lambda lines: [lines[0].replace(b'"revision": "', b'"revision": "9'), *lines[1:]], 409, "revision"),
    ],
)
def test_what_is_no_whole_export_changes_nothing(
    api: TestClient, empty_database: str, spoil: Callable[[list[bytes]], list[bytes]], status: int, said: str
):
    lines = api.get("/export").content.splitlines()
    lines[1:1] = [b'{"table":"tag","row":{"name":"a"}}', b'{"table":"tag","row":{"name":"b"}}']
    lines[-1] = b'{"rows": 2}'
    answer = api.post("/import", content=b"\n".join(spoil(lines)))
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert all(not rows for table, rows in contents(empty_database).items() if table != "alembic_version")


def test_admins_only(api: TestClient):
    key = api.post("/keys", json={"name": "w"}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    assert api.get("/export", headers=headers).status_code == 403
    assert api.post("/import", headers=headers).status_code == 403
    assert api.post("/retention", json={"older_than_days": 1}, headers=headers).status_code == 403


def test_old_runs_are_forgotten_and_the_graph_stays(api: TestClient, event: Make, empty_database: str):
    old = datetime.now(UTC) - timedelta(days=100)

    def at(days: float, run: str, **more: Any) -> dict[str, Any]:
        moment = (old + timedelta(days=days)).isoformat()
        return event(run=run, inputs=["a"], outputs=["b"], **more) | {"eventTime": moment}

    api.post("/api/v1/lineage/batch", json=[at(0, "r0"), at(1, "r1"), at(2, "r2", kind="START"), at(99, "r9")])
    api.post("/api/v1/lineage", json=at(3, "other") | {"job": {"namespace": "n", "name": "rare"}})
    result = {"check": "c", "status": "passed", "dataset": {"namespace": "db", "name": "b"}}
    api.post("/runs/r0/dq_results", json=[result | {"checked_at": old.isoformat()}])
    api.post("/runs/r1/dq_results", json=[result | {"checked_at": (old + timedelta(days=1)).isoformat()}])
    with psycopg.connect(empty_database) as connection:
        connection.execute("UPDATE event SET received_at = event_time")
        connection.execute("UPDATE run SET updated_at = %s WHERE id IN ('r0', 'r1')", [old])  # results came just now
    [dataset] = api.get("/datasets", params={"namespace": "db", "name": "b"}).json()["items"]
    graph = api.get(f"/datasets/{dataset['id']}/lineage").json()

    # r0 alone: r1 has the newest result, r2 goes on, r9 is recent, `other` is its job's newest.
    wanted = {"older_than_days": 30, "dry_run": True}
    assert {**api.post("/retention", json=wanted).json(), "before": None} == {
        "before": None, "events": 4, "runs": 1, "dry_run": True,
    }  # fmt: skip
    assert api.get("/runs/r0").status_code == 200
    done = api.post("/retention", json=wanted | {"dry_run": False}).json()
    assert (done["events"], done["runs"]) == (4, 1)
    assert api.get("/runs/r0").status_code == 404
    assert [api.get(f"/runs/{run}").status_code for run in ("r1", "r2", "r9", "other")] == [200] * 4
    assert api.get(f"/datasets/{dataset['id']}/lineage").json() == graph
    assert api.get(f"/datasets/{dataset['id']}").json()["quality"] == dataset["quality"]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT run_id FROM event").fetchall() == [("r9",)]
        assert connection.execute("SELECT count(*) FROM facet WHERE owner_id LIKE 'r0%'").fetchone() == (0,)
    assert api.post("/retention", json=wanted | {"dry_run": False}).json()["runs"] == 0
    assert api.post("/retention", json={"older_than_days": 0}).status_code == 422
