"""Check the warehouse after every build: contracts and SQL checks in one task, Great Expectations in another.

The checks share the builds' pool: in the middle of a build, tables of one are compared with those of the one before.
"""

from airflow.sdk import dag

from pipelines.assets import CURATED
from pipelines.config.settings import get_settings
from pipelines.operators import DataQualityCheckOperator, GreatExpectationsOperator
from pipelines.utils.defaults import default_args

settings = get_settings()


@dag(
    dag_id="check__warehouse",
    schedule=[CURATED],
    max_active_runs=1,
    catchup=False,
    tags=["check", "quality"],
    default_args=default_args(retries=1),
    doc_md=__doc__,
)
def check_warehouse() -> None:
    DataQualityCheckOperator(
        task_id="sql_checks", pool="dbt", contracts=str(settings.contracts), folder=str(settings.quality / "checks")
    )
    GreatExpectationsOperator(task_id="great_expectations", pool="dbt", folder=str(settings.quality / "suites"))


check_warehouse()
