"""A database of an older version keeps what it holds, and what came later works on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient

import metadata_service
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

SOURCE, TARGET = "3fa85f64-5717-4562-b3fc-2c963f66afa1", "3fa85f64-5717-4562-b3fc-2c963f66afa2"
JOB, RESULT = "3fa85f64-5717-4562-b3fc-2c963f66afa3", "3fa85f64-5717-4562-b3fc-2c963f66afa4"
GRAPH = {"w.staging.customers", "build", "w.curated.dim_customer"}

# What a service of revision 0003 held after one run and one failed check.
ROWS = f"""
INSERT INTO event (digest, kind, event_type, event_time, run_id, job_namespace, job_name, payload) VALUES
    ('\\x01', 'run', 'COMPLETE', '2026-01-01Z', 'r1', 'n', 'build',
     '{{"eventType": "COMPLETE", "eventTime": "2026-01-01T00:00:00Z", "producer": "p", "run": {{"runId": "r1"}},
       "job": {{"namespace": "n", "name": "build"}}}}');
INSERT INTO dataset (id, namespace, name, type, description, tags, fields, created_at, updated_at) VALUES
    ('{SOURCE}', 'db', 'w.staging.customers', 'table', NULL, '{{}}', '[]', '2026-01-01Z', '2026-01-01Z'),
    ('{TARGET}', 'db', 'w.curated.dim_customer', 'table', 'Everybody who bought.', '{{pii}}',
     '[{{"name": "customer_key", "type": "text", "tags": []}}]', '2026-01-01Z', '2026-01-01Z');
INSERT INTO job (id, namespace, name, created_at, updated_at)
    VALUES ('{JOB}', 'n', 'build', '2026-01-01Z', '2026-01-01Z');
INSERT INTO run (id, job_id, state, state_at, ended_at, created_at, updated_at)
    VALUES ('r1', '{JOB}', 'COMPLETED', '2026-01-01Z', '2026-01-01Z', '2026-01-01Z', '2026-01-01Z');
INSERT INTO run_dataset VALUES ('r1', 'input', '{SOURCE}'), ('r1', 'output', '{TARGET}');
INSERT INTO job_dataset (job_id, direction, origin, dataset_id, run_id)
    VALUES ('{JOB}', 'input', 'run', '{SOURCE}', 'r1'), ('{JOB}', 'output', 'run', '{TARGET}', 'r1');
INSERT INTO column_edge (job_id, dataset_id, field, input_dataset_id, input_field)
    VALUES ('{JOB}', '{TARGET}', 'customer_key', '{SOURCE}', 'id');
INSERT INTO quality_result (id, run_id, dataset_id, check_name, ordinal, status, severity, checked_at)
    VALUES ('{RESULT}', 'r1', '{SOURCE}', 'unique', 0, 'failed', 'error', '2026-01-01Z');
"""


def test_a_filled_database_goes_up(empty_database: str, serve: Callable[..., TestClient]) -> None:
    engine = make_engine(ServiceSettings(api_key="test-key", database_url=empty_database))
    migrate(engine, "0003")
    with psycopg.connect(empty_database) as connection:
        connection.execute(ROWS)  # type: ignore[arg-type]
    engine.dispose()

    api = serve()
    api.headers["Authorization"] = "Bearer test-key"
    found = api.get("/search", params={"q": "everybody custmer"}).json()
    assert [item["name"] for item in found["items"]] == ["w.curated.dim_customer"]
    graph = api.get(f"/datasets/{TARGET}/lineage", params={"depth": 5}).json()
    assert {node["name"] for node in graph["nodes"]} == GRAPH
    assert graph["column_edges"][0]["source"] == {"dataset_id": SOURCE, "column": "id"}
    assert api.get(f"/datasets/{SOURCE}").json()["quality"]["state"] == "failing"
    assert [item["id"] for item in api.get(f"/datasets/{TARGET}").json()["suspect_because"]] == [SOURCE]
    [event] = api.get("/api/v1/events/lineage").json()["events"]
    assert event["run"]["runId"] == "r1"
    # What comes next goes on from there.
    again = {
        "eventType": "COMPLETE",
        "eventTime": "2026-02-01T00:00:00Z",
        "producer": "p",
        "run": {"runId": "r2"},
        "job": {"namespace": "n", "name": "build"},
        "outputs": [{"namespace": "db", "name": "w.curated.new"}],
    }
    assert api.post("/api/v1/lineage", json=again).status_code == 201
    assert [item["name"] for item in api.get(f"/jobs/{JOB}").json()["outputs"]] == ["w.curated.new"]


def test_tenants_come_and_go(empty_database: str, serve: Callable[..., TestClient]) -> None:
    engine = make_engine(ServiceSettings(api_key="test-key", database_url=empty_database))
    migrate(engine, "0003")
    with psycopg.connect(empty_database) as connection:
        connection.execute(ROWS)  # type: ignore[arg-type]
    migrate(engine, "0010")
    api = serve()
    api.headers["Authorization"] = "Bearer test-key"
    for namespaces, seen in (["db"], {"w.curated.dim_customer"}), (["n"], None), (["db", "n"], GRAPH):
        key = api.post("/keys", json={"name": "-".join(namespaces), "namespaces": namespaces}).json()["key"]
        own = {"Authorization": f"Bearer {key}"}
        answer = api.get(f"/datasets/{TARGET}/lineage", headers=own)
        assert seen == ({node["name"] for node in answer.json()["nodes"]} if answer.status_code == 200 else None)
        assert api.get("/runs/r1", headers=own).status_code == (200 if "n" in namespaces else 404)

    config = Config()
    config.set_main_option("script_location", str(Path(metadata_service.__file__).parent / "migrations"))
    left = "SELECT count(*) FROM pg_policy UNION ALL SELECT count(*) FROM pg_proc WHERE proname LIKE 'tenant%'"
    for wanted, policies in (("0011", False), ("head", True)):
        with engine.begin() as upgrading:
            config.attributes["connection"] = upgrading
            (command.upgrade if policies else command.downgrade)(config, wanted)
        with psycopg.connect(empty_database) as connection:
            assert [number > 0 for (number,) in connection.execute(left)] == [policies, policies]  # type: ignore[call-overload]


def test_what_lacks_rights_says_how_to_give_them(admin_dsn: str, empty_database: str) -> None:
    name = empty_database.rsplit("/", 1)[1]
    poor = empty_database.replace(admin_dsn.split("@")[0].removeprefix("postgresql://"), f"{name}:secret")
    engine = make_engine(ServiceSettings(api_key="test-key", database_url=poor))
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'")  # type: ignore[call-overload]
        try:
            admin.execute(f'ALTER DATABASE "{name}" OWNER TO "{name}"')  # type: ignore[call-overload]
            with pytest.raises(PermissionError, match=f'GRANT metadata_tenant TO "{name}"'):
                migrate(engine)
            admin.execute(f'GRANT metadata_tenant TO "{name}"')  # type: ignore[call-overload]
            migrate(engine)
            with psycopg.connect(empty_database) as connection:
                connection.execute("ALTER TABLE dataset OWNER TO CURRENT_USER")
            with pytest.raises(PermissionError, match="ALTER TABLE"):
                migrate(engine)
        finally:
            engine.dispose()
            with psycopg.connect(empty_database, autocommit=True) as connection:
                connection.execute(f'REASSIGN OWNED BY "{name}" TO CURRENT_USER')  # type: ignore[call-overload]
                connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')  # type: ignore[call-overload]
