"""Look after the warehouse as it is published, every hour and whenever it is triggered.

monitors                                       what was loaded since the last look, beside what is usual
published ─▶ sql_checks, great_expectations    contracts, SQL checks and suites, once anything has been published

The gate of `build__curated` checks what is about to be published; this finds what goes wrong without a build, such as
data that no longer comes.
"""

from airflow.sdk import dag, task

from pipelines.config.settings import get_settings
from pipelines.operators import DataQualityCheckOperator, GreatExpectationsOperator, MonitorOperator
from pipelines.utils.defaults import default_args

settings = get_settings()


@dag(
    dag_id="check__warehouse",
    schedule="@hourly",
    max_active_runs=1,
    catchup=False,
    tags=["check", "quality"],
    default_args=default_args(retries=1),
    doc_md=__doc__,
)
def check_warehouse() -> None:
    @task.short_circuit
    def published() -> bool:
        """Whether there is anything to check: before the first publication every check of a mart would be an error."""
        from pipelines.publishing import anything_published
        from pipelines.utils.connections import WAREHOUSE_TRANSFORMER, warehouse_dsn

        return anything_published(warehouse_dsn(WAREHOUSE_TRANSFORMER))

    contracts = str(settings.contracts)
    published() >> [
        DataQualityCheckOperator(task_id="sql_checks", contracts=contracts, folder=str(settings.quality / "checks")),
        GreatExpectationsOperator(task_id="great_expectations", folder=str(settings.quality / "suites")),
    ]
    MonitorOperator(task_id="monitors", contracts=contracts)


check_warehouse()
