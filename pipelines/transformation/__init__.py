"""dbt as the platform runs it: what a build takes, the build itself, what became of each node, and its lineage.

No Airflow here. dbt runs as a process of its own: its state is global, and a crash must not end the worker.
"""

from __future__ import annotations

from pipelines.transformation.builds import BuildRecord, Verdict, verdict
from pipelines.transformation.lineage import lineage_events
from pipelines.transformation.running import BuildError, NodeResult, run_dbt
from pipelines.transformation.selection import Selection, select_changed

__all__ = [
    "BuildError",
    "BuildRecord",
    "NodeResult",
    "Selection",
    "Verdict",
    "lineage_events",
    "run_dbt",
    "select_changed",
    "verdict",
]
