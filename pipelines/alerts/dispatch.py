"""From an alert to the channels, by way of the record of what was told before."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import replace

from pipelines.alerts import channels, record
from pipelines.alerts.model import Alert
from pipelines.config.settings import get_settings

log = logging.getLogger(__name__)


class Dispatch:
    """One round of sending: a channel that fails is left alone for the rest of it."""

    def __init__(self, dsn: str | None) -> None:
        self.settings = get_settings()
        self.window = dt.timedelta(minutes=self.settings.alert_window_minutes)
        self.folder = self.settings.platform_state_dir / "alerts"
        self.channels = channels.configured(self.settings)
        self.dsn = dsn
        if self.channels and dsn is None:
            self.dsn = _warehouse()

    def send(self, alerts: Iterable[Alert]) -> int:
        """Send what is due of alerts, and return how many messages at least one channel took."""
        return sum(self._send(alert) for alert in alerts) if self.channels else 0

    def send_untold(self) -> int:
        """Send what was kept back and is due now, and return how many messages that were."""
        if not self.channels or self.dsn is None:
            return 0
        try:
            waiting = record.claim_untold(self.dsn, self.window)
        except Exception as error:
            log.warning("alerts that were kept back could not be read: %s", type(error).__name__)
            return 0
        return sum(self._deliver_or_release(alert, files) for alert, files in waiting)

    def resolve(self, subject: str, stage: str, raised_before: dt.datetime | None = None) -> int:
        """Tell that what the alerts of a subject and stage are about is over; return how many messages that were."""
        if self.dsn is None:
            return 0
        try:
            over = record.resolve(self.dsn, subject, stage, raised_before)
        except Exception as error:
            log.warning("audit.alerts is out of reach: %s", type(error).__name__)
            return 0
        return sum(self._deliver(replace(alert, resolved=True)) for alert in over)

    def _send(self, alert: Alert) -> bool:
        if self.dsn is not None:
            try:
                files = record.claim(self.dsn, alert, self.window)
            except Exception as error:
                log.warning("audit.alerts is out of reach, this machine's notes are used: %s", type(error).__name__)
                self.dsn = None
            else:
                return files is not None and self._deliver_or_release(alert, files)
        try:
            due = record.claim_on_disk(self.folder, alert, self.window)
        except OSError as error:
            log.warning("%s takes no notes: %s", self.folder, error)
            due = True
        return due and self._deliver_or_release(alert, alert.files)

    def _deliver_or_release(self, alert: Alert, files: int) -> bool:
        sent = self._deliver(replace(alert, files=files))
        if not sent:
            try:
                if self.dsn is None:
                    record.release_on_disk(self.folder, alert)
                else:
                    record.release(self.dsn, alert, files)
            except Exception as error:
                log.warning("an alert that nobody took could not be noted: %s", type(error).__name__)
        return sent

    def _deliver(self, alert: Alert) -> bool:
        sent = False
        for channel in list(self.channels):
            try:
                channel.send(alert)
                sent = True
            except Exception as error:
                log.warning("%s took no alert: %s", channel.name, _without_secrets(error))
                self.channels.remove(channel)
        return sent


def _without_secrets(error: Exception) -> str:
    """Return an error's kind and number: its text may name an address that holds a key, or a login."""
    number = next((getattr(error, name) for name in ("code", "smtp_code", "errno") if hasattr(error, name)), None)
    reason = getattr(error, "reason", None)
    inner = f" ({type(reason).__name__})" if isinstance(reason, Exception) else ""
    return type(error).__name__ + (f" {number}" if number else "") + inner


def _warehouse() -> str | None:
    try:
        from pipelines.utils.connections import WAREHOUSE_LOADER, warehouse_dsn

        return warehouse_dsn(WAREHOUSE_LOADER)
    except Exception as error:
        log.warning("the connection to the warehouse is unknown: %s", type(error).__name__)
        return None
