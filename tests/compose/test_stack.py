"""The platform on a Docker engine: healthy, as the local stack to the row, safe to start twice, mended by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from dataplatform_cli.airflow_api import AirflowClient
from dataplatform_cli.stack import containers
from dataplatform_cli.stack.compose import AIRFLOW
from dataplatform_cli.stack.s3 import client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

LONG_RUNNING = {"postgres", "minio", "metadata", "superset", *AIRFLOW}
TABLES = """
SELECT quote_ident(table_schema) || '.' || quote_ident(table_name),
    string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
FROM information_schema.columns
WHERE table_schema IN ('staging', 'intermediate', 'curated')
    AND column_name NOT IN ('_file_id', '_loaded_at', 'loaded_at', 'file_id', 'built_at', 'seconds')
GROUP BY 1, table_schema, table_name ORDER BY 1
"""
LEDGER = """
SELECT dataset, path, content_hash, contract_version, status, stage, error, rows_read, rows_rejected,
    rows_deduplicated, rows_inserted, rows_updated, rows_unchanged, rejects_by_rule::text, moved_to
FROM audit.file_ingestion_log ORDER BY path
"""
REJECTED = """
SELECT dataset, path, record, line, column_name, rule, message, raw::text
FROM audit.rejected_rows ORDER BY dataset, path, record, column_name, rule
"""


def wait_until(true: Callable[[], Any], what: str, seconds: float) -> float:
    """Return after how many seconds it was so."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(1)
    return time.monotonic() - began


def states(compose: Any) -> dict[str, str]:
    return {item["name"]: item["state"] for item in json.loads(compose.dp("status", "--json").stdout)["services"]}


def is_healthy(compose: Any) -> bool:
    return all(item.state in ("running", "done") for item in compose.containers().values())


def test_every_service_is_healthy(compose: Any) -> None:
    found = states(compose)
    assert {name for name, state in found.items() if state == "running"} == LONG_RUNNING
    assert {state for name, state in found.items() if name not in LONG_RUNNING} == {"done"}


def test_nothing_runs_as_root_or_listens_to_the_world(compose: Any) -> None:
    for service, container in compose.containers().items():
        if not container.running:
            continue
        assert containers.docker("exec", container.id, "id", "-u").stdout.strip() not in ("0", ""), service
        (told,) = json.loads(containers.docker("inspect", container.id).stdout)
        bound = [place["HostIp"] for places in told["NetworkSettings"]["Ports"].values() for place in places or ()]
        assert set(bound) <= {"127.0.0.1"}, service


def test_the_sample_comes_out_as_planted(compose: Any) -> None:
    assert compose.facts["problems"] == []
    assert compose.facts["stack"] == "compose"
    assert len(compose.facts["models"]) > 5


def test_commands_work_on_this_stack(compose: Any) -> None:
    assert "[/]" not in compose.must("minio", "verify")
    assert "http://127.0.0.1" in compose.must("minio", "console")
    assert "postgres:5432/warehouse" in compose.must("airflow", "connections")
    assert "loader" not in compose.must("logs", "metadata")
    assert "ingest__sales" in compose.must("airflow", "cli", "dags", "list")
    assert "MinIO" in compose.dp("logs", "s3", "-n", "100").stdout


def test_the_examples_run_green(compose: Any, run_examples: Any) -> None:
    assert not {name: reason for name, reason in run_examples(compose.settings).items() if reason}
    seen = dict(compose.rows("SELECT check_name, status FROM audit.platform_health_latest", "reporter"))
    assert not [name for name in ("postgres", "object store", "superset", "metadata service") if seen[name] != "ok"]


def test_both_stacks_give_the_same_tables(compose: Any, local: Any) -> None:
    assert local.facts["problems"] == []
    tables = compose.rows(TABLES, "transformer")  # who sees every layer
    assert {name.split(".")[0] for name, _ in tables} == {"staging", "intermediate", "curated"}
    compared = 0
    for name, columns in tables:
        query = f"SELECT {columns} FROM {name}"
        there, here = (sorted(stack.rows(query, "transformer"), key=repr) for stack in (compose, local))
        assert there == here, name
        compared += len(there)
    assert compared > 50_000
    for query in (LEDGER, REJECTED):
        assert compose.rows(query) == local.rows(query)


