"""Runs, their datasets, and the way they become OpenLineage events."""
