"""The custom property `ingest`: what ingestion is told and the standard has no field for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data_quality.contract.model import Column, CsvOptions, FileRules, IngestOptions, RejectBudget
from data_quality.contract.strict import INGEST, join, unknown, unknown_members

_CHOICES = {
    "format": ("auto", "csv", "json", "ndjson", "parquet"),
    "write": ("upsert", "append", "replace", "delete_insert", "scd2"),
    "columns": ("freeze", "evolve", "discard", "rescue"),
}
Report = Callable[[str, str], None]  # where in the file, message


def read_ingest(
    custom: list[dict[str, Any]], columns: list[Column], names: dict[str, str], report: Report
) -> IngestOptions:
    """Return the options, what is left out filled in.

    Args:
        custom: The contract's custom properties.
        columns: The dataset's columns.
        names: The warehouse name of every name that a column goes by.
        report: Takes what is wrong; the options returned then are not to be used.
    """
    index = next((i for i, entry in enumerate(custom) if entry.get("property") == "ingest"), None)
    has_key = any(column.primary_key for column in columns)
    chosen: dict[str, Any] = {"write": "upsert" if has_key else "append"}
    if index is None:
        return IngestOptions(**chosen)
    where, value = f"customProperties[{index}].value", custom[index].get("value") or {}
    if not isinstance(value, dict):
        report(where, "must be a mapping")
        return IngestOptions()
    problems = list(unknown_members(INGEST, value, where))
    for problem in problems:
        report(*problem)
    for option, choices in _CHOICES.items():
        if option in value:
            if value[option] not in choices:
                place, message = unknown(value[option], choices, join(where, option))
                report(place, message.replace("unknown key", "is"))
            chosen[option] = value[option]
    order_by = value.get("order_by")
    if order_by is not None and order_by not in names:
        report(join(where, "order_by"), f"{order_by!r} is no column of the dataset")
    _check_write(chosen["write"], names.get(str(order_by)), columns, where, report)
    if problems:
        return IngestOptions()
    return IngestOptions(
        **chosen,
        order_by=names.get(str(order_by)),
        rejects=_rejects(value.get("rejects") or {}, join(where, "rejects"), report),
        file=_file(value.get("file") or {}, join(where, "file"), report),
        csv=_csv(value.get("csv") or {}, join(where, "csv"), report),
    )


def _check_write(write: str, order_by: str | None, columns: list[Column], where: str, report: Report) -> None:
    """Report what a way to write needs and the columns don't give."""
    if write in ("upsert", "scd2") and not any(column.primary_key for column in columns):
        report(join(where, "write"), f"{write} needs a key: mark columns with primaryKey, or use append")
    if write == "delete_insert" and not any(column.partitioned for column in columns):
        report(join(where, "write"), "delete_insert replaces partitions: mark columns with partitioned")
    kind = next((column.logical_type for column in columns if column.column == order_by), None)
    if write == "scd2" and kind not in (None, "date", "timestamp"):
        message = f"{order_by!r} is of type {kind}; scd2 takes the start of a version from it: a date or timestamp"
        report(join(where, "order_by"), message)


def _rejects(value: dict[str, Any], where: str, report: Report) -> RejectBudget:
    percent, rows = value.get("max_percent", RejectBudget.max_percent), value.get("max_rows", RejectBudget.max_rows)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        report(join(where, "max_percent"), f"is {percent!r}; a number from 0 to 100")
    _check_rows(rows, join(where, "max_rows"), report)
    return RejectBudget(percent, rows)


def _file(value: dict[str, Any], where: str, report: Report) -> FileRules:
    rules = FileRules(**value)
    limits = [(name, limit) for name, limit in value.items() if limit is not None]
    if all([_check_rows(limit, join(where, name), report) for name, limit in limits]) and len(limits) == 2:
        low, high = value["min_rows"], value["max_rows"]
        if low > high:
            report(join(where, "min_rows"), f"is {low:,}, above max_rows, which is {high:,}: no file could pass")
    return rules


def _check_rows(rows: Any, where: str, report: Report) -> bool:
    good = isinstance(rows, int) and not isinstance(rows, bool) and rows >= 0
    if not good:
        report(where, f"is {rows!r}; a whole number from 0")
    return good


def _csv(value: dict[str, Any], where: str, report: Report) -> CsvOptions:
    given = dict(value)
    for key in ("delimiter", "quote", "escape", "comment", "decimal"):
        if key in given and (not isinstance(given[key], str) or len(given[key]) != 1):
            report(join(where, key), f"is {given[key]!r}; one character")
    skip = given.get("skip_rows", 0)
    _check_rows(skip, join(where, "skip_rows"), report)
    if not isinstance(given.get("header", True), bool):
        report(join(where, "header"), f"is {given['header']!r}; true or false")
    if given.get("comment") in (given.get("delimiter", ","), given.get("quote", '"')):
        report(join(where, "comment"), f"{given['comment']!r} is the delimiter or the quote too")
    if "encoding" in given:
        try:
            "".encode(str(given["encoding"]))
        except LookupError:
            report(join(where, "encoding"), f"{given['encoding']!r} is no encoding; utf-8, latin-1, cp1252…")
    if "null_words" in given:
        given["null_words"] = tuple(str(word) for word in given["null_words"] or ())
    return CsvOptions(**given)
