"""Publication and export: exact rows, readers under load, and kills at every step. The candidates are made by hand."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3 as s3_server
from pipelines.publishing import Change, Mart, PublicationRefused, export_models, hold_back, publish
from pipelines.transformation.builds import note_by_hand

pytestmark = pytest.mark.integration

ROWS = 2000
FACT = Mart("pub_fact", incremental=True, partition_by="day", owner="sales-analytics")
TOTAL = Mart("pub_total")
MARTS = [FACT, TOTAL]
Query = Callable[..., list[tuple[Any, ...]]]


class Builder:
    """Stands in for dbt: writes candidates, and notes them as built."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings, self.dsn = settings, settings.dsn("transformer")
        self.number = 0
        self.started: dict[str, dt.datetime] = {}

    def sql(self, *statements: str, role: str = "transformer") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.dsn(role)) as connection:
            for statement in statements:
                done = connection.execute(statement)  # type: ignore[call-overload]
            return done.fetchall() if done.description else []

    def build(self, *statements: str, status: str = "success") -> str:
        """Run statements on the candidates and note a build of both marts; return its id."""
        self.number += 1
        name = f"build{self.number}"
        self.sql(
            *statements,
            "INSERT INTO audit.model_runs (build_id, unique_id, name, kind, model, status, ended_at)"
            f" SELECT '{name}', 'model.x.' || n, n, 'model', n, '{status}', clock_timestamp()"
            " FROM unnest(ARRAY['pub_fact', 'pub_total']) AS n",
        )
        return name

    def version(self, number: int) -> str:
        """Build a version of both: every row, and the one of the total, say the number."""
        return self.build(
            f"UPDATE candidate.pub_fact SET version = {number}, built_at = clock_timestamp()",
            f"UPDATE candidate.pub_total SET version = {number}",
        )

    def publish(self, build_id: str, **more: Any) -> dict[str, Change]:
        started = self.started.setdefault(build_id, dt.datetime.now(dt.UTC))
        arguments = {"build_id": build_id, "run_id": "test", "sources": {}, "started_at": started}
        return publish(self.dsn, MARTS, **{**arguments, **more}).changes

    def export(self, client: Any) -> dict[str, int]:
        return {item.model: item.files_written for item in export_models(self.dsn, client, MARTS)}


@pytest.fixture
def builder(postgres: StackSettings) -> Iterator[Builder]:
    made = Builder(postgres)
    drop = "DROP TABLE IF EXISTS candidate.pub_fact, candidate.pub_total, curated.pub_fact, curated.pub_total"
    made.sql(drop, "TRUNCATE audit.model_runs, audit.publications")
    made.sql(
        "CREATE TABLE candidate.pub_fact (id integer PRIMARY KEY, day date NOT NULL, amount numeric(10,2), word text,"
        " version integer NOT NULL, built_at timestamptz NOT NULL)",
        "CREATE INDEX ON candidate.pub_fact (day)",
        "COMMENT ON COLUMN candidate.pub_fact.word IS 'A word.'",
        "CREATE TABLE candidate.pub_total (id integer PRIMARY KEY, version integer NOT NULL, rows bigint NOT NULL)",
        f"INSERT INTO candidate.pub_fact SELECT n, date '2026-01-01' + n % 90, n * 0.01, 'w' || n, 1, clock_timestamp()"
        f" FROM generate_series(1, {ROWS}) AS n",
        f"INSERT INTO candidate.pub_total VALUES (1, 1, {ROWS})",
    )
    yield made
    made.sql(drop, "TRUNCATE audit.model_runs, audit.publications")


@pytest.fixture
def bucket(s3: StackSettings) -> Iterator[Any]:
    """A client of the object store whose bucket curated is empty."""
    client = s3_server.client(s3)

    def empty() -> None:
        for entry in client.list_objects_v2(Bucket="curated").get("Contents", ()):
            client.delete_object(Bucket="curated", Key=entry["Key"])

    empty()
    yield client
    empty()


def manifest(client: Any, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get_object(Bucket="curated", Key=f"{model}/manifest.json")["Body"].read())
    return found


