"""What monitors have seen: the table audit.observations, one row a measure of a delivery."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from data_quality.monitors.expectation import MOST, Observation

TABLE = """
CREATE TABLE audit.observations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset text NOT NULL,
    file_id bigint NOT NULL,
    metric text NOT NULL,
    column_name text NOT NULL DEFAULT '',
    observed_at timestamptz NOT NULL,
    value double precision NOT NULL,
    size double precision NOT NULL,
    learned double precision NOT NULL,
    expected_low double precision,
    expected_high double precision,
    alarm boolean NOT NULL DEFAULT false,
    message text,
    detail jsonb,
    UNIQUE (dataset, file_id, metric, column_name)
);
CREATE INDEX observations_newest ON audit.observations (dataset, metric, column_name, observed_at);
CREATE INDEX observations_observed_at ON audit.observations (observed_at);
COMMENT ON TABLE audit.observations IS
    'One row for each measure of each delivered file; monitors take what they expect from it.';
COMMENT ON COLUMN audit.observations.observed_at IS 'When the file was loaded.';
COMMENT ON COLUMN audit.observations.size IS 'Of how many rows the measure is.';
COMMENT ON COLUMN audit.observations.learned IS
    'What later expectations are taken from: the value, or the end of the expected range that it broke.';
"""
DAYS = 1_100
"""How long observations are kept."""
_INSERT = """
INSERT INTO audit.observations (dataset, file_id, metric, column_name, observed_at, value, size, learned, expected_low,
    expected_high, alarm, message, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_LATEST = """
SELECT metric, column_name, observed_at, learned, size FROM (
    SELECT *, row_number() OVER (PARTITION BY metric, column_name ORDER BY observed_at DESC, file_id DESC) AS age
    FROM audit.observations WHERE dataset = %s) AS seen
WHERE age <= %s ORDER BY metric, column_name, observed_at, file_id
"""

Connection = psycopg.Connection[dict[str, Any]]
Series = tuple[str, str]
"""A metric and the column that it is of, '' for the whole dataset."""


@dataclass(frozen=True)
class Seen:
    """One measure of one delivery, and what was thought of it."""

    metric: str
    column: str
    at: dt.datetime
    value: float
    size: float
    low: float | None = None
    high: float | None = None
    alarm: bool = False
    message: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def learned(self) -> float:
        """The value, within what was expected: what is odd once moves later ranges little, what stays does in steps."""
        if self.low is not None:
            return min(max(self.value, self.low), self.high if self.high is not None else self.value)
        return self.value


def ensure_table(connection: Connection) -> None:
    """Make the table unless it is there; one process at a time."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit.observations'))")
        there = connection.execute("SELECT to_regclass('audit.observations') IS NOT NULL AS there").fetchall()
        if not there[0]["there"]:
            connection.execute(TABLE)


def forget(connection: Connection, now: dt.datetime) -> None:
    """Remove observations that are older than any range looks back."""
    connection.execute("DELETE FROM audit.observations WHERE observed_at < %s - %s * interval '1 day'", [now, DAYS])


def read_history(connection: Connection, dataset: str) -> dict[Series, list[Observation]]:
    """Return what expectations of a dataset are taken from, oldest first."""
    found: dict[Series, list[Observation]] = defaultdict(list)
    for row in connection.execute(_LATEST, [dataset, MOST]).fetchall():
        observation = Observation(row["observed_at"], row["learned"], row["size"])
        found[row["metric"], row["column_name"]].append(observation)
    return found


def write(connection: Connection, dataset: str, file_id: int, seen: Iterable[Seen]) -> None:
    """Keep what was seen of a file; what is there already stays as it is."""
    with connection.cursor() as cursor:
        cursor.executemany(
            _INSERT,
            [
                (dataset, file_id, item.metric, item.column, item.at, item.value, item.size, item.learned, item.low,
                 item.high, item.alarm, item.message, Jsonb(item.detail) if item.detail else None)
                for item in seen
            ],
        )  # fmt: skip
