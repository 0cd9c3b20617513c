"""Take failed files in again, and rejected rows, after a contract or the data was mended. Run it by hand.

Failed files go back to `incoming/`, where their ingest DAG takes them within seconds. Rejected rows of files that were
loaded are taken in here; the ledger says in `replay_of` where they came from. `dp replay` does the same by hand.
"""

import datetime as dt

from airflow.sdk import Param, dag

from pipelines.config.settings import get_settings
from pipelines.operators import PutBackFailedFilesOperator, ReplayRejectedRowsOperator
from pipelines.utils.defaults import default_args


@dag(
    dag_id="maintain__reprocess_failed",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_runs=1,
    catchup=False,
    tags=["maintain", "ingest"],
    default_args=default_args(),
    doc_md=__doc__,
    params={
        "dataset": Param("", type="string", description="Name of a dataset; empty for every one."),
        "match": Param("*", type="string", description="Shell pattern for the files' names."),
        "stage": Param(
            "", enum=["", "validation", "processing", "loading"], description="Only what failed here; empty for all."
        ),
        "rejected": Param(True, type="boolean", description="Take rejected rows of loaded files in again, too."),
    },
    render_template_as_native_obj=True,
)
def maintain_reprocess_failed() -> None:
    chosen = {
        "contracts": str(get_settings().contracts),
        "dataset": "{{ params.dataset }}",
        "match": "{{ params.match }}",
    }
    PutBackFailedFilesOperator(task_id="failed_files", stage="{{ params.stage }}", **chosen)
    ReplayRejectedRowsOperator(task_id="rejected_rows", enabled="{{ params.rejected }}", **chosen)


maintain_reprocess_failed()
