"""The ways an alert goes out: a webhook in Slack's format, and email. Each raises what keeps it from being sent."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol

from pipelines.alerts.model import Alert

if TYPE_CHECKING:
    from pipelines.config.settings import Settings

WEBHOOK_SECONDS = 5.0
SMTP_SECONDS = 10.0
_SLACK_TEXT = 2900  # Slack takes 3,000 characters in a section


class Channel(Protocol):
    """A way out."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert, or raise within seconds."""


@dataclass(frozen=True)
class Webhook:
    """A POST of Slack's message format, which Mattermost, Rocket.Chat and Teams' workflows take as well."""

    url: str
    name: str = "webhook"

    def send(self, alert: Alert) -> None:
        """Deliver an alert. The address holds a secret, so an error must not name it: HTTPError and URLError don't."""
        body = json.dumps(slack_message(alert)).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - set by the operator
        with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS) as answer:  # noqa: S310
            answer.read(1000)


def slack_message(alert: Alert) -> dict[str, object]:
    """Return a message of Slack's Block Kit (https://api.slack.com/reference/block-kit/blocks)."""
    lines = [f"*{_escaped(alert.headline)}*"]
    lines += [f"*{name}:* {_escaped(value)}" for name, value in alert.facts.items()]
    blocks: list[dict[str, object]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:_SLACK_TEXT]}}
    ]
    if alert.link:
        element = {"type": "mrkdwn", "text": f"<{_escaped(alert.link)}|Log and details>"}
        blocks.append({"type": "context", "elements": [element]})
    return {"text": f"{alert.headline}: {alert.reason}"[:_SLACK_TEXT], "blocks": blocks}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class Email:
    """A plain text mail to the platform's recipients and the dataset's owner."""

    host: str
    port: int
    security: str
    user: str
    password: str
    sender: str
    recipients: Sequence[str]
    name: str = "email"

    def send(self, alert: Alert) -> None:
        """Deliver an alert."""
        message = self.message(alert)
        if not message["To"]:
            return
        context = ssl.create_default_context()
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=SMTP_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=SMTP_SECONDS)
        with server:
            if self.security == "starttls":
                server.starttls(context=context)
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)

    def message(self, alert: Alert) -> EmailMessage:
        """Return the mail."""
        message = EmailMessage()
        message["Subject"] = " ".join(f"[data platform] {alert.headline}".split())
        message["From"] = self.sender
        message["To"] = ", ".join(
            dict.fromkeys([*self.recipients, *([alert.owner_email] if alert.owner_email else [])])
        )
        lines = [f"{name}: {value}" for name, value in {**alert.facts, "Details": alert.link}.items() if value]
        message.set_content("\n".join([alert.headline, "", *lines]) + "\n")
        return message


def configured(settings: Settings) -> list[Channel]:
    """Return the channels that the settings name."""
    channels: list[Channel] = []
    if settings.alert_webhook_url.get_secret_value():
        channels.append(Webhook(settings.alert_webhook_url.get_secret_value()))
    if settings.smtp_host:
        recipients = [address.strip() for address in settings.alert_email_to.split(",") if address.strip()]
        channels.append(
            Email(
                host=settings.smtp_host,
                port=settings.smtp_port,
                security=settings.smtp_security,
                user=settings.smtp_user,
                password=settings.smtp_password.get_secret_value(),
                sender=settings.alert_email_from,
                recipients=recipients,
            )
        )
    return channels