def test_only_rows_that_differ_are_written(builder: Builder) -> None:
    assert builder.publish(builder.build()) == {"pub_fact": Change(inserted=ROWS), "pub_total": Change(inserted=1)}
    assert builder.sql("SELECT count(*), sum(amount) FROM curated.pub_fact", role="reporter") == [
        (ROWS, Decimal("20010.00"))
    ]
    before = dict(builder.sql("SELECT id, xmin::text FROM curated.pub_fact", role="reporter"))
    changes = builder.publish(
        builder.build(
            "UPDATE candidate.pub_fact SET word = NULL, built_at = clock_timestamp() WHERE id = 5",
            "UPDATE candidate.pub_fact SET day = '2026-07-01', built_at = clock_timestamp() WHERE id = 6",
            f"INSERT INTO candidate.pub_fact VALUES ({ROWS + 1}, '2026-05-01', 1, '', 1, clock_timestamp())",
        )
    )
    # The months of a row that moved are both touched.
    assert changes["pub_fact"] == Change(1, 2, 0, ("2026-01", "2026-05", "2026-07"))
    assert changes["pub_total"] == Change()
    after = dict(builder.sql("SELECT id, xmin::text FROM curated.pub_fact", role="reporter"))
    assert {key for key in after if after[key] != before.get(key)} == {5, 6, ROWS + 1}


def test_rows_that_left_the_candidate_leave_the_published_table(builder: Builder) -> None:
    builder.publish(builder.build())
    changes = builder.publish(builder.build("DELETE FROM candidate.pub_fact WHERE id <= 3"))
    assert changes["pub_fact"] == Change(deleted=3)
    assert builder.sql("SELECT min(id) FROM curated.pub_fact", role="reporter") == [(4,)]


def test_a_table_of_another_shape_is_made_anew_with_its_rights(builder: Builder) -> None:
    builder.publish(builder.build())
    builder.sql("GRANT UPDATE ON curated.pub_fact TO reporter")
    changes = builder.publish(builder.build("ALTER TABLE candidate.pub_fact ADD COLUMN more text DEFAULT 'x'"))
    assert changes["pub_fact"] == Change(inserted=ROWS, deleted=ROWS)
    assert builder.sql("SELECT DISTINCT more FROM curated.pub_fact", role="reporter") == [("x",)]
    assert builder.sql("SELECT has_table_privilege('reporter', 'curated.pub_fact', 'UPDATE')") == [(True,)]
    assert builder.sql("SELECT col_description('curated.pub_fact'::regclass, 4)", role="reporter") == [("A word.",)]
    assert len(builder.sql("SELECT 1 FROM pg_indexes WHERE schemaname = 'curated' AND tablename = 'pub_fact'")) == 2


def test_a_build_that_failed_is_refused_and_held_back(builder: Builder) -> None:
    builder.publish(builder.build())
    failed = builder.build("UPDATE candidate.pub_total SET version = 9", status="error")
    with pytest.raises(PublicationRefused, match="model pub_fact: error"):
        builder.publish(failed)
    arguments = {"build_id": failed, "run_id": "test", "started_at": dt.datetime.now(dt.UTC)}
    held = hold_back(builder.dsn, failed_checks=[("no_negative", "FAILED curated.pub_fact")], **arguments)  # type: ignore[arg-type]
    assert held is not None
    assert held.status == "failed"
    assert builder.sql("SELECT version FROM curated.pub_total", role="reporter") == [(1,)]
    ((status, names, is_older),) = builder.sql(
        "SELECT status, held_back_by, published_at < ended_at FROM audit.publication_latest", role="reporter"
    )
    assert (status, names, is_older) == ("failed", "no_negative", True)


def test_publishing_twice_is_publishing_once(builder: Builder) -> None:
    build = builder.build()
    first = builder.publish(build)
    assert builder.publish(build) == first
    assert builder.sql("SELECT count(*) FROM audit.publications") == [(1,)]
    started_at = builder.started[build]
    assert hold_back(builder.dsn, build_id=build, run_id="test", started_at=started_at, failed_checks=[]) is None


def test_a_run_that_is_run_again_publishes_again_or_is_held_back(builder: Builder) -> None:
    build = builder.build()
    builder.publish(build)
    builder.sql(
        "UPDATE audit.model_runs SET ended_at = clock_timestamp()", "UPDATE candidate.pub_total SET version = 2"
    )
    builder.started.pop(build)
    assert builder.publish(build)["pub_total"] == Change(updated=1)
    known = builder.sql("SELECT build_id, status FROM audit.publications ORDER BY id")
    assert [status for _, status in known] == ["published", "published"]
    assert known[1][0] == build
    assert hold_back(
        builder.dsn, build_id=build, run_id="test", started_at=dt.datetime.now(dt.UTC), failed_checks=[("x", "y")]
    ) is not None  # fmt: skip
    states = builder.sql("SELECT status FROM audit.publications ORDER BY id")
    assert states == [("published",), ("published",), ("held_back",)]


