"""No DAG: an import error in Airflow's pages while a data contract can't be used. The other contracts' DAGs run on."""

from airflow.sdk.exceptions import AirflowException

from pipelines.config.settings import get_settings
from pipelines.factory import contract_problems

if problems := contract_problems(get_settings().contracts):
    raise AirflowException(f"data contracts that can't be used:\n{problems}")
