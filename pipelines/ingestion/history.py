"""Write mode scd2: every version of a row is kept, with the time from which and to which it was the current one."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from data_quality.contract import Contract
from pipelines.ingestion.warehouse import table_name


def merge(
    connection: psycopg.Connection[Any], contract: Contract, source: sql.Composable, names: list[str]
) -> list[tuple[str, int, int]]:
    """Take rows in as new versions: `_valid_from` is the order column's time, or now where it is no time.

    A row that differs from its key's current version ends it and becomes the current one. One of the same time
    corrects the version in place. An older one, or one that says the same, changes nothing.

    Returns:
        INSERT for rows of new keys, UPDATE for new versions and corrections, the file's id, and how many.
    """
    table, keys = table_name(contract), [sql.Identifier(name) for name in contract.key]
    others = [sql.Identifier(name) for name in names if name not in contract.key]
    parts = {
        "table": table,
        "source": source,
        "match": sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(key) for key in keys),
        "since": _since(contract),
        "differs": sql.SQL("({}) IS DISTINCT FROM ({})").format(
            sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in others),
            sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in others),
        ),
        "names": sql.SQL(", ").join([*map(sql.Identifier, names), sql.SQL("_file_id")]),
        "values": sql.SQL(", ").join(sql.SQL("s.{}").format(sql.Identifier(name)) for name in (*names, "_file_id")),
        "sets": sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(name) for name in others),
    }
    corrected = connection.execute(
        sql.SQL(
            "WITH done AS (UPDATE {table} AS t SET {sets}, _file_id = s._file_id, _loaded_at = now() FROM {source} AS s"
            " WHERE {match} AND t._is_current AND t._valid_from = {since} AND {differs} RETURNING s._file_id)"
            " SELECT 'UPDATE', _file_id, count(*) FROM done GROUP BY 2"
        ).format(**parts)
    ).fetchall()
    ended = connection.execute(
        sql.SQL(
            "WITH ended AS (UPDATE {table} AS t SET _valid_to = {since}, _is_current = false FROM {source} AS s"
            " WHERE {match} AND t._is_current AND t._valid_from < {since} AND {differs} RETURNING s._file_id)"
            " SELECT 'UPDATE', _file_id, count(*) FROM ended GROUP BY 2"
        ).format(**parts)
    ).fetchall()
    # Whatever has no current version now is a new key, or one whose version has just been ended.
    added = connection.execute(
        sql.SQL(
            "WITH added AS (INSERT INTO {table} ({names}, _valid_from, _is_current) SELECT {values}, {since}, true"
            " FROM {source} AS s WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {match} AND t._is_current)"
            " RETURNING _file_id) SELECT 'INSERT', _file_id, count(*) FROM added GROUP BY 2"
        ).format(**parts)
    ).fetchall()
    versions = {file_id: count for _, file_id, count in ended}
    fresh = [(action, file_id, count - versions.get(file_id, 0)) for action, file_id, count in added]
    return [*corrected, *ended, *fresh]


def _since(contract: Contract) -> sql.Composable:
    order = next((column for column in contract.columns if column.column == contract.ingest.order_by), None)
    if order is None or order.logical_type not in ("date", "timestamp"):
        return sql.SQL("now()")
    return sql.SQL("coalesce(s.{}::timestamptz, now())").format(sql.Identifier(order.column))