def test_what_was_built_by_hand_is_not_published(builder: Builder) -> None:
    builder.publish(builder.version(1))
    build = builder.version(2)
    builder.started[build] = dt.datetime.now(dt.UTC)
    with psycopg.connect(builder.dsn) as connection:
        note_by_hand(connection)
    with pytest.raises(PublicationRefused, match="by hand"):
        builder.publish(build)
    assert builder.sql("SELECT version FROM curated.pub_total", role="reporter") == [(1,)]


def test_tables_of_before_the_gate_are_taken_over(builder: Builder) -> None:
    """dbt wrote to curated itself, tables without a primary key and views among them."""
    builder.sql("CREATE TABLE curated.pub_fact AS SELECT 1 AS id", "CREATE VIEW curated.pub_total AS SELECT 1 AS id")
    changes = builder.publish(builder.build())
    assert changes == {"pub_fact": Change(inserted=ROWS, deleted=1), "pub_total": Change(inserted=1, deleted=1)}


def test_a_mart_without_a_key_says_what_to_do(builder: Builder) -> None:
    build = builder.build("ALTER TABLE candidate.pub_total DROP CONSTRAINT pub_total_pkey")
    with pytest.raises(Exception, match=r"candidate\.pub_total has no primary key.*constraints"):
        builder.publish(build)
    assert builder.sql("SELECT to_regclass('curated.pub_fact')") == [(None,)]


def test_readers_see_the_old_or_the_new_and_never_a_mix(builder: Builder) -> None:
    builder.publish(builder.version(1))
    stop, seen, faults = threading.Event(), set[int](), list[str]()

    def read(repeatable: bool) -> None:
        try:
            with psycopg.connect(builder.settings.dsn("reporter"), autocommit=True) as connection:
                while not stop.is_set():
                    if repeatable:
                        with connection.transaction():
                            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                            fact = connection.execute(_FACT).fetchone()
                            total = connection.execute("SELECT version, rows FROM curated.pub_total").fetchone()
                    else:
                        row = connection.execute(_BOTH).fetchone()
                        assert row is not None
                        fact, total = row[:3], row[3:]
                    assert fact is not None
                    assert total is not None
                    if fact != (total[0], total[0], total[1]):
                        faults.append(f"{fact} {total}")
                    seen.add(total[0])
        except Exception as error:
            faults.append(repr(error))

    readers = [threading.Thread(target=read, args=(number % 2 == 0,)) for number in range(4)]
    for reader in readers:
        reader.start()
    for version in range(2, 22):
        builder.publish(builder.version(version))
    # A table of a new shape while it is read: the names lead to the old table until the commit.
    build = builder.build("ALTER TABLE candidate.pub_total ADD COLUMN note text")
    before = len(faults)
    builder.publish(build)
    time.sleep(0.2)
    stop.set()
    for reader in readers:
        reader.join()
    # Who began a transaction before a table was made anew may find it empty: that is Postgres' word on DDL.
    assert [fault for fault in faults[:before]] == []
    assert [fault for fault in faults[before:] if "None" not in fault and "AssertionError" not in fault] == []
    assert len(seen) > 5


_FACT = "SELECT min(version), max(version), count(*) FROM curated.pub_fact"
_BOTH = f"SELECT f.*, t.version, t.rows FROM ({_FACT}) AS f, curated.pub_total AS t"

_KILLED = """
import datetime as dt, os, signal, sys
from pipelines.publishing import Mart, export_models, publish
dsn, build, what, deadly = sys.argv[1:5]
marts = [Mart("pub_fact", incremental=True, partition_by="day"), Mart("pub_total")]
steps = []
def before(step):
    if len(steps) == int(deadly):
        os.kill(os.getpid(), signal.SIGKILL)
    steps.append(step)
if what == "publish":
    now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    publish(dsn, marts, build_id=build, run_id="t", sources={}, started_at=now, before_commit=before)
else:
    from pipelines.ingestion.objects import s3_client
    export_models(dsn, s3_client(*sys.argv[5:8]), marts, before=before)
print(" ".join(step.split(" ")[0] for step in steps))
"""


