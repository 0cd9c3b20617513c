"""Which columns hold personal data: by what their names say, and by what their values look like."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from data_quality.contract.personal import personal_by_name
from pipelines.ingestion.columns import literal

_SAMPLE, _SHARE = 5000, 0.8

_VALUES = (
    ("email", r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"),
    ("ip_address", r"((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"),
    ("ip_address", r"[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){3,7}"),
    ("bank_account", r"[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){2,7}( ?[A-Z0-9]{1,3})?"),
    ("payment_card", r"[3-6][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}"),
    ("phone", r"(\+[0-9][0-9 ()/.-]{6,18}|\(?0[0-9]{1,4}[)/ -][0-9 ()/.-]{4,15}|\(?[0-9]{3}[) -]+[0-9]{3}-[0-9]{4})"),
    ("device", r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"),
)


@dataclass(frozen=True)
class Personal:
    """A guess that a column holds personal data: the kind (a tag of the contract) and why."""

    kind: str
    why: str


def by_name(name: str, dataset: str) -> Personal | None:
    """Return what a column's name says of people."""
    found = personal_by_name(name, dataset)
    return Personal(found[0], f"personal data by its name ({found[1]})") if found else None


def by_values(connection: duckdb.DuckDBPyConnection) -> Personal | None:
    """Return what the texts in `value_counts(t, u, n)` look like."""
    counts = ", ".join(f"count(*) FILTER (regexp_full_match(u, {literal(pattern)}))" for _, pattern in _VALUES)
    row = connection.execute(
        f"SELECT count(*), {counts} FROM (SELECT u FROM value_counts WHERE u <> '' LIMIT {_SAMPLE})"
    ).fetchone()
    seen, *matches = row or (0,)
    for (kind, _), count in zip(_VALUES, matches, strict=True):
        if seen and count >= _SHARE * seen:
            return Personal(kind, f"personal data by its values ({100 * count // seen} % look like {kind})")
    return None
