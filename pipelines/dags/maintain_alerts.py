"""Tell of what alerts kept back, and close those whose matter has gone well since.

An alert is sent at once and the same matter once in ALERT_WINDOW_MINUTES. This DAG sends the rest (files that failed
for a reason that had just been told, with their count) when the window has passed and nothing new has taken it along.
"""

import datetime as dt

from airflow.providers.openlineage.api.emission_policy import extend_global_openlineage_emission_policy
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.utils.defaults import default_args


@dag(
    dag_id="maintain__alerts",
    schedule=dt.timedelta(minutes=15),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=1,
    catchup=False,
    tags=["maintain", "alerts"],
    # The next run is the retry.
    default_args=default_args(retries=0),
    doc_md=__doc__,
)
def maintain_alerts() -> None:
    @task
    def report_untold() -> int:
        """Send what waits, and say how many messages that were."""
        from pipelines import alerts

        sent = alerts.report_untold()
        if not sent:
            raise AirflowSkipException("nothing was kept back")
        return sent

    @task
    def resolve_healed() -> int:
        """Close what is over, tell those who were told of it, and say how many messages that were."""
        from pipelines import alerts
        from pipelines.alerts.healing import airflow_successes
        from pipelines.utils.connections import AIRFLOW, WAREHOUSE_LOADER, http_service, warehouse_dsn

        sent = alerts.resolve_healed(warehouse_dsn(WAREHOUSE_LOADER), airflow_successes(*http_service(AIRFLOW)))
        if not sent:
            raise AirflowSkipException("nothing that was told of is over")
        return sent

    report_untold()
    resolve_healed()


extend_global_openlineage_emission_policy(maintain_alerts(), emit=False)
