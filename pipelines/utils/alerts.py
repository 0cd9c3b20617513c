"""What happens when a task has failed for good: one structured line in the log, with who owns it and where to look."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


def on_task_failure(context: Mapping[str, Any]) -> None:
    """Log the failure with the DAG's owner and the address of the task's log."""
    instance = context["task_instance"]
    owner = getattr(context.get("task"), "owner", "unknown")
    log.error(
        "task %s.%s failed (owner %s): %s; log: %s",
        *(instance.dag_id, instance.task_id, owner, context.get("exception"), getattr(instance, "log_url", "")),
    )
