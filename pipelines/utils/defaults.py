"""What every task of the platform has without asking: an owner, retries with back-off, a failure callback.

`pipelines.policy` gives them to the tasks of any DAG file; `default_args` to DAGs that are made outside of the folder.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from pipelines.alerts import on_task_failure

OWNER = "data-platform"

TASK_DEFAULTS: dict[str, Any] = {
    "owner": OWNER,
    "retries": 3,
    "retry_delay": dt.timedelta(seconds=10),
    # Doubled with every try, and up to as much again by chance: 10-20 s, 20-40 s, 40-80 s.
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": dt.timedelta(minutes=5),
    "on_failure_callback": on_task_failure,
}


def default_args(**overrides: Any) -> dict[str, Any]:
    """Return the default arguments of a DAG's tasks, some of them overridden."""
    return {**TASK_DEFAULTS, **overrides}
