"""Ingest DAGs: `ingest__<dataset>` for every data contract in data-quality/contracts."""

from pipelines.config.settings import get_settings
from pipelines.factory import ingest_dags

for dag in ingest_dags(get_settings().contracts):
    globals()[dag.dag_id] = dag
