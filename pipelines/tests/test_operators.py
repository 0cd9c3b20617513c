"""The operators and sensors that DAG authors use, each run by Airflow against real services."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataplatform_cli.settings import StackSettings
from pipelines.ingestion.objects import ObjectStore

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from pipelines.tests.conftest import MetadataService, Run

pytestmark = pytest.mark.integration

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def dag(airflow: StackSettings, request: pytest.FixtureRequest) -> DAG:
    """An empty DAG of the test's own."""
    from airflow.sdk import DAG

    return DAG(request.node.name.replace("[", "_").replace("]", ""), schedule=None, params={"day": "2026-01-02"})


@pytest.fixture
def prefix(store: ObjectStore, request: pytest.FixtureRequest) -> Iterator[str]:
    """A folder of the test's own in the bucket curated, emptied afterwards."""
    name = f"{request.node.name}/"
    yield name
    for entry in list(store.list("curated", name)):
        store.client.delete_object(Bucket="curated", Key=entry.uri.split("/", 3)[3])


def content(store: ObjectStore, key: str) -> bytes:
    body: bytes = store.client.get_object(Bucket="curated", Key=key)["Body"].read()
    return body


def test_upload(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, prefix: str, tmp_path: Path, metadata: MetadataService
) -> None:
    from pipelines.operators import MinIOUploadOperator

    file = tmp_path / "export.csv"
    file.write_bytes(b"a,b\n1,2\n")
    with dag:
        common = {"bucket": "curated"}
        MinIOUploadOperator(task_id="file", key=prefix + "{{ params.day }}.csv", source=str(file), **common)
        MinIOUploadOperator(task_id="text", key=prefix + "text", data="{{ params.day }} äöü", **common)
        MinIOUploadOperator(task_id="bytes", key=prefix + "bytes", data=b"\x00\xff{{ no template }}", **common)
        MinIOUploadOperator(task_id="empty", key=prefix + "empty", data="", **common)
        MinIOUploadOperator(task_id="missing", key=prefix + "missing", source=str(tmp_path / "no.csv"), **common)
    done = run(dag)
    assert done.states == {"file": "success", "text": "success", "bytes": "success", "empty": "success",
                           "missing": "failed"}  # fmt: skip
    assert done.result("file") == f"s3://curated/{prefix}2026-01-02.csv"
    assert content(store, f"{prefix}2026-01-02.csv") == b"a,b\n1,2\n"
    assert content(store, f"{prefix}text") == "2026-01-02 äöü".encode()
    assert content(store, f"{prefix}bytes") == b"\x00\xff{{ no template }}"
    assert content(store, f"{prefix}empty") == b""
    assert store.find(f"s3://curated/{prefix}missing") is None
    error = metadata.get(f"/runs/{done.lineage_id('missing')}")["error_message"]
    assert f"there is no file {tmp_path / 'no.csv'} to upload to s3://curated/{prefix}missing" in error
    written = metadata.dataset("s3://curated", f"{prefix}2026-01-02.csv")
    graph = metadata.get(f"/datasets/{written['id']}/lineage", direction="upstream")
    assert str(file) in {node["name"] for node in graph["nodes"]}


@pytest.mark.parametrize("given", [{}, {"source": "/a", "data": "b"}])
def test_upload_takes_a_file_or_data(airflow: StackSettings, given: dict[str, str]) -> None:
    from pipelines.operators import MinIOUploadOperator

    with pytest.raises(ValueError, match=r"put: give either source \(a path\) or data"):
        MinIOUploadOperator(task_id="put", bucket="curated", key="k", **given)


