"""Prometheus metrics of the service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector


class Metrics:
    """Counters of one application; each has its own registry, so that tests can make several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "metadata_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "metadata_http_request_seconds",
            "Time to answer a request.",
            ["method", "route"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self.events = Counter(
            "metadata_lineage_events_total",
            "OpenLineage events by what became of them: stored, duplicate or rejected.",
            ["outcome"],
            registry=self.registry,
        )
        self.projected = Counter(
            "metadata_events_projected_total",
            "Stored events that the graph was brought up to date with.",
            registry=self.registry,
        )
        self.unprojectable = Counter(
            "metadata_events_unprojectable_total",
            "Stored events that could not be projected; table event_failure says why.",
            registry=self.registry,
        )
        self.backlog = Gauge(
            "metadata_events_backlog", "Stored events that are not yet projected.", registry=self.registry
        )
        self.failed = Gauge(
            "metadata_events_failed", "Stored events that are put aside as unprojectable.", registry=self.registry
        )
        self.lag = Gauge(
            "metadata_projection_lag_seconds",
            "Age of the oldest stored event that is not yet projected.",
            registry=self.registry,
        )

        self.ingested = Counter(
            "metadata_hub_items_total",
            "Events, spans and metrics that teams sent, by the name of their key and by what became of them.",
            ["kind", "sender", "outcome"],
            registry=self.registry,
        )
        self._outcomes = {name: self.events.labels(name) for name in ("stored", "duplicate", "rejected")}
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_event(self, outcome: str, number: int = 1) -> None:
        """Count events that were `stored`, `duplicate` or `rejected`."""
        self._outcomes[outcome].inc(number)

    def count_ingested(self, kind: str, sender: str, accepted: int, rejected: int) -> None:
        """Count events, spans or metrics that a key sent."""
        for outcome, number in (("accepted", accepted), ("rejected", rejected)):
            if number:
                self.ingested.labels(kind, sender, outcome).inc(number)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        known = self._routes.get((method, route, status))
        if known is None:  # looking metrics up by their labels takes longer than counting
            known = self.requests.labels(method, route, status), self.seconds.labels(method, route)
            self._routes[(method, route, status)] = known
        known[0].inc()
        known[1].observe(seconds)
