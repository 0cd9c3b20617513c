"""Names that more than one part of the platform has to spell alike."""

from __future__ import annotations


def staging_uri(table: str) -> str:
    """Return the asset URI of a table in the schema staging."""
    return f"warehouse://staging/{table}"
