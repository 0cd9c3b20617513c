"""Deliver lineage events that were spooled to disk while the metadata service was away.

Emission sends waiting events along with new ones; this DAG is for the time when no task runs. It emits no lineage
of its own: its runs say nothing about data.
"""

import datetime as dt

from airflow.providers.openlineage.api.emission_policy import extend_global_openlineage_emission_policy
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.config.settings import get_settings
from pipelines.utils.defaults import default_args


@dag(
    dag_id="maintain__lineage_spool",
    schedule=dt.timedelta(minutes=5),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=1,
    catchup=False,
    tags=["maintain", "lineage"],
    # The next run is the retry.
    default_args=default_args(retries=0),
    doc_md=__doc__,
)
def maintain_lineage_spool() -> None:
    @task
    def deliver() -> dict[str, int]:
        """Deliver what waits, and say how much was."""
        from dataclasses import asdict

        from data_lineage_hub_sdk import spool

        settings = get_settings()
        if not spool.pending(settings.lineage_spool):
            raise AirflowSkipException("no event waits")
        key = settings.metadata_api_key.get_secret_value()
        result = spool.drain(settings.lineage_spool, settings.metadata_url, key)
        if result.left and not result.sent:
            raise AirflowSkipException(f"{result.left} events wait: the metadata service does not take them now")
        return asdict(result)

    deliver()


extend_global_openlineage_emission_policy(maintain_lineage_spool(), emit=False)
