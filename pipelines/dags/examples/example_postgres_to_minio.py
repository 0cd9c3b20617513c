"""A report from the warehouse as a file in the bucket: the revenue of the week before a day, every morning.

What to learn here:

- wait for data with a sensor, in the triggerer (`deferrable`): it takes no worker while it waits
- read with the provider's SQL operator: lineage knows the tables and columns without a word
- name the object by the run's day and replace it: running a day again gives the same one file
- no data yet is no failure: with `soft_fail` the run is skipped

It is paused until someone wants it: switch it on in Airflow, or `dp dag run` it.
"""

import datetime as dt

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import Param, dag, task

from pipelines.operators import MinIOFileSensorOperator, MinIOUploadOperator, PostgresTableSensorOperator

# `run_after` is there in every run, also in those started by hand.
DAY = "{{ params.day or (dag_run.run_after | ds) }}"
FOLDER = "exports/weekly_revenue/"


@dag(
    schedule="0 6 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    is_paused_upon_creation=True,
    tags=["example", "sales"],
    default_args={"owner": "sales-analytics"},
    params={"day": Param(None, type=["null", "string"], format="date", description="Another day than the run's.")},
    doc_md=__doc__,
)
def example_postgres_to_minio() -> None:
    table = PostgresTableSensorOperator(
        task_id="wait_for_table",
        schema="curated",
        table="agg_revenue_daily",
        minimum_rows=1,
        postgres_conn_id="warehouse_reporter",
        poke_interval=10,
        timeout=60,
        soft_fail=True,
        deferrable=True,
    )
    read = SQLExecuteQueryOperator(
        task_id="read",
        conn_id="warehouse_reporter",
        # In the text and not bound: lineage can't read placeholders. Airflow has made sure that it is a date.
        sql=f"""
            SELECT sale_date::text, sales, quantity, revenue::text
            FROM curated.agg_revenue_daily
            WHERE sale_date > date '{DAY}' - 7 AND sale_date <= date '{DAY}'
            ORDER BY sale_date
        """,
    )

    @task
    def to_csv(rows: list[list[object]]) -> str:
        """Rows go from task to task through Airflow's database: fine for hundreds, not for millions."""
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["sale_date", "sales", "quantity", "revenue"])
        writer.writerows(rows)
        return text.getvalue()

    upload = MinIOUploadOperator(
        task_id="upload", bucket="curated", key=f"{FOLDER}dt={DAY}.csv", data=to_csv(read.output)
    )
    # Who reads the file waits for it in the same way, in another DAG.
    arrived = MinIOFileSensorOperator(
        task_id="wait_for_file", bucket="curated", prefix=FOLDER, pattern=f"dt={DAY}.csv", poke_interval=5, timeout=60
    )
    table >> read
    upload >> arrived


example_postgres_to_minio()
