"""Spans and metrics, by OpenTelemetry's API."""
