"""Spark reads what is exported to `curated`, in place, as the documentation says."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataplatform_cli.bench.maven import class_path
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3 as s3_server
from pipelines.publishing import Mart, export_models, publish

SPARK = ("org.apache.spark:spark-sql_2.13:4.0.1", "org.apache.hadoop:hadoop-aws:3.4.1")
# Spark's own launcher opens these.
OPEN = ("java.nio", "java.lang", "java.lang.invoke", "java.util", "java.net", "sun.nio.ch", "sun.util.calendar")
MART = Mart("spark_fact", incremental=True, partition_by="day")
FILL = """
CREATE TABLE candidate.spark_fact (id integer PRIMARY KEY, day date NOT NULL, amount numeric(16,2), word text,
    noticed timestamptz, built_at timestamptz NOT NULL);
INSERT INTO candidate.spark_fact SELECT n, date '2026-01-01' + n % 90, n * 0.01, nullif('ö ' || n % 10, 'ö 0'),
    timestamptz '2026-01-01 12:00+00' + n * interval '1 s', now() FROM generate_series(1, 2000) AS n;
INSERT INTO audit.model_runs (build_id, unique_id, name, kind, model, status, ended_at)
    VALUES ('spark', 'model.x.spark_fact', 'spark_fact', 'model', 'spark_fact', 'success', clock_timestamp())
"""
EMPTY = "DROP TABLE IF EXISTS candidate.spark_fact, curated.spark_fact; TRUNCATE audit.model_runs, audit.publications"


@pytest.fixture
def files(postgres: StackSettings, s3: StackSettings) -> Iterator[list[str]]:
    """The files of an exported mart, as its manifest has them."""
    if "DP_TEST_PEERS" not in os.environ or os.environ.get("DP_TEST_S3") != "minio":
        pytest.skip("`make test-peers` runs it, on MinIO: Spark reads parts of objects")
    dsn, client = postgres.dsn("transformer"), s3_server.client(s3)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(EMPTY)
        connection.execute(FILL)
        publish(dsn, [MART], build_id="spark", run_id="test", sources={}, started_at=dt.datetime.now(dt.UTC))
        export_models(dsn, client, [MART])
        manifest = json.load(client.get_object(Bucket="curated", Key="spark_fact/manifest.json")["Body"])
        yield [file["path"] for file in manifest["files"]]
        connection.execute(EMPTY)


def read(settings: StackSettings, files: list[str], *columns: str) -> list[dict[str, Any]]:
    """Return columns of the files, read in place by Spark."""
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.hadoop.fs.s3a.endpoint": settings.s3_endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }
    credentials = {
        "AWS_ACCESS_KEY_ID": settings.minio_root_user,
        "AWS_SECRET_ACCESS_KEY": settings.minio_root_password.get_secret_value(),
    }
    command = [
        "java",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPEN),
        *(f"-D{name}={value}" for name, value in options.items()),
        *("-cp", class_path("Spark", *SPARK), str(Path(__file__).with_name("Read.java"))),
        *("s3a://curated/spark_fact/data", ";".join(columns)),
        *(file.replace("s3://", "s3a://") for file in files),
    ]
    done = subprocess.run(command, env=os.environ | credentials, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_spark_reads_the_partitions_in_place(files: list[str], s3: StackSettings) -> None:
    rows = read(
        s3,
        files,
        *("count(*) AS rows", "sum(amount) AS amount", "typeof(any_value(amount)) AS type", "count(word) AS words"),
        *("max(word) AS word", "max(noticed) AS noticed", "typeof(any_value(day)) AS day"),
        "concat_ws(' ', array_sort(collect_set(day_month))) AS months",
        "count_if(date_format(day, 'yyyy-MM') <> day_month) AS elsewhere",
    )
    assert rows == [
        {
            "rows": 2000,
            "amount": 20010.00,
            "type": "decimal(16,2)",
            "words": 1800,
            "word": "ö 9",
            "noticed": "2026-01-01T12:33:20.000Z",
            "day": "date",
            "months": "2026-01 2026-02 2026-03",
            "elsewhere": 0,
        }
    ]
