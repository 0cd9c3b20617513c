"""The key of a dataset, and the column that tells which version of a row is newer."""

from __future__ import annotations

import duckdb

from pipelines.ingestion.inference import names
from pipelines.ingestion.inference.model import Inferred
from pipelines.ingestion.model import FileRefused

_CERTAIN_ROWS, _CERTAIN_ROWS_OF_ANY = 100, 1000


def find_key(
    columns: list[Inferred], dataset: str, given: tuple[str, ...], sampled: bool, connection: duckdb.DuckDBPyConnection
) -> tuple[list[Inferred], list[str]]:
    """Return the key's columns, none where there is no sure one, and what to say of it.

    Raises:
        FileRefused: the key given is no key: a column is unknown or sometimes empty.
    """
    if given:
        return _given(columns, given, connection)
    unique = [
        column
        for column in columns
        if not column.nulls and column.profile.most == 1 and column.guess.logical in ("string", "integer")
    ]
    own = [column for column in unique if names.is_key(column.name, dataset)]
    if len(own) == 1 and not sampled and own[0].profile.rows >= _CERTAIN_ROWS:
        key = own[0]
        return [key], [f"key {key.name}: unique in all {key.profile.rows:,} rows, never empty, and named like the key"]
    ids = [column for column in unique if names.is_identifier(column.name)]
    if not own and ids == columns[:1] and not sampled and ids[0].profile.rows >= _CERTAIN_ROWS_OF_ANY:
        told = f"unique in all {ids[0].profile.rows:,} rows, never empty, first, and the only unique id"
        return ids, [f"key {ids[0].name}: {told}"]
    likely = ids or own
    if likely:
        why = "only some of the rows were looked at" if sampled else "too little speaks for it"
        if not sampled and own and own[0].profile.rows < _CERTAIN_ROWS:
            why = f"{own[0].profile.rows:,} rows are too few to be sure"
        if len(likely) > 1:
            why = f"so is {likely[1].name}"
        told = " or ".join(f"--key {column.name}" for column in likely[:3])
        return [], [f"no key: {likely[0].name} is unique and never empty, but {why}; if it is one, say {told}"]
    return [], [_nearly(columns, dataset)]


def _given(
    columns: list[Inferred], given: tuple[str, ...], connection: duckdb.DuckDBPyConnection
) -> tuple[list[Inferred], list[str]]:
    known = {spelling: column for column in columns for spelling in (column.column, column.name)}
    for name in given:
        if name not in known:
            raise FileRefused(f"--key {name}: there is no such column; there are {', '.join(c.name for c in columns)}")
        if known[name].nulls:
            raise FileRefused(
                f"--key {name}: {known[name].nulls:,} of {known[name].profile.rows:,} rows have no value in it, "
                "so it can't tell rows apart"
            )
    key = [known[name] for name in dict.fromkeys(given)]
    fields = ", ".join(f"c{column.profile.position}" for column in key)
    row = connection.execute(
        f"SELECT count(*) - count(DISTINCT ({fields})) FROM texts WHERE problem IS NULL"
    ).fetchone()
    again = row[0] if row else 0
    told = f"key {', '.join(column.name for column in key)}: as you said"
    if again:
        return key, [f"{told}; {again:,} rows repeat one that is there already, and replace it when loaded"]
    return key, [f"{told}, and unique"]


def _nearly(columns: list[Inferred], dataset: str) -> str:
    for column in columns:
        rows, distinct = column.profile.filled, column.profile.distinct
        if names.is_key(column.name, dataset) and not column.nulls and distinct >= 0.9 * rows > 0:
            return (
                f"no key: {column.name} repeats in {rows - distinct:,} of {rows:,} rows; "
                f"if a later row replaces an earlier one, say --key {column.name}"
            )
    return "no key: no column named like one is unique and never empty, so rows are appended; --key a,b names one"


def find_order(columns: list[Inferred], given: str | None, has_key: bool) -> tuple[Inferred | None, list[str]]:
    """Return the column by which the newer row of a key wins, and what to say of it.

    Raises:
        FileRefused: the column given is unknown.
    """
    if given:
        found = next((column for column in columns if given in (column.name, column.column)), None)
        if found is None:
            raise FileRefused(f"--order-by {given}: there is no such column")
        return found, [f"order_by {found.name}: as you said"]
    if not has_key:
        return None, []
    for column in columns:
        if column.guess.logical in ("timestamp", "date") and names.tells_change(column.name):
            return column, [f"order_by {column.name}: it tells when a row was changed"]
    return None, ["no order_by: of two rows with one key the later one in the files wins; --order-by names a column"]
