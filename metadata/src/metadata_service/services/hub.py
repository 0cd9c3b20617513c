"""What teams' own pipelines send: whose it is, and on which way it goes into the stores.

Directly, it is stored before it is acknowledged. With Kafka it is acknowledged once the brokers have it, and consumers
store it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
import psycopg

from metadata_service.openlineage import ReadEvent, load_json, read_event
from metadata_service.problems import FieldError, ProblemError, UnprocessableError, first_line
from metadata_service.services.access import Principal, authorize_event
from metadata_service.services.intake import Intake, is_fault_of_data
from metadata_service.settings import HubSettings
from metadata_service.streaming.messages import Outgoing, Sender, lineage_message, metric_messages, span_messages
from metadata_service.streaming.producer import BrokerAwayError, MessageTooLargeError, Publisher
from metadata_service.telemetry.model import Batch, FieldFaultError, read_name
from metadata_service.telemetry.store import StoreAwayError, ValueRefusedError
from metadata_service.telemetry.writer import TelemetryWriter

MAX_EVENTS = 1000

Refusals = dict[int, str]
"""Why items of a request, by their place in it, were not taken."""


class Transport(Protocol):
    """A way into the stores. What a method does not refuse is safe once it returns."""

    name: str

    async def take_events(self, events: Sequence[ReadEvent], sender: Sender) -> Refusals:
        """Take events.

        Raises:
            ProblemError: 503, none of them is acknowledged; 413, none of them ever will be.
        """
        ...

    async def take_telemetry(self, batches: Sequence[Batch], sender: Sender) -> None:
        """Take spans and metrics.

        Raises:
            ProblemError: 503, none of them is acknowledged; 413 or 422, none of them ever will be.
        """
        ...


class Direct:
    """Into the databases at once."""

    name = "direct"

    def __init__(self, intake: Intake, writer: TelemetryWriter) -> None:
        self._intake = intake
        self._writer = writer

    async def take_events(self, events: Sequence[ReadEvent], sender: Sender) -> Refusals:
        """Store events."""
        outcomes = await self._intake.store(events)
        faults = {number: item for number, item in enumerate(outcomes) if isinstance(item, psycopg.Error)}
        if any(not is_fault_of_data(fault) for fault in faults.values()):
            raise unavailable("The database")
        return {number: f"The store refused it: {first_line(fault)}" for number, fault in faults.items()}

    async def take_telemetry(self, batches: Sequence[Batch], sender: Sender) -> None:
        """Store spans and metrics."""
        try:
            await self._writer.write(batches)
        except StoreAwayError:
            raise unavailable("The telemetry store") from None
        except ValueRefusedError as error:
            raise UnprocessableError("The telemetry store refuses it.", [FieldError("", str(error))]) from None


class ThroughKafka:
    """To the brokers, from where consumers take it into the stores."""

    name = "kafka"

    def __init__(self, publisher: Publisher, settings: HubSettings, on_sent: Callable[[int], None]) -> None:
        self._publisher = publisher
        self._on_sent = on_sent  # consumers store it in a moment: the projector leaves them room while events stream
        self._lineage = settings.kafka_topic_lineage
        self._spans = settings.kafka_topic_spans
        self._metrics = settings.kafka_topic_metrics

    async def take_events(self, events: Sequence[ReadEvent], sender: Sender) -> Refusals:
        """Send events to the brokers."""
        most = self._publisher.max_bytes
        too_large = {number for number, event in enumerate(events) if len(event.payload) > most}
        fitting = [event for number, event in enumerate(events) if number not in too_large]
        await self._publish(self._lineage, [lineage_message(event, sender) for event in fitting])
        self._on_sent(len(fitting))
        return {number: f"It is larger than {most} bytes, the most that Kafka takes here." for number in too_large}

    async def take_telemetry(self, batches: Sequence[Batch], sender: Sender) -> None:
        """Send spans and metrics to the brokers."""
        most = self._publisher.max_bytes
        spans = [message for batch in batches for message in span_messages(batch, sender, most)]
        metrics = [message for batch in batches for message in metric_messages(batch, sender, most)]
        await self._publish(self._spans, spans)
        await self._publish(self._metrics, metrics)

    async def _publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        try:
            await self._publisher.publish(topic, messages)
        except BrokerAwayError:
            raise unavailable("Kafka") from None
        except MessageTooLargeError:
            raise ProblemError(
                413, "An item of it is larger than Kafka takes here; nothing was acknowledged."
            ) from None


def unavailable(what: str) -> ProblemError:
    """Return the error that asks to send again what could not be taken."""
    detail = f"{what} does not take it now; nothing was acknowledged, send it again."
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"})


def own_namespace(principal: Principal, given: object) -> str:
    """Return the namespace that a request writes in: the one it names, or else the only one of its key.

    Raises:
        ProblemError: 403, it is not the key's; 422, it is no name, or none is named and the key has not just one.
    """
    if given is None or given == "":
        names = principal.namespaces or ()
        if len(names) == 1 and not names[0].endswith("*"):
            return names[0]
        raise UnprocessableError(
            "The request does not say whose it is.",
            [FieldError("namespace", "is missing, and the key is not bound to just one namespace")],
        )
    try:
        namespace = read_name("namespace", given)
    except FieldFaultError as fault:
        raise UnprocessableError("The request is not valid.", [FieldError(fault.field, fault.message)]) from None
    principal.require([namespace])
    return namespace


class _LineageBody(msgspec.Struct):
    events: list[msgspec.Raw]
    namespace: str | None = None


_lineage_body = msgspec.json.Decoder(_LineageBody).decode


def read_lineage(body: bytes, principal: Principal) -> list[ReadEvent | ProblemError]:
    """Return the events of a request, each in the request's namespace, or what is wrong with it.

    Raises:
        ProblemError: the request as a whole can't be taken.
    """
    try:
        read = _lineage_body(body)
        given, items = read.namespace, [bytes(item) for item in read.events]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = load_json(body)
        if not isinstance(whole, dict) or not isinstance(whole.get("events"), list):
            fault = FieldError("events", "is not a list")
            raise UnprocessableError('The body is an object: {"namespace": …, "events": […]}.', [fault]) from None
        given, items = whole.get("namespace"), [msgspec.json.encode(item) for item in whole["events"]]
    if len(items) > MAX_EVENTS:
        raise ProblemError(413, f"A request has at most {MAX_EVENTS} events; this one has {len(items)}.")
    namespace = own_namespace(principal, given)
    return [_try_to_read(item, namespace, principal) for item in items]


def _try_to_read(raw: bytes, namespace: str, principal: Principal) -> ReadEvent | ProblemError:
    try:
        return authorize_event(principal, read_event(_in_namespace(raw, namespace), principal.name))
    except ProblemError as error:
        return error


class _Named(msgspec.Struct):
    namespace: str | None = None


class _Subject(msgspec.Struct):
    job: _Named | None = None
    dataset: _Named | None = None


_subject = msgspec.json.Decoder(_Subject).decode


def _in_namespace(raw: bytes, namespace: str) -> bytes:
    """Return an event in the request's namespace, which it has if it names none."""
    try:
        subject = _subject(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return raw  # `read_event` says what is wrong with it
    named = subject.job or subject.dataset
    if named is None or named.namespace == namespace:
        return raw
    place = "job" if subject.job else "dataset"
    if named.namespace:
        message = f"is {named.namespace!r}, but the request is for {namespace!r}"
        raise UnprocessableError("The event is another namespace's.", [FieldError(f"{place}.namespace", message)])
    event: dict[str, Any] = msgspec.json.decode(raw)
    event[place]["namespace"] = namespace
    return msgspec.json.encode(event)
