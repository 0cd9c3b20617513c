"""Checks on the sales tables, every day: what has to hold, how bad it is if not, and what follows.

What to learn here:

- a check measures one value with a query and holds it against a limit
- `severity` decides: `warn` is noted, `error` and `critical` fail the task and alert the owner; it is not tried again,
  since the data will not be better in a minute
- every result is kept in `audit.check_results` and in the catalog, with SQL, measured value and limit
- rules of one dataset belong into its contract, where ingestion sees them too; here is what spans tables

It is paused until someone wants it: switch it on in Airflow, or `dp dag run` it.
"""

import datetime as dt

from airflow.sdk import dag, task

from pipelines.operators import DataQualityCheckOperator, PostgresTableSensorOperator


@dag(
    schedule="0 7 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    is_paused_upon_creation=True,
    tags=["example", "quality", "sales"],
    default_args={"owner": "sales-analytics"},
    doc_md=__doc__,
)
def example_data_quality() -> None:
    wait = PostgresTableSensorOperator(
        task_id="wait_for_sales",
        schema="curated",
        table="fct_sales",
        minimum_rows=1,
        poke_interval=10,
        timeout=60,
        soft_fail=True,
        deferrable=True,
    )
    checks = DataQualityCheckOperator(
        task_id="check_sales",
        checks=[
            {
                "name": "sales_have_known_products",
                "dataset": "curated.fct_sales",
                "dimension": "consistency",
                "severity": "warn",
                "query": """
                    SELECT count(*) FROM curated.fct_sales
                    LEFT JOIN curated.dim_product USING (product_id) WHERE dim_product.product_id IS NULL
                """,
                "must_be": 0,
                # A sample of the rows that break the rule is kept beside the result.
                "failing": """
                    SELECT sale_id, product_id FROM curated.fct_sales
                    LEFT JOIN curated.dim_product USING (product_id) WHERE dim_product.product_id IS NULL
                """,
            },
            {
                "name": "no_sale_is_in_the_future",
                "dataset": "curated.fct_sales",
                "dimension": "accuracy",
                "severity": "error",
                "query": "SELECT count(*) FROM curated.fct_sales WHERE sale_date > current_date",
                "must_be": 0,
            },
            {
                "name": "an_average_sale_is_plausible",
                "dataset": "curated.fct_sales",
                "dimension": "accuracy",
                "severity": "warn",
                "query": "SELECT avg(total_amount) FROM curated.fct_sales",
                "must_be_between": [1, 10_000],
            },
            {
                "name": "the_daily_sums_are_complete",
                "dataset": "curated.agg_revenue_daily",
                "dimension": "completeness",
                "severity": "critical",
                "query": """
                    SELECT (SELECT sum(revenue) FROM curated.agg_revenue_daily)
                         - (SELECT sum(total_amount) FROM curated.fct_sales)
                """,
                "must_be": 0,
            },
        ],
    )

    @task
    def publish(counts: dict[str, int]) -> str:
        """Only data that passed comes this far: a failed check of severity error or critical stops the run above."""
        return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))

    wait >> checks
    publish(checks.output)


example_data_quality()
