"""Kafka between whoever tells lineage and telemetry, and the stores: messages, topics, producer, consumers."""
