"""Verdicts over rows and files: which rows are rejected and why, which files are refused for what all of them hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from data_quality.contract import Contract
from pipelines.ingestion import cleaning
from pipelines.ingestion.cleaning import Rule
from pipelines.ingestion.columns import literal, quoted
from pipelines.ingestion.model import FileRefused, Stage


@dataclass
class Cleaned:
    """What became of one file of a group. A refused one has `error` and `stage`, and its counts as far as known."""

    rows_read: int = 0
    rows_rejected: int = 0
    rows_staged: int = 0
    rejects_by_rule: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    stage: Stage | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def rows_deduplicated(self) -> int:
        """Good rows that a later row of the same key replaced."""
        return self.rows_read - self.rows_rejected - self.rows_staged if self.error is None else 0

    def refuse(self, error: FileRefused) -> None:
        """Note why the file is not taken."""
        self.error, self.stage = str(error), error.stage


class Tables:
    """Tables of the engine that rows are kept in for a while; it puts them on disk where they grow large."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str, table: Any) -> None:
        """Add an Arrow table's rows to a table, made with the first of them."""
        self.connection.register("added", table)
        verb = f"INSERT INTO {name}" if name in self._names else f"CREATE OR REPLACE TABLE {name} AS"
        self._names.add(name)
        self.connection.execute(f"{verb} SELECT * FROM added")
        self.connection.unregister("added")

    def drop(self) -> None:
        """Drop them all."""
        for name in self._names:
            self.connection.execute(f"DROP TABLE {name}")
        self._names.clear()


class Judge:
    """The rejected rows of a group's files, and what that and the whole of their rows mean for each file."""

    def __init__(self, contract: Contract, results: list[Cleaned], tables: Tables) -> None:
        self.contract, self.results, self.tables = contract, results, tables
        tie = cleaning.tie(contract)
        self.rules = [*cleaning.rules(contract), *([tie] if tie else [])]
        self.unique = [column for column in contract.columns if column.unique and contract.key != (column.column,)]
        self.broken: dict[int, Counter[int]] = {part: Counter() for part in range(len(results))}

    def reject(self, table: Any) -> None:
        """Take rows that break a rule, as cleaning gave them."""
        rejected = table.select(["_part", "_record", "_line", "_rule", "_problem", "_raw", "_original"])
        for part, rule in zip(rejected["_part"].to_pylist(), rejected["_rule"].to_pylist(), strict=True):
            self.broken[part][rule] += 1
        self.tables.add("rejected", rejected)

    def note_unique(self, table: Any) -> None:
        """Note the values of good rows in columns that are unique without being the key."""
        for number, column in enumerate(self.unique):
            self.tables.add(f"unique_{number}", table.select(["_part", column.column]).drop_null())

    def pass_judgement(self) -> None:
        """Count each file's rejected rows, and refuse those that break a rule for files."""
        for part, result in enumerate(self.results):
            if result.error is not None:
                continue
            broken = {self.rules[number - 1].name: count for number, count in sorted(self.broken[part].items())}
            result.rejects_by_rule, result.rows_rejected = broken, sum(broken.values())
            try:
                _check_volume(result, self.contract)
                _check_budget(result, self.contract)
            except FileRefused as refused:
                result.refuse(refused)
        self._check_unique()

    def _check_unique(self) -> None:
        for number, column in enumerate(self.unique):
            if f"unique_{number}" not in self.tables:
                continue
            name = quoted(column.column)
            query = (
                f"SELECT _part, arg_max(v, n), max(n) FROM (SELECT _part, {name} AS v, count(*) AS n "
                f"FROM unique_{number} GROUP BY ALL HAVING n > 1) GROUP BY _part"
            )
            for part, value, times in self.tables.connection.execute(query).fetchall():
                shown = "" if column.is_pii else f" (for example {value!r}, {times} times)"
                message = f"repeats values in column {column.column}, which is unique{shown}"
                self.results[part].refuse(FileRefused(message))

    def write_rejects(self, target: Path) -> None:
        """Write all rejected rows, with their reasons, as Parquet; no file where there are none."""
        if "rejected" not in self.tables:
            return
        connection = self.tables.connection
        described = [(number, *_described(rule)) for number, rule in enumerate(self.rules, 1)]
        connection.execute(
            "CREATE OR REPLACE TABLE rules (number INTEGER, col TEXT, rule TEXT, message TEXT, is_pii BOOLEAN)"
        )
        connection.executemany("INSERT INTO rules VALUES (?, ?, ?, ?, ?)", described)
        connection.execute(
            "COPY (SELECT _part AS part, _record AS record, _line AS line, col AS column_name, rule, CASE "
            "WHEN _problem IS NOT NULL THEN _problem WHEN col IS NULL THEN message "
            "WHEN is_pii THEN col || ' ' || message "
            "ELSE col || ' ' || coalesce(chr(39) || left(_original, 100) || chr(39) || ' ', '') || message "
            "END AS message, replace(_raw, chr(0), chr(65533)) AS raw "
            "FROM rejected JOIN rules ON number = _rule ORDER BY part, record) "
            f"TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _described(rule: Rule) -> tuple[str | None, str, str, bool]:
    if rule.column is None:
        return None, rule.test.rule, f"unknown columns {rule.test.message}", False
    return rule.column.column, rule.test.rule, rule.test.message, rule.column.is_pii


def _check_volume(result: Cleaned, contract: Contract) -> None:
    rules = contract.ingest.file
    if rules.min_rows is not None and result.rows_read < rules.min_rows:
        raise FileRefused(f"has {result.rows_read:,} rows, fewer than the {rules.min_rows:,} its contract asks for")
    if rules.max_rows is not None and result.rows_read > rules.max_rows:
        raise FileRefused(f"has {result.rows_read:,} rows, more than the {rules.max_rows:,} its contract allows")


def _check_budget(result: Cleaned, contract: Contract) -> None:
    budget = contract.ingest.rejects
    if result.rows_rejected > budget.max_rows:
        allowed = f"{budget.max_rows:,} rows"
    elif result.rows_rejected * 100 > budget.max_percent * result.rows_read:
        allowed = f"{budget.max_percent:g} percent"
    else:
        return
    worst = ", ".join(
        f"{name} {count:,}" for name, count in sorted(result.rejects_by_rule.items(), key=lambda item: -item[1])[:5]
    )
    rows = f"{result.rows_rejected:,} bad rows of {result.rows_read:,}"
    raise FileRefused(f"has {rows}, more than the {allowed} its contract allows ({worst})")
