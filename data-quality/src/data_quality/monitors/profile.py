"""What the rows of files look like: nulls, distinct values, means and quantiles of all columns in one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_quality.checks.model import quoted
from data_quality.contract import Contract
from data_quality.monitors.history import Connection

QUANTILES = (0.05, 0.5, 0.95)
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_WHOLE = 200_000
"""Rows of a file up to which every row is looked at; of a larger one as many, drawn at random."""


@dataclass(frozen=True)
class ColumnProfile:
    """A column in the rows of one file. `mean` and `quantiles` are of numbers, None for other columns."""

    nulls: float
    distinct: float
    mean: float | None = None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Profile:
    """The rows of one file that are in the table; `columns` is empty where there are none."""

    rows: int
    columns: dict[str, ColumnProfile]


def profiles(
    connection: Connection, contract: Contract, types: dict[str, str], files: Sequence[int]
) -> dict[int, Profile]:
    """Return what the rows of some files look like, in one scan of the table.

    Args:
        connection: A connection that may read the table.
        contract: The dataset's contract; its table is in the schema staging.
        types: The table's columns and their types.
        files: The files' ids in the ledger.
    """
    numbers = {name for name, kind in types.items() if kind.split("(")[0] in _NUMBERS}
    columns = [column.column for column in contract.columns if types.get(column.column) not in (None, "json")]
    relation = f"staging.{quoted(contract.table)}"
    counts = connection.execute(
        f"SELECT _file_id AS file, count(*) AS rows FROM {relation} WHERE _file_id = ANY(%s) GROUP BY _file_id",
        [list(files)],
    ).fetchall()
    found: dict[int, Profile] = {}
    for rows_of in (True, False):
        chosen = [row for row in counts if (row["rows"] <= _WHOLE) == rows_of]
        if chosen:
            share = 1.0 if rows_of else _WHOLE / max(row["rows"] for row in chosen)
            found |= _profiled(connection, relation, columns, numbers, [row["file"] for row in chosen], share)
    return {file: found.get(file, Profile(0, {})) for file in files}


def _profiled(
    connection: Connection, relation: str, columns: Sequence[str], numbers: set[str], files: list[int], share: float
) -> dict[int, Profile]:
    parts = []
    for number, column in enumerate(columns):
        name = quoted(column)
        parts += [f"count({name}) AS c{number}", f"count(DISTINCT {name}) AS d{number}"]
        if column in numbers:
            parts.append(f"avg({name})::float8 AS m{number}")
            wanted = ", ".join(map(str, QUANTILES))
            parts.append(f"percentile_cont(ARRAY[{wanted}]) WITHIN GROUP (ORDER BY {name}::float8) AS q{number}")
    sample = "" if share >= 1 else f" AND random() < {share}"
    query = (
        f"SELECT _file_id AS file, count(*) AS rows, {', '.join(parts)} FROM {relation} "
        f"WHERE _file_id = ANY(%s){sample} GROUP BY _file_id"
    )
    return {row["file"]: _profile(row, columns) for row in connection.execute(query, [files]).fetchall()}


def _profile(row: dict[str, Any], columns: Sequence[str]) -> Profile:
    rows = row["rows"]
    found = {}
    for number, column in enumerate(columns):
        found[column] = ColumnProfile(
            1 - row[f"c{number}"] / rows, row[f"d{number}"], row.get(f"m{number}"), tuple(row.get(f"q{number}") or ())
        )
    return Profile(rows, found)
