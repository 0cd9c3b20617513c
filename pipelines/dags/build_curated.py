"""Build the curated layer whenever a staging table that dbt reads has changed."""

from functools import reduce
from operator import or_

from airflow.sdk import dag

from pipelines.assets import CURATED, staging_table
from pipelines.config.settings import get_settings
from pipelines.operators import DbtBuildOperator
from pipelines.sources import read_tables
from pipelines.utils.defaults import default_args


@dag(
    dag_id="build__curated",
    schedule=reduce(or_, [staging_table(table) for table in read_tables(get_settings().transformations)]),
    # Builds replace the same tables: one at a time, and changes that come meanwhile are the next one's.
    max_active_runs=1,
    catchup=False,
    tags=["build", "dbt"],
    default_args=default_args(retries=1),
    doc_md=__doc__,
)
def build_curated() -> None:
    DbtBuildOperator(task_id="dbt_build", pool="dbt", outlets=[CURATED])


build_curated()
