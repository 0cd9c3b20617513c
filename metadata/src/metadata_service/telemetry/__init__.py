"""Spans and metrics of teams' pipelines: reading them (own JSON, OTLP), and the stores that keep them."""