def test_file_sensor(dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, prefix: str) -> None:
    from pipelines.operators import MinIOFileSensorOperator

    for name in ("2026-01-02_a.csv", "2026-01-02_b.csv", "2026-01-03.csv", "2026-01-02.txt"):
        store.client.put_object(Bucket="curated", Key=prefix + name, Body=b"x")
    arriving = threading.Timer(
        2, lambda: store.client.put_object(Bucket="curated", Key=f"{prefix}late/f.csv", Body=b"x")
    )
    with dag:
        common: dict[str, Any] = {"bucket": "curated", "poke_interval": 0.2, "timeout": 20}
        MinIOFileSensorOperator(
            task_id="there", prefix=prefix, pattern="{{ params.day }}*.csv", minimum=2, **common
        ) >> MinIOFileSensorOperator(
            task_id="too_few", prefix=prefix, pattern="2026-01-02*.csv", minimum=3, **{**common, "timeout": 0.5}
        )
        MinIOFileSensorOperator(task_id="there_at_once", prefix=prefix, minimum=4, deferrable=True, **common)
        MinIOFileSensorOperator(task_id="waits", prefix=f"{prefix}late/", deferrable=True, **common)
        MinIOFileSensorOperator(task_id="no_bucket", **{**common, "bucket": "nowhere"})
    arriving.start()
    done = run(dag)
    arriving.join()
    assert done.states == {"there": "success", "too_few": "failed", "there_at_once": "success", "waits": "success",
                           "no_bucket": "failed"}  # fmt: skip
    assert done.result("there") == [f"{prefix}2026-01-02_a.csv", f"{prefix}2026-01-02_b.csv"]
    assert len(done.result("there_at_once")) >= 4
    assert done.result("waits") == [f"{prefix}late/f.csv"]


def test_file_sensor_asks_for_one_file_at_least(airflow: StackSettings) -> None:
    from pipelines.operators import MinIOFileSensorOperator

    with pytest.raises(ValueError, match="minimum has to be at least 1, not 0"):
        MinIOFileSensorOperator(task_id="wait", bucket="curated", minimum=0)


def test_table_sensor(dag: DAG, run: Callable[[DAG], Run], query: Query) -> None:
    from pipelines.operators import PostgresTableSensorOperator

    schema, table = 'Odd "schema', "we'ird; Table"
    quoted = '"Odd ""schema"'
    query(f"CREATE SCHEMA {quoted}", "transformer")
    query(f'CREATE TABLE {quoted}."{table}" AS SELECT generate_series(1, 5)', "transformer")
    arriving = threading.Timer(2, lambda: query(f"CREATE TABLE {quoted}.late AS SELECT 1", "transformer"))
    try:
        with dag:
            common: dict[str, Any] = {"schema": schema, "poke_interval": 0.2, "timeout": 20}
            short = {**common, "timeout": 0.5}
            PostgresTableSensorOperator(task_id="there", table=table, **common)
            PostgresTableSensorOperator(task_id="rows", table=table, minimum_rows=3, **common)
            PostgresTableSensorOperator(task_id="too_few", table=table, minimum_rows=6, **short)
            PostgresTableSensorOperator(task_id="absent", table="absent", **short)
            PostgresTableSensorOperator(task_id="unquoted", table="we'ird", **short)
            PostgresTableSensorOperator(task_id="at_once", table=table, minimum_rows=5, deferrable=True, **common)
            PostgresTableSensorOperator(task_id="waits", table="late", minimum_rows=1, deferrable=True, **common)
        arriving.start()
        done = run(dag)
        arriving.join()
    finally:
        query(f"DROP SCHEMA {quoted} CASCADE", "transformer")
    assert done.states == {"there": "success", "rows": "success", "too_few": "failed", "absent": "failed",
                           "unquoted": "failed", "at_once": "success", "waits": "success"}  # fmt: skip
    assert [done.result(task) for task in ("there", "rows", "at_once", "waits")] == [0, 3, 5, 1]


def test_table_sensor_counts_no_less_than_nothing(airflow: StackSettings) -> None:
    from pipelines.operators import PostgresTableSensorOperator

    with pytest.raises(ValueError, match="minimum_rows can't be negative, it is -1"):
        PostgresTableSensorOperator(task_id="wait", table="t", minimum_rows=-1)


