"""Build, check, publish: the marts are made beside the published ones, and take their place only if no check objects.

dbt_build and models ─▶ sql_checks, great_expectations ─▶ publish ─▶ export, or hold_back where anything failed

It runs whenever a staging table that dbt reads has changed, and builds what changed and all below. Trigger it with
`full_refresh` after a change that old rows have to follow.
"""

from functools import reduce
from operator import or_

from airflow.sdk import Param, TaskGroup, TriggerRule, dag

from data_quality.contract import load_contracts
from pipelines.alerts import on_task_failure
from pipelines.assets import CURATED, staging_table
from pipelines.config.settings import get_settings
from pipelines.operators import (
    DataQualityCheckOperator,
    DbtBuildOperator,
    DbtModelOperator,
    ExportCuratedOperator,
    GreatExpectationsOperator,
    HoldBackOperator,
    PublishOperator,
)
from pipelines.sources import descendants, model_graph, read_tables
from pipelines.utils.defaults import default_args

settings = get_settings()
read = read_tables(settings.transformations)
CHECKED_AS = {"curated": "candidate"}


@dag(
    dag_id="build__curated",
    schedule=reduce(or_, [staging_table(table) for table in read]),
    # One at a time: changes that come meanwhile are the next run's.
    max_active_runs=1,
    catchup=False,
    tags=["build", "dbt"],
    params={"full_refresh": Param(False, type="boolean", title="Build everything from the start")},
    # Whatever fails, hold_back tells of all of it in one alert.
    default_args=default_args(retries=1, on_failure_callback=None),
    doc_md=__doc__,
)
def build_curated() -> None:
    build = DbtBuildOperator(task_id="dbt_build", pool="dbt", full_refresh="{{ params.full_refresh }}")
    graph = model_graph(settings.transformations)
    with TaskGroup("models", prefix_group_id=False) as models:
        for name, reads in graph.items():
            # Built again after failures, those that others read come first.
            weight = 1 + len(descendants(graph, name))
            DbtModelOperator(
                task_id=name, reads=reads, pool="dbt", priority_weight=weight, weight_rule="absolute", retries=0
            )
    checks = [
        DataQualityCheckOperator(
            task_id="sql_checks",
            contracts=str(settings.contracts),
            datasets=[contract.name for contract in load_contracts(settings.contracts) if contract.table in read],
            folder=str(settings.quality / "checks"),
            schemas=CHECKED_AS,
            trigger_rule=TriggerRule.NONE_FAILED,
        ),
        GreatExpectationsOperator(
            task_id="great_expectations",
            folder=str(settings.quality / "suites"),
            schemas=CHECKED_AS,
            trigger_rule=TriggerRule.NONE_FAILED,
        ),
    ]
    publish = PublishOperator(task_id="publish", outlets=[CURATED])
    hold_back = HoldBackOperator(
        task_id="hold_back",
        trigger_rule=TriggerRule.ALL_DONE,
        check_task_ids=[check.task_id for check in checks],
        retries=0,
    )
    for check in checks:
        [build, models] >> check
    checks >> publish >> ExportCuratedOperator(task_id="export", on_failure_callback=on_task_failure)
    [build, models, *checks, publish] >> hold_back


build_curated()