def test_dropped_files_appear_within_a_minute(compose: Any) -> None:
    """A DAG file, a broken one, and a contract, which is a DAG and a table."""
    airflow = AirflowClient(compose.settings)
    dags = compose.settings.dags
    dag = "from airflow.sdk import DAG\n\nwith DAG('dropped', schedule=None, tags=['test']):\n    pass\n"
    contract = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "events", "version": "1.0.0", "status": "active",
        "domain": "test", "team": {"name": "tests"},
        "schema": [{"name": "events", "logicalType": "object", "properties": [
            {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
            {"name": "n", "logicalType": "integer"},
        ]}],
        "customProperties": [{"property": "ingest", "value": {"write": "upsert"}}],
    }  # fmt: skip
    (dags / "dropped.py").write_text(dag)
    (dags / "broken.py").write_text("import no_such_module\n")
    (compose.settings.contracts / "events.odcs.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))
    try:
        wait_until(lambda: {"dropped", "ingest__events"} <= airflow.dag_ids(), "the dropped files' DAGs", 60)
        wait_until(lambda: any("no_such_module" in error for error in airflow.import_errors()), "the error", 60)
        # The command's exit code is 1 where there are errors to list.
        assert "no_such_module" in compose.dp("airflow", "cli", "dags", "list-import-errors", "--output", "json").stdout
        assert "ingest__sales" in airflow.dag_ids()
    finally:
        (dags / "broken.py").unlink()


def snapshot(compose: Any) -> dict[str, Any]:
    """Return what the initialisations make: roles, databases, grants, connections, pools, assets, buckets."""
    postgres = compose.containers()["postgres"].id
    user = compose.settings.postgres_admin_user
    schema = containers.docker("exec", postgres, "pg_dumpall", "-U", user, "--schema-only", "--no-role-passwords")
    assert schema.returncode == 0, schema.stderr
    s3 = client(compose.settings)
    return {
        "schema": re.sub(r"(?m)^(--|\\(un)?restrict).*$", "", schema.stdout),  # dates and random words
        "connections": AirflowClient(compose.settings).connections(),
        "assets": [
            (kind, psql(compose, "superset", f"SELECT string_agg(uuid::text, ' ' ORDER BY uuid) FROM {kind}"))
            for kind in ("dbs", "tables", "slices", "dashboards")
        ],
        "buckets": [(item["Name"], item["CreationDate"]) for item in s3.list_buckets()["Buckets"]],
        "lifecycle": lifecycle(s3),
    }


def psql(compose: Any, database: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(compose.settings.dsn("superset", database)) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type, unused-ignore]


def lifecycle(s3: Any) -> Any:
    try:
        return s3.get_bucket_lifecycle_configuration(Bucket="raw")["Rules"]
    except s3.exceptions.ClientError:
        return None  # a stand-in without it


def test_a_second_start_changes_nothing(compose: Any) -> None:
    before, there = snapshot(compose), compose.containers()
    compose.must("start")
    assert snapshot(compose) == before
    # Nothing was interrupted, but where the source, and so the image, has been edited since the first start.
    replaced = [name for name, item in compose.containers().items() if item.id != there[name].id]
    assert [name for name in replaced if compose.containers()[name].image == there[name].image] == []


def test_a_start_completes_a_half_made_state(compose: Any) -> None:
    before = snapshot(compose)
    admin = f"postgresql://postgres:postgres@127.0.0.1:{compose.settings.postgres_port}"
    with psycopg.connect(f"{admin}/warehouse", autocommit=True) as connection:
        connection.execute("REVOKE USAGE ON SCHEMA curated FROM reporter")
        connection.execute("ALTER ROLE reporter NOLOGIN PASSWORD 'forgotten'")
    with psycopg.connect(f"{admin}/airflow", autocommit=True) as connection:
        connection.execute("DELETE FROM connection WHERE conn_id = 'warehouse_loader'")
    with psycopg.connect(f"{admin}/superset", autocommit=True) as connection:
        connection.execute("DELETE FROM dashboard_slices")
        connection.execute("DELETE FROM slices")
    s3 = client(compose.settings)
    for item in s3.list_objects_v2(Bucket="curated").get("Contents", ()):
        s3.delete_object(Bucket="curated", Key=item["Key"])
    compose.must("start")
    after = snapshot(compose)
    for each in (*before["connections"], *after["connections"]):
        each.pop("description", None)
    assert after == before
    compose.must("minio", "verify")
    assert compose.rows("SELECT count(*) > 0 FROM curated.fct_sales", "reporter") == [(True,)]


class Events:
    """The dataset `events`, whose contract was dropped in, and the files that were put into it."""

    ROWS = 20_000  # enough that a file is loaded by itself

    def __init__(self, compose: Any) -> None:
        self.compose = compose
        self.put: list[str] = []

    def deliver(self, name: str) -> None:
        first = len(self.put) * self.ROWS
        lines = [f"k{n:08},{n}" for n in range(first, first + self.ROWS)]
        key, body = f"events/incoming/{name}", "\n".join(["id,n", *lines]).encode()
        client(self.compose.settings).put_object(Bucket="raw", Key=key, Body=body)
        self.put.append(f"s3://raw/{key}")

    def are_in(self) -> bool:
        """Whether every file is in the ledger and at its place."""
        query = (
            "SELECT path, rows_read, rows_inserted FROM audit.file_ingestion_log"
            " WHERE dataset = 'events' AND status = 'succeeded' AND moved_to IS NOT NULL"
        )
        try:
            found = self.compose.rows(query)
        except psycopg.OperationalError:
            return False
        return sorted(found) == [(path, self.ROWS, self.ROWS) for path in sorted(self.put)]

    def loader_waits(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'"
        return bool(self.compose.rows(query)[0][0])

    def check(self) -> None:
        """Compare rows, ledger and objects with what was put."""
        total = len(self.put) * self.ROWS
        assert self.compose.rows("SELECT count(*), count(DISTINCT id), sum(n) FROM staging.events") == [
            (total, total, total * (total - 1) // 2)
        ]
        law = "rows_read = rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged"
        assert self.compose.rows(f"SELECT count(*) FROM audit.file_ingestion_log WHERE NOT ({law})") == [(0,)]
        pages = client(self.compose.settings).get_paginator("list_objects_v2").paginate(Bucket="raw", Prefix="events/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        assert len(keys) == len(self.put)
        assert all(key.startswith("events/processed/dt=") for key in keys), keys


@pytest.fixture(scope="module")
def events(compose: Any) -> Events:
    made = Events(compose)
    made.deliver("0.csv")
    table = "SELECT to_regclass('staging.events') IS NOT NULL AND to_regclass('audit.file_ingestion_log') IS NOT NULL"
    wait_until(lambda: compose.rows(table)[0][0] and made.are_in(), "the first file", 120)
    return made


def kill(compose: Any, service: str) -> int:
    """Kill -9 what a container runs, and return its pid. `docker kill` would count as a wish that it stay down."""
    pid: int = compose.containers()[service].pid
    os.kill(pid, signal.SIGKILL)
    return pid


def is_back(compose: Any, service: str, killed: int) -> bool:
    return compose.containers()[service].pid not in (0, killed) and is_healthy(compose)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can kill what runs in a container")
@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_a_container_is_killed_during_a_load(compose: Any, events: Events, service: str) -> None:
    with suppress(psycopg.OperationalError), psycopg.connect(compose.settings.dsn("loader")) as holder:
        holder.execute("LOCK TABLE staging.events")
        events.deliver(f"{service}-a.csv")
        events.deliver(f"{service}-b.csv")
        wait_until(events.loader_waits, "a loader at the lock", 120)
        killed = kill(compose, service)
    began = time.monotonic()
    wait_until(lambda: is_back(compose, service, killed), f"{service} is healthy again", 180)
    healthy = time.monotonic() - began
    wait_until(events.are_in, f"the files after the death of {service}", 400)
    print(f"{service}: healthy after {healthy:.0f} s, files in after {time.monotonic() - began:.0f} s")  # noqa: T201
    events.check()


def test_airflows_database_is_made_anew(compose: Any) -> None:
    compose.must("airflow", "reset", "--yes")
    airflow = AirflowClient(compose.settings)
    wait_until(lambda: "build__curated" in airflow.dag_ids(), "the DAGs after the reset", 60)
    done = compose.dp("test-pipeline", "--json")
    assert json.loads(done.stdout)["problems"] == [], done.stderr


def test_down_and_up_again_keeps_the_data(compose: Any) -> None:
    before = compose.rows("SELECT count(*) FROM staging.sales")
    assert set(compose.must("down").removeprefix("stopped ").strip().split(", ")) == LONG_RUNNING
    assert not any(item.running for item in compose.containers().values())
    compose.must("start")
    assert compose.rows("SELECT count(*) FROM staging.sales") == before
    assert httpx.get(f"{compose.settings.metadata_url}/health").json() == {"status": "ok"}


def test_a_backup_comes_back(compose: Any, tmp_path: Path) -> None:
    ledger, sales = compose.rows(LEDGER), compose.rows("SELECT * FROM staging.sales ORDER BY 1")
    compose.must("backup", str(tmp_path / "taken"))
    with psycopg.connect(compose.settings.dsn("loader")) as connection:
        connection.execute("DELETE FROM staging.sales")
    for key in [item["Key"] for item in client(compose.settings).list_objects_v2(Bucket="raw")["Contents"]]:
        client(compose.settings).delete_object(Bucket="raw", Key=key)
    compose.must("restore", str(tmp_path / "taken"), "--replace")
    assert compose.rows(LEDGER) == ledger
    assert compose.rows("SELECT * FROM staging.sales ORDER BY 1") == sales
    compose.must("start")
    assert json.loads(compose.dp("test-pipeline", "--json").stdout)["problems"] == []
