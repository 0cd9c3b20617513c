"""What every DAG of the platform has without asking: an owner, retries with back-off, a failure callback."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pipelines.alerts import on_task_failure


def default_args(**overrides: Any) -> dict[str, Any]:
    """Return the default arguments of a DAG's tasks, some of them overridden."""
    return {
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": dt.timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": dt.timedelta(minutes=5),
        "on_failure_callback": on_task_failure,
        **overrides,
    }
