"""Alerts about files and tasks: to the log, a webhook and email, each matter once in a while and not once a file.

An alert never fails what it tells of: every channel has a time-out, and what goes wrong is a warning in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.alerts.model import Alert, of_outcomes
from pipelines.config.settings import Settings, get_settings

if TYPE_CHECKING:
    import datetime as dt

    from data_quality.contract import Contract
    from pipelines.ingestion.model import FileOutcome

__all__ = ["Alert", "on_task_failure", "report", "report_outcomes", "report_untold", "resolve", "resolve_healed"]

log = logging.getLogger(__name__)


def report_outcomes(
    contract: Contract,
    outcomes: Iterable[FileOutcome],
    *,
    run_id: str = "",
    dag_id: str = "",
    link: str = "",
    dsn: str | None = None,
) -> int:
    """Tell of files that failed, and of those with more rejected rows than ALERT_REJECTED_PERCENT.

    Args:
        contract: The files' contract.
        outcomes: What became of them; all of a run at once make the best message, with one count.
        run_id: Airflow's run.
        dag_id: Its DAG.
        link: Address of the task's log; the run's page in Airflow where none is given.
        dsn: The warehouse, which knows what was told before; else Airflow's connection `warehouse_loader`.

    Returns:
        How many messages were sent. Never raises.
    """
    try:
        settings = get_settings()
        link = link or _run_page(settings, dag_id, run_id)
        return report(of_outcomes(contract, outcomes, settings.alert_rejected_percent, run_id, link), dsn)
    except Exception as error:
        log.warning("alerts of %s could not be made: %s", contract.name, type(error).__name__, exc_info=True)
        return 0


def on_task_failure(context: Mapping[str, Any]) -> None:
    """Tell of a task that failed for good. A callback of Airflow's (`default_args`)."""
    try:
        instance = context["task_instance"]
        reason = " ".join(str(context.get("exception") or "the task ended without an error of its own").split())
        alert = Alert(
            subject=f"{instance.dag_id}.{instance.task_id}",
            stage="task",
            reason=reason[:1000],
            owner=getattr(context.get("task"), "owner", None) or "unknown",
            run_id=str(getattr(instance, "run_id", "")),
            link=str(getattr(instance, "log_url", "") or ""),
        )
        report([alert])
    except Exception:
        log.warning("an alert of a failed task could not be made", exc_info=True)


def report(alerts: Iterable[Alert], dsn: str | None = None) -> int:
    """Log alerts, and send those that were not told within ALERT_WINDOW_MINUTES. Never raises.

    Returns:
        How many messages at least one channel took.
    """
    alerts = list(alerts)
    for alert in alerts:
        facts = {**alert.facts, "log": alert.link or "none"}
        log.error("%s; %s", alert.headline, "; ".join(f"{name.lower()}: {value}" for name, value in facts.items()))
    from pipelines.alerts.dispatch import Dispatch  # not for a DAG file, which only names the callback

    return Dispatch(dsn).send(alerts)


def report_untold(dsn: str | None = None) -> int:
    """Send what was kept back, once its window has passed, with its count. Never raises."""
    from pipelines.alerts.dispatch import Dispatch

    return Dispatch(dsn).send_untold()


def resolve(subject: str, stage: str, dsn: str | None = None, raised_before: dt.datetime | None = None) -> int:
    """Close the alerts of a subject and stage, and tell those who were told of them that it is over. Never raises."""
    from pipelines.alerts.dispatch import Dispatch

    return Dispatch(dsn).resolve(subject, stage, raised_before)


def resolve_healed(dsn: str, succeeded: Callable[[str, str, dt.datetime], bool]) -> int:
    """Close the alerts whose matter has gone well since; return how many messages told of it.

    Args:
        dsn: The warehouse as the loader.
        succeeded: Whether a task (DAG, task) has succeeded since a moment.
    """
    from pipelines.alerts import healing, record

    percent = get_settings().alert_rejected_percent
    over = healing.healed(record.open_alerts(dsn), dsn, rejected_percent=percent, succeeded=succeeded)
    return sum(resolve(subject, stage, dsn, raised) for (subject, stage), raised in sorted(over.items()))


def _run_page(settings: Settings, dag_id: str, run_id: str) -> str:
    if not dag_id or not run_id:
        return ""
    return f"{settings.airflow_url}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
