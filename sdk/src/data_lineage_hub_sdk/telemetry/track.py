"""`telemetry_track`: a span, a duration and a count of errors for each call of a function."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, overload

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from data_lineage_hub_sdk import defaults
from data_lineage_hub_sdk.instrument import Arguments, Function, watch_calls
from data_lineage_hub_sdk.lineage.runs import current_run
from data_lineage_hub_sdk.lineage.track import function_name
from data_lineage_hub_sdk.telemetry.client import TelemetryClient
from data_lineage_hub_sdk.telemetry.providers import Instruments


class _CallSpan:
    """The span of a call, and what is measured of it."""

    __slots__ = ("_began", "_instruments", "_labels", "_span", "_token")

    def __init__(self, instruments: Instruments, name: str, attributes: Mapping[str, Any], labels: Mapping[str, Any]):
        self._instruments = instruments
        self._labels = labels
        self._token: Any = None
        run = current_run()
        if run is not None:
            ref = run.ref
            attributes = {
                **attributes,
                "lineage.run_id": ref.run_id,
                "lineage.job.namespace": ref.namespace,
                "lineage.job.name": ref.job,
            }
        self._span: Span = instruments.tracer.start_span(name, attributes=attributes)
        self._began = time.perf_counter()

    def start(self) -> None:
        """Do nothing: the span has begun."""

    def resume(self) -> None:
        self._token = contexts.attach(trace.set_span_in_context(self._span))

    def suspend(self) -> None:
        contexts.detach(self._token)

    def end(self, error: BaseException | None) -> None:
        took = time.perf_counter() - self._began
        kind = type(error).__qualname__ if isinstance(error, Exception) else ""
        try:
            if isinstance(error, Exception):
                self._span.set_attribute("error.type", kind)
                self._span.set_status(Status(StatusCode.ERROR))
                self._span.record_exception(error)
                self._span.set_status(Status(StatusCode.ERROR, str(error)))
        finally:  # an error may not even be able to say what it is
            self._span.end()
            self._instruments.measure(took, self._labels, kind)


class _SpanObserver:
    """Makes a span of each call."""

    rank = 1

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None,
        attributes: Mapping[str, Any] | None,
        client: TelemetryClient | None,
    ) -> None:
        called = function_name(function)
        self._name = name or called
        self._labels = {"code.function.name": called}
        self._attributes = {**self._labels, **(attributes or {})}
        self._client = client

    def begin(self, args: Arguments, kwargs: Mapping[str, Any]) -> _CallSpan | None:
        instruments = (self._client or defaults.telemetry_client()).instruments()
        if instruments is None:
            return None
        return _CallSpan(instruments, self._name, self._attributes, self._labels)


@overload
def telemetry_track(function: Function, /) -> Function: ...
@overload
def telemetry_track(
    name: str | None = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    client: TelemetryClient | None = None,
) -> Callable[[Function], Function]: ...
def telemetry_track(
    name: Any = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    client: TelemetryClient | None = None,
) -> Any:
    """Measure each call: a span, the histogram `lineage_hub.call.duration` (s), the counter `lineage_hub.call.errors`.

    Works where `lineage_track` works. By OpenTelemetry's API: with a TracerProvider or MeterProvider of the user's own
    everything goes there, otherwise to the hub. Within a lineage run the span carries `lineage.run_id`,
    `lineage.job.namespace` and `lineage.job.name`; a run within a span points at it.

    Args:
        name: the span's; module and qualified name of the function unless given.
        attributes: more attributes of the span.
        client: who sends; the process' own client unless given.

    Raises:
        TypeError: where it is written: it stands on a class, or on what can't be called.
    """

    def decorate(function: Any) -> Any:
        return watch_calls(function, lambda plain: _SpanObserver(plain, called, attributes, client))

    if name is None or isinstance(name, str):
        called = name
        return decorate
    called = None
    return decorate(name)
