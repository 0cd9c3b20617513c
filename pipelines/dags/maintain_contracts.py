"""Bring data contracts into effect: make their tables, enter them in the catalog.

A contract dropped into data-quality/contracts has its ingest DAG from Airflow's own reading of the folder; table and
catalog entry come with the next run of this DAG. Run it by hand to have them at once, or use `dp contract sync`.
"""

import datetime as dt

from airflow.providers.openlineage.api.emission_policy import extend_global_openlineage_emission_policy
from airflow.sdk import dag

from pipelines.config.settings import get_settings
from pipelines.operators.contracts import SyncContractsOperator
from pipelines.utils.defaults import default_args


@dag(
    dag_id="maintain__contracts",
    schedule=dt.timedelta(minutes=2),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=1,
    catchup=False,
    tags=["maintain", "contracts"],
    # The next run is the retry.
    default_args=default_args(retries=0),
    doc_md=__doc__,
)
def maintain_contracts() -> None:
    SyncContractsOperator(task_id="sync", folder=str(get_settings().contracts))


extend_global_openlineage_emission_policy(maintain_contracts(), emit=False)