@pytest.fixture
def bad_connections(postgres: StackSettings, s3: StackSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections with a wrong key, a wrong password, and to places where nobody answers."""
    key = s3.minio_root_user
    address, port = s3.loopback, postgres.postgres_port

    def store(secret: str, endpoint: str) -> str:
        extra = {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}},
        }
        return json.dumps({"conn_type": "aws", "login": key, "password": secret, "extra": extra})

    for name, value in {
        "WRONG_KEY": store("wrong-secret", s3.s3_endpoint),
        "STORE_AWAY": store("any", "http://127.0.0.1:9"),
        "WRONG_PASSWORD": f"postgres://loader:wrong@{address}:{port}/warehouse",
        "NO_DATABASE": f"postgres://loader:{postgres.password('loader')}@{address}:{port}/nowhere",
        "POSTGRES_AWAY": "postgres://loader:x@127.0.0.1:9/warehouse",
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value)


def test_failures_say_what_is_wrong_and_how_to_mend_it(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, prefix: str, query: Query, bad_connections: None
) -> None:
    from pipelines.operators import (
        DataQualityCheckOperator,
        MinIOFileSensorOperator,
        MinIOUploadOperator,
        PostgresTableSensorOperator,
    )

    query("CREATE SCHEMA hidden CREATE TABLE secret (n int)", "transformer")
    store.client.put_object(Bucket="curated", Key=f"{prefix}there", Body=b"first")
    check = [{"name": "c", "dataset": "staging.x", "query": "SELECT 0"}]
    soon: dict[str, Any] = {"poke_interval": 0.1, "timeout": 0.3}
    with dag:
        put: dict[str, Any] = {"bucket": "curated", "key": f"{prefix}k", "data": "x", "retries": 2}
        MinIOUploadOperator(task_id="no_bucket", **{**put, "bucket": "nowhere"})
        MinIOUploadOperator(task_id="no_connection", aws_conn_id="mino", **put)
        MinIOUploadOperator(task_id="wrong_key", aws_conn_id="wrong_key", **put)
        MinIOUploadOperator(task_id="away", aws_conn_id="store_away", **put)
        MinIOUploadOperator(task_id="other", replace=False, **{**put, "key": f"{prefix}there", "data": "second"})
        MinIOUploadOperator(task_id="same", replace=False, **{**put, "key": f"{prefix}there", "data": "first"})
        MinIOUploadOperator(task_id="new", replace=False, **{**put, "key": f"{prefix}new"})
        MinIOFileSensorOperator(task_id="s_no_bucket", bucket="nowhere", **soon)
        MinIOFileSensorOperator(task_id="s_deferred", bucket="nowhere", deferrable=True, **soon)
        MinIOFileSensorOperator(task_id="s_late", bucket="curated", prefix=prefix, minimum=9, **soon)
        PostgresTableSensorOperator(task_id="t_late", schema="no", table="t", **soon)
        PostgresTableSensorOperator(task_id="t_password", table="t", postgres_conn_id="wrong_password", **soon)
        PostgresTableSensorOperator(task_id="t_database", table="t", postgres_conn_id="no_database", **soon)
        PostgresTableSensorOperator(task_id="t_away", table="t", postgres_conn_id="postgres_away", **soon)
        PostgresTableSensorOperator(task_id="t_none", table="t", postgres_conn_id="warehuose", **soon)
        hidden: dict[str, Any] = {"schema": "hidden", "table": "secret", "minimum_rows": 1}
        PostgresTableSensorOperator(task_id="t_hidden", postgres_conn_id="warehouse_reporter", **hidden, **soon)
        DataQualityCheckOperator(task_id="q_password", checks=check, postgres_conn_id="wrong_password", retries=2)
        DataQualityCheckOperator(task_id="q_none", checks=check, postgres_conn_id="warehuose", retries=2)
    try:
        done = run(dag)
    finally:
        query("DROP SCHEMA hidden CASCADE", "transformer")
    states = done.states
    assert {label for label, state in states.items() if state == "success"} == {"same", "new"}
    assert content(store, f"{prefix}there") == b"first"
    where = "pipelines/config/connections.yaml"
    for task, told in {
        "no_bucket": f"uploading s3://nowhere/{prefix}k: there is no",
        "no_connection": f"there is no connection 'mino'; add it to {where}, or name one that is there",
        "wrong_key": "the object store refuses the key of the connection 'wrong_key'; mend it in .env",
        "away": "the object store does not answer",
        "other": f"s3://curated/{prefix}there is there already, with other content, and replace is False",
        "s_no_bucket": "looking for s3://nowhere/*: there is no",
        "s_deferred": "looking for s3://nowhere/*: there is no",
        "s_late": f" of 9 objects came to s3://curated/{prefix}* within 0.3 s",
        "t_late": "no.t was not ready within 0.3 s: there is no such table",
        "t_password": "Postgres refuses the password of the connection 'wrong_password'; mend it in .env",
        "t_database": f"database \"nowhere\" does not exist); mend the connection 'no_database' in {where}",
        "t_away": "Postgres does not answer",
        "t_none": "there is no connection 'warehuose'",
        "t_hidden": "the role of the connection 'warehouse_reporter' may not do this: permission denied",
        "q_password": "checking: Postgres refuses the password of the connection 'wrong_password'",
        "q_none": "checking: there is no connection 'warehuose'",
    }.items():
        assert told in done.errors[task], done.errors[task]
        assert "wrong-secret" not in done.errors[task]
    # What trying again can't mend is not tried again; what it may mend is.
    tries = {label: done.task(label).try_number for label in states}
    assert {label for label, number in tries.items() if number > 1} == {"away"}


def test_sensors_name_their_inputs_in_lineage(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, prefix: str, metadata: MetadataService, query: Query
) -> None:
    from pipelines.operators import MinIOFileSensorOperator, PostgresTableSensorOperator

    store.client.put_object(Bucket="curated", Key=f"{prefix}a.csv", Body=b"x")
    query("CREATE TABLE intermediate.waited_for AS SELECT 1", "transformer")
    try:
        with dag:
            MinIOFileSensorOperator(task_id="file", bucket="curated", prefix=prefix)
            PostgresTableSensorOperator(task_id="table", schema="intermediate", table="waited_for", deferrable=True)
        done = run(dag)
    finally:
        query("DROP TABLE intermediate.waited_for", "transformer")
    assert set(done.states.values()) == {"success"}, done.errors
    inputs = {
        task: [item["dataset"]["name"] for item in metadata.get(f"/runs/{done.lineage_id(task)}")["inputs"]]
        for task in ("file", "table")
    }
    assert inputs == {"file": [f"{prefix}a.csv"], "table": ["warehouse.intermediate.waited_for"]}


def test_checks_take_every_kind_of_limit(dag: DAG, run: Callable[[DAG], Run], query: Query, tmp_path: Path) -> None:
    from pipelines.operators import DataQualityCheckOperator

    def check(name: str, value: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "dataset": "staging.x", "query": f"SELECT {value}", "severity": "warn"} | more

    checks = [
        check("at_least", 5, must_be_at_least=5), check("at_most", 6, must_be_at_most=5),
        check("between", 3, must_be_between=[1, 3]), check("outside", 3, must_not_be_between=[1, 3]),
        check("more", 2, must_be_greater_than=1), check("less", 2, must_be_less_than=2), check("not", 1, must_not_be=1),
        check("sampled", 1, failing="SELECT 7 AS id", column="id", dimension="validity"),
    ]  # fmt: skip
    with dag:
        DataQualityCheckOperator(task_id="limits", checks=checks)
        DataQualityCheckOperator(task_id="two", checks=[check("two", 1, must_be=1, must_be_at_most=2)])
        DataQualityCheckOperator(task_id="one_bound", checks=[check("one", 1, must_be_between=3)])
    done = run(dag)
    assert done.states == {"limits": "success", "two": "failed", "one_bound": "failed"}
    found = dict(query("SELECT check_name, status FROM audit.check_results"))
    assert found == {"at_least": "passed", "at_most": "failed", "between": "passed", "outside": "failed",
                     "more": "passed", "less": "failed", "not": "failed", "sampled": "failed"}  # fmt: skip
    assert query("SELECT sample, column_name FROM audit.check_results WHERE check_name = 'sampled'") == [
        ([{"id": 7}], "id")
    ]
    assert "two: give one of must_be and must_be_at_most, not both" in done.errors["two"]
    assert "one: must_be_between takes two values, as [1, 10], not 3" in done.errors["one_bound"]
    query("DROP TABLE audit.check_results", "transformer")


def test_quality_checks_stop_by_severity(
    dag: DAG, run: Callable[[DAG], Run], query: Query, metadata: MetadataService, tmp_path: Path, contracts: Path
) -> None:
    from pipelines.operators import DataQualityCheckOperator

    def check(name: str, **more: Any) -> list[dict[str, Any]]:
        return [{"name": name, "dataset": "staging.orders", "query": "SELECT 1"} | more]

    (tmp_path / "bad.sql").write_text("-- datasset: a.b\nselect 1")
    (tmp_path / "none").mkdir()
    with dag:
        DataQualityCheckOperator(task_id="passed", checks=check("one_is_one", must_be=1))
        DataQualityCheckOperator(task_id="warned", checks=check("w", severity="warn"))
        DataQualityCheckOperator(task_id="failed", checks=check("e"), retries=3)
        DataQualityCheckOperator(task_id="stopped", checks=check("c", severity="critical"), retries=3)
        DataQualityCheckOperator(task_id="broken", checks=check("b", query="SELECT 1 FROM no_table"))
        day = check("t", query="SELECT '{{ params.day }}'", must_be="2026-01-02")
        DataQualityCheckOperator(task_id="templated", checks=day)
        DataQualityCheckOperator(task_id="nothing", folder=str(tmp_path / "none"), retries=3)
        DataQualityCheckOperator(task_id="misspelt", checks=check("m", severty="warn"), retries=3)
        DataQualityCheckOperator(task_id="bad_file", folder=str(tmp_path), retries=3)
        # No file of the contract's dataset has come: that is no failure.
        DataQualityCheckOperator(task_id="too_early", contracts=str(contracts))
    done = run(dag)
    assert done.states == {
        "passed": "success", "warned": "success", "failed": "failed", "stopped": "failed", "broken": "failed",
        "templated": "success", "nothing": "failed", "misspelt": "failed", "bad_file": "failed", "too_early": "success",
    }  # fmt: skip
    assert {done.task(label).try_number for label in done.states} == {1}
    assert done.result("warned") == {"failed": 1}
    assert set(done.result("too_early")) == {"skipped"}

    def message(task: str) -> str:
        return str(metadata.get(f"/runs/{done.lineage_id(task)}")["error_message"])

    assert "FAILED staging.orders e (error): measured 1, expected = 0" in message("failed")
    assert "critical checks failed, so the run stops here" in message("stopped")
    assert 'ERROR staging.orders b (error): relation "no_table" does not exist' in message("broken")
    assert "nothing: there is nothing to check" in message("nothing")
    assert "m: 'severty' is no fact of a check; did you mean 'severity'?" in message("misspelt")
    assert "bad.sql, line 1: 'datasset' is no fact of a check; did you mean 'dataset'?" in message("bad_file")
    recorded = "SELECT status, measured FROM audit.check_results WHERE run_id = '{}'"
    assert query(recorded.format(done.lineage_id("stopped"))) == [("failed", 1)]
    assert query(recorded.format(done.lineage_id("broken"))) == [("error", None)]
    query("DROP TABLE audit.check_results", "transformer")


def test_checks_read_other_schemas_and_are_those_that_were_asked_for(
    dag: DAG, run: Callable[[DAG], Run], query: Query, metadata: MetadataService, contracts: Path
) -> None:
    from pipelines.operators import DataQualityCheckOperator, MonitorOperator

    two = {"name": "two", "dataset": "curated.things", "query": "SELECT count(*) FROM curated.things", "must_be": 2}
    query("CREATE SCHEMA beside CREATE VIEW things AS SELECT generate_series(1, 2) AS n", "transformer")
    try:
        with dag:
            DataQualityCheckOperator(task_id="beside", checks=[two], schemas={"curated": "beside"})
            DataQualityCheckOperator(task_id="unknown", contracts=str(contracts), datasets=["salse"], retries=3)
            DataQualityCheckOperator(task_id="twice", checks=[two, two], retries=3)
            MonitorOperator(task_id="monitors", contracts=str(contracts))
        done = run(dag)
    finally:
        query("DROP SCHEMA beside CASCADE", "transformer")
    assert done.states == {"beside": "success", "unknown": "failed", "twice": "failed", "monitors": "success"}
    assert query("SELECT dataset, status FROM audit.check_results WHERE check_name = 'two'") == [
        ("curated.things", "passed")
    ]
    assert "there is no usable contract for salse: see `dp contract lint`" in done.errors["unknown"]
    assert "more than one is curated.things two" in done.errors["twice"]
    query("DROP TABLE audit.check_results", "transformer")


def test_a_failure_for_good_is_told_with_owner_and_place(
    dag: DAG, run: Callable[[DAG], Run], caplog: pytest.LogCaptureFixture
) -> None:
    from pipelines.operators import DataQualityCheckOperator
    from pipelines.utils.defaults import default_args

    with dag:
        DataQualityCheckOperator(task_id="bad", checks=[{"name": "x"}], **default_args(owner="sales-analytics"))
    run(dag)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "pipelines.alerts"]
    assert f"{dag.dag_id}.bad failed; reason: x: dataset is missing; owner: sales-analytics; run: " in told
    assert "; log: http://" in told


def test_only_what_is_asked_for_is_imported(airflow: StackSettings) -> None:
    import pipelines.operators

    assert all(getattr(pipelines.operators, name).__name__ == name for name in pipelines.operators.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = pipelines.operators.Nothing
