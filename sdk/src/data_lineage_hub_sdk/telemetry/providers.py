"""OpenTelemetry's instruments: the user's own where there are any, otherwise private ones that end at the hub.

Nothing is ever set globally. A user who sets a provider later is noticed at the next call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from data_lineage_hub_sdk import __version__
from data_lineage_hub_sdk.ids import new_bits
from data_lineage_hub_sdk.settings import Settings, program_name

SCOPE = "data_lineage_hub_sdk"
DURATION, ERRORS = "lineage_hub.call.duration", "lineage_hub.call.errors"
_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
# What happened since the last export: figures of many short processes can be added up.
_TEMPORALITY: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, ObservableCounter, HistogramInstrument), AggregationTemporality.DELTA
)


class Measure(NamedTuple):
    """The measures of a call, still to be recorded."""

    instruments: Instruments
    seconds: float
    labels: Mapping[str, Any]
    error: str

    def record(self) -> None:
        """Record them."""
        self.instruments.duration.record(self.seconds, self.labels)
        if self.error:
            self.instruments.errors.add(1, {**self.labels, "error.type": self.error})


@dataclass(frozen=True)
class Instruments:
    """What a tracked call is measured with.

    `defer` takes measures that may be recorded later, off the caller's way; None where the user's own reader looks.
    """

    tracer: trace.Tracer
    duration: metrics.Histogram
    errors: metrics.Counter
    defer: Callable[[Measure], None] | None

    def measure(self, seconds: float, labels: Mapping[str, Any], error: str) -> None:
        """Take the duration of a call, and the type of the error that it raised."""
        measure = Measure(self, seconds, labels, error)
        if self.defer is not None:
            self.defer(measure)
        else:
            measure.record()


class Reader(MetricReader):
    """Hands points over when it is told to collect them."""

    def __init__(self, take: Callable[[MetricsData], None]) -> None:
        super().__init__(preferred_temporality=_TEMPORALITY)
        self._take = take

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        if any(scope.metrics for part in metrics_data.resource_metrics for scope in part.scope_metrics):
            self._take(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: who closes the client has collected."""


class _Processor(SpanProcessor):
    def __init__(self, take: Callable[[ReadableSpan], None]) -> None:
        self._take = take

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self._take(span)


class _Ids(IdGenerator):
    """Ids that leave the state of `random` as it is, which OpenTelemetry's own don't."""

    def generate_span_id(self) -> int:
        return new_bits(64)

    def generate_trace_id(self) -> int:
        return new_bits(128)


class Providers:
    """The providers in use, and the instruments made of them.

    Args:
        settings: namespace and service name of the private providers' resource.
        take: gets spans and points of the private providers; None if there is nowhere to send them.
    """

    def __init__(self, settings: Settings, take: Callable[[Any], None] | None) -> None:
        self._settings = settings
        self._take = take
        self._instance = str(uuid.uuid4())
        self._reader: Reader | None = None
        self._seen: tuple[object, object] | None = None
        self._instruments: Instruments | None = None

    def instruments(self) -> Instruments | None:
        """Return the instruments for a call; None if nobody wants its spans."""
        seen = (trace.get_tracer_provider(), metrics.get_meter_provider())
        if self._seen is None or self._seen[0] is not seen[0] or self._seen[1] is not seen[1]:
            self._instruments = self._make(*seen)
            self._seen = seen
        return self._instruments

    def collect(self) -> None:
        """Hand over the points measured since the last time."""
        if self._reader is not None:
            self._reader.collect()

    def _make(self, tracers: trace.TracerProvider, meters: metrics.MeterProvider) -> Instruments | None:
        their_tracers = not isinstance(tracers, trace.ProxyTracerProvider)
        their_meters = type(meters).__name__ != "_ProxyMeterProvider"  # it has no public name
        if self._take is None and not their_tracers:
            return None
        if not their_tracers:
            tracers = self._private_tracers()
        if not their_meters and self._take is not None:
            meters = self._private_meters()
        meter = meters.get_meter(SCOPE, __version__)
        return Instruments(
            tracers.get_tracer(SCOPE, __version__),
            meter.create_histogram(DURATION, "s", "How long calls took.", explicit_bucket_boundaries_advisory=_SECONDS),
            meter.create_counter(ERRORS, "{error}", "How many calls raised an error."),
            None if their_meters else self._take,
        )

    def _private_tracers(self) -> TracerProvider:
        provider = TracerProvider(resource=self._resource(), id_generator=_Ids(), shutdown_on_exit=False)
        if self._take is not None:
            provider.add_span_processor(_Processor(self._take))
        return provider

    def _private_meters(self) -> MeterProvider:
        if self._take is not None:
            self._reader = Reader(self._take)
        readers = [self._reader] if self._reader is not None else []
        return MeterProvider(
            metric_readers=readers,
            resource=self._resource(),
            exemplar_filter=AlwaysOffExemplarFilter(),
            shutdown_on_exit=False,
        )

    def _resource(self) -> Resource:
        return Resource.create(
            {
                "service.name": self._settings.service_name or program_name(),
                "service.namespace": self._settings.namespace,
                "service.instance.id": self._instance,
            }
        )
