"""`dp topics`, `dp dlq`, `dp run-consumer`: Kafka and the consumers of the lineage hub."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from pydantic import SecretStr
from rich.table import Table

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.kinds import running
from dataplatform_cli.stack.metadata import CONSUMER_SETTINGS, HUB_SETTINGS, hub_environment
from dataplatform_cli.stack.supervisor import clean_environment

if TYPE_CHECKING:
    from metadata_service.settings import HubSettings
    from metadata_service.streaming.dead_letters import DeadLetter

app = typer.Typer(help="Messages that the hub's consumers could not write, and why.", no_args_is_help=True)
Brokers = Annotated[
    str, typer.Option("--brokers", help="host:port of brokers; KAFKA_BOOTSTRAP_SERVERS where left out.")
]


@reported
def topics(brokers: Brokers = "", as_json: Json = False) -> None:
    """Make the hub's Kafka topics that are missing, and show all."""
    from metadata_service.streaming.topics import make_topics

    found = _asking(lambda settings: make_topics(settings, wait_seconds=5), brokers)
    if as_json:
        told = [{"topic": topic.name, "partitions": topic.partitions, "made": not topic.partitions} for topic in found]
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for topic in found:
        out.print(f"{topic.name}: {f'{topic.partitions} partitions' if topic.partitions else 'made'}")


@app.command("list")
@reported
def list_dead(
    brokers: Brokers = "",
    replayed: Annotated[bool, typer.Option("--replayed", help="Those too that were sent again.")] = False,
    as_json: Json = False,
) -> None:
    """Show what could not be written, oldest first, each with the reason."""
    from metadata_service.streaming.dead_letters import list_letters

    letters = _asking(lambda settings: list(list_letters(settings, replayed)), brokers)
    if as_json:
        sys.stdout.write(json.dumps([_as_json(letter) for letter in letters]) + "\n")
        return
    if not letters:
        out.print("there are none: everything could be written")
        return
    table = Table(box=None)
    for title in ("topic", "number", "when", "namespace", "consumer", "reason"):
        table.add_column(title, overflow="fold")
    for letter in letters:
        at = f"{letter.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(letter.topic, str(letter.number), at, letter.namespace, letter.consumer, letter.reason)
    out.print(table)
    err.print("[dim]`dp dlq list --json` shows the messages; `dp dlq replay` sends them again[/]")


@app.command()
@reported
def replay(brokers: Brokers = "", as_json: Json = False) -> None:
    """Send all of them again to where they came from. What still can't be written comes back."""
    from metadata_service.streaming.dead_letters import replay_letters

    sent = _asking(replay_letters, brokers)
    if as_json:
        sys.stdout.write(json.dumps({"sent": sent}) + "\n")
    else:
        out.print(f"sent {sent} message{'' if sent == 1 else 's'} again")


@reported
def run_consumer(
    what: Annotated[Literal["lineage", "otel"], typer.Argument(help="lineage, or spans and metrics.")],
) -> None:
    """Run a consumer in the foreground: from Kafka into the stores of the stack that is up."""
    _become_consumer("lineage" if what == "lineage" else "telemetry")


def _become_consumer(what: str) -> NoReturn:
    settings = _on_this_machine(settings_of_repository())
    running(settings)
    if not settings.kafka_bootstrap_servers:
        raise PlatformError(
            "no brokers are configured, so there is nothing to consume",
            "set KAFKA_BOOTSTRAP_SERVERS=host:port in .env (docs/lineage-hub-operations.md), and restart the stack",
        )
    environment = {
        "HOST": settings.bind_address,
        "LOG_LEVEL": settings.log_level,
        "DATABASE_URL": settings.dsn("metadata"),
        **hub_environment(settings, HUB_SETTINGS | CONSUMER_SETTINGS),
    }
    command = [sys.executable, "-m", "metadata_service.streaming", what]
    os.execve(command[0], command, clean_environment(environment))  # noqa: S606


def _on_this_machine(settings: StackSettings) -> StackSettings:
    """Return the settings with the addresses that Compose's profiles publish here, where no others are named."""
    found: dict[str, Any] = {}
    if "lineage" in settings.profiles and not settings.kafka_bootstrap_servers:
        found["kafka_bootstrap_servers"] = f"{settings.loopback}:{settings.kafka_port}"
    if "observability" in settings.profiles and not settings.telemetry_url.get_secret_value():
        found["telemetry_url"] = SecretStr(settings.clickhouse_url(f"{settings.loopback}:{settings.clickhouse_port}"))
    return settings.model_copy(update=found)


def _asking(ask: Any, brokers: str) -> Any:
    """Return what a function answers that is given the brokers' settings."""
    import structlog
    from confluent_kafka import KafkaException

    from metadata_service.streaming.producer import BrokerAwayError

    # What the client meets, such as a wrong password, is told there as it comes; standard output is the answer's.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = _hub_settings(brokers)
    try:
        return ask(settings)
    except KafkaException as error:
        reason = error.args[0].str()
    except BrokerAwayError as error:
        reason = str(error)
    raise PlatformError(
        f"Kafka at {settings.kafka_bootstrap_servers} does not answer: {reason}",
        "is it up, and are the address and the KAFKA_ settings in .env right? The lines above tell more",
    )


def _hub_settings(brokers: str) -> HubSettings:
    from metadata_service.settings import HubSettings

    settings = _on_this_machine(settings_of_repository())
    given = hub_environment(settings)
    found = brokers or given["KAFKA_BOOTSTRAP_SERVERS"]
    if not found:
        raise PlatformError(
            "no brokers are configured", "set KAFKA_BOOTSTRAP_SERVERS=host:port in .env, or give --brokers"
        )
    told: dict[str, Any] = {name.lower(): value for name, value in given.items() if value}
    return HubSettings.model_validate(
        told | {"kafka_bootstrap_servers": found, "database_url": settings.dsn("metadata")}
    )


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "topic": letter.topic,
        "number": letter.number,
        "at": letter.at.isoformat(),
        "namespace": letter.namespace,
        "key": letter.key,
        "consumer": letter.consumer,
        "reason": letter.reason,
        "value": letter.value.decode("utf-8", "replace"),
    }