def run_killed(*arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode, done.stdout.split()


def test_a_publication_killed_at_any_step_publishes_nothing(builder: Builder) -> None:
    builder.publish(builder.version(1))
    build = builder.version(2)
    for step in range(20):
        code, steps = run_killed(builder.dsn, build, "publish", str(step))
        versions = builder.sql(f"SELECT min(version), max(version), {ROWS} = count(*) FROM curated.pub_fact")
        totals = builder.sql("SELECT version FROM curated.pub_total", role="reporter")
        if code == 0:
            break
        assert (versions, totals) == ([(1, 1, True)], [(1,)]), f"killed at step {step}"
    assert steps == ["pub_fact", "pub_total", "record", "commit"]
    assert (versions, totals) == ([(2, 2, True)], [(2,)])


def test_an_export_killed_at_any_step_leaves_a_whole_version(builder: Builder, bucket: Any, s3: StackSettings) -> None:
    builder.publish(builder.version(1))
    builder.export(bucket)
    builder.publish(builder.version(2))
    access = (s3.s3_endpoint, s3.minio_root_user, s3.minio_root_password.get_secret_value())
    for step in range(40):
        code, steps = run_killed(builder.dsn, "", "export", str(step), *access)
        assert read_back(bucket, "pub_fact", "min(version) = max(version), count(*)") == (True, ROWS), step
        if code == 0:
            break
    assert {"file", "manifest", "clean"} <= set(steps)
    assert read_back(bucket, "pub_fact", "min(version), max(version)") == (2, 2)
    assert read_back(bucket, "pub_total", "min(version)") == (2,)
    # What a killed export left behind went with the next.
    builder.publish(builder.version(3))
    builder.export(bucket)
    builder.publish(builder.version(4))
    builder.export(bucket)
    kept = {f"s3://curated/{entry['Key']}" for entry in bucket.list_objects_v2(Bucket="curated")["Contents"]}
    assert len([path for path in kept if "/pub_fact/data/" in path]) == 2 * 3  # two versions of three months


def read_back(client: Any, model: str, figures: str) -> tuple[Any, ...]:
    """Return figures of an exported model, read by its manifest as a user would."""
    import tempfile
    from pathlib import Path

    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, file in enumerate(manifest(client, model)["files"]):
            path = Path(folder) / f"{number}.parquet"
            client.download_file("curated", file["path"].removeprefix("s3://curated/"), str(path))
            paths.append(str(path))
        row = duckdb.execute(f"SELECT {figures} FROM read_parquet({paths})").fetchone()
    assert row is not None
    return row


def test_an_export_writes_the_months_that_changed(builder: Builder, bucket: Any) -> None:
    import pyarrow.parquet as pq

    builder.publish(builder.build())
    assert builder.export(bucket) == {"pub_fact": 3, "pub_total": 1}
    first = {file["partition"]: file["path"] for file in manifest(bucket, "pub_fact")["files"]}
    assert builder.export(bucket) == {}
    builder.publish(
        builder.build(
            "UPDATE candidate.pub_fact SET word = '', built_at = clock_timestamp() WHERE id = 1",
            "UPDATE candidate.pub_fact SET word = NULL, built_at = clock_timestamp() WHERE id = 2",
            "UPDATE candidate.pub_fact SET word = 'a \"b\", c' || chr(10) || 'd', built_at = clock_timestamp()"
            " WHERE id = 3",
        )
    )
    assert builder.export(bucket) == {"pub_fact": 1}
    second = {file["partition"]: file["path"] for file in manifest(bucket, "pub_fact")["files"]}
    assert {month for month in second if second[month] != first[month]} == {"2026-01"}
    body = bucket.get_object(Bucket="curated", Key=second["2026-01"].removeprefix("s3://curated/"))["Body"].read()
    import io

    table = pq.read_table(io.BytesIO(body))
    words = dict(zip(table["id"].to_pylist(), table["word"].to_pylist(), strict=True))
    assert (words[1], words[2], words[3]) == ("", None, 'a "b", c\nd')
    assert str(table.schema.field("amount").type) == "decimal128(10, 2)"
    assert str(table.schema.field("day").type) == "date32[day]"
