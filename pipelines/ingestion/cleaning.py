"""Cleaning: one statement made from the contract casts, tests and splits a file's rows, then the last of each key is
kept and written as Parquet, sorted by key.

Data flow: text relation → `cleaned` (typed values, number of the first broken rule, 0 for none) → staged Parquet and
rejects Parquet. The law of counts starts here: read = rejected + deduplicated + staged.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from data_quality.contract import Column, Contract
from pipelines.ingestion.columns import Test, is_text, literal, quoted, tests, value
from pipelines.ingestion.model import FileRefused
from pipelines.ingestion.readers import Source

RESCUED = "_rescued"


@dataclass
class Cleaned:
    """Rows by outcome before the warehouse has seen them."""

    rows_read: int
    rows_rejected: int
    rows_staged: int
    rejects_by_rule: dict[str, int] = field(default_factory=dict)

    @property
    def rows_deduplicated(self) -> int:
        """Good rows that a later row of the same key replaced."""
        return self.rows_read - self.rows_rejected - self.rows_staged


@dataclass(frozen=True)
class _Rule:
    column: Column | None
    test: Test

    @property
    def name(self) -> str:
        return f"{self.column.column if self.column else '*'}: {self.test.rule}"


def clean(
    source: Source, contract: Contract, connection: duckdb.DuckDBPyConnection, staged: Path, rejects: Path
) -> Cleaned:
    """Clean a file's rows and write the good ones to `staged` and the bad ones, with reasons, to `rejects`.

    Raises:
        FileRefused: required columns are missing, unknown ones forbidden, too many rows bad, a unique column is not.
    """
    positions = _match(source.header, contract)
    unknown = [index for index in range(len(source.header)) if index not in positions.values()]
    _check_columns(source, contract, positions, unknown)
    rules = _rules(contract)
    try:
        source = _run(source, contract, positions, unknown, rules, connection)
    except duckdb.OutOfMemoryException as error:
        raise FileRefused("needs more memory than a reader may use", "processing") from error
    except duckdb.Error as error:
        raise FileRefused(f"can't be read to its end: {str(error).strip().splitlines()[0][:500]}") from error
    broken = connection.execute("SELECT rule, count(*) FROM cleaned GROUP BY rule ORDER BY rule").fetchall()
    by_rule = {rules[number - 1].name: count for number, count in broken if number}
    read = sum(count for _, count in broken)
    result = Cleaned(read, sum(by_rule.values()), 0, by_rule)
    if result.rows_rejected:
        _write_rejects(source, contract, positions, rules, connection, rejects)
    _check_budget(result, contract)
    _write_staged(contract, connection, staged)
    row = connection.execute(f"SELECT count(*) FROM read_parquet({literal(staged)})").fetchone()
    result.rows_staged = int(row[0]) if row else 0
    _check_unique(contract, connection, staged)
    return result


def _run(
    source: Source,
    contract: Contract,
    positions: dict[str, int],
    unknown: list[int],
    rules: list[_Rule],
    connection: duckdb.DuckDBPyConnection,
) -> Source:
    """Run the cleaning statement, a second time by the careful reader if the fast one met a ragged record."""
    try:
        connection.execute(_statement(source, contract, positions, unknown, rules))
    except duckdb.InvalidInputException:
        if source.careful is None:
            raise
        source = source.careful()
        connection.execute(_statement(source, contract, positions, unknown, rules))
    return source


def _match(header: list[str], contract: Contract) -> dict[str, int]:
    """Return which field holds which column: the same name, else the only one that differs in case alone."""
    exact = {name: index for index, name in enumerate(header)}
    folded: dict[str, list[int]] = {}
    for index, name in enumerate(header):
        folded.setdefault(name.strip().casefold(), []).append(index)
    found: dict[str, int] = {}
    for column in contract.columns:
        if column.name in exact:
            found[column.name] = exact[column.name]
        elif len(folded.get(column.name.casefold(), [])) == 1:
            found[column.name] = folded[column.name.casefold()][0]
    return found


def _check_columns(source: Source, contract: Contract, positions: dict[str, int], unknown: list[int]) -> None:
    missing = [column.name for column in contract.columns if column.required and column.name not in positions]
    if missing and source.header:
        names = [source.header[index] for index in unknown]
        near = [
            f"{name} (perhaps {close[0]!r})" if (close := difflib.get_close_matches(name, names, 1)) else name
            for name in missing
        ]
        raise FileRefused(f"lacks the required column{'s' * (len(missing) > 1)} {', '.join(near)}")
    if unknown and contract.ingest.columns == "freeze":
        names = [repr(source.header[index]) for index in unknown]
        raise FileRefused(f"has columns its contract does not know: {', '.join(names)}; columns: freeze forbids them")


def _rules(contract: Contract) -> list[_Rule]:
    rules = [_Rule(None, Test("record", "problem IS NOT NULL", ""))]
    for column in contract.columns:
        rules += [
            _Rule(column, test) for test in tests(column, quoted(f"t.{column.column}"), quoted(f"v.{column.column}"))
        ]
    rules.append(_Rule(None, Test("unknown columns", f"contains({RESCUED}, '\\u0000')", "hold a NUL character")))
    return rules


def _text(column: Column, position: int | None, contract: Contract) -> str:
    """Return the expression of a column's text: null words are NULL, blanks around anything but text don't count."""
    if position is None:
        return "NULL::VARCHAR"
    text = f"c{position}"
    if not is_text(column):
        text = f"trim({text})"
    for word in contract.ingest.csv.null_words:
        text = f"nullif({text}, {literal(word)})"
    if contract.ingest.csv.decimal != "." and column.logical_type in ("integer", "number"):
        text = f"replace({text}, {literal(contract.ingest.csv.decimal)}, '.')"
    return text


def _statement(
    source: Source, contract: Contract, positions: dict[str, int], unknown: list[int], rules: list[_Rule]
) -> str:
    """Return the cleaning statement: text → null words → values → first broken rule, in one streaming pass."""
    texts, values, results = [], [], []
    for column in contract.columns:
        t, v = quoted(f"t.{column.column}"), quoted(f"v.{column.column}")
        texts.append(f"{_text(column, positions.get(column.name), contract)} AS {t}")
        values.append(f"{value(column, t)} AS {v}")
        results.append(f"{v} AS {quoted(column.column)}")
    cases = " ".join(f"WHEN {rule.test.broken} THEN {number}" for number, rule in enumerate(rules, 1))
    originals = ", ".join(quoted(f"t.{column.column}") for column in contract.columns)
    return (
        f"CREATE OR REPLACE TEMP TABLE cleaned AS SELECT record, line, CASE WHEN rule > 0 THEN raw END AS raw, rule, "
        f"problem, CASE WHEN rule > 0 THEN [{originals}] END AS original, {', '.join(results)}, {RESCUED} "
        f"FROM (SELECT *, (CASE {cases} ELSE 0 END)::USMALLINT AS rule "
        f"FROM (SELECT *, {', '.join(values)} "
        f"FROM (SELECT record, line, raw, problem, {', '.join(texts)}, "
        f"{_rescue(source, contract, unknown)} AS {RESCUED} "
        f"FROM ({source.sql}))))"
    )


def _rescue(source: Source, contract: Contract, unknown: list[int]) -> str:
    if not unknown or contract.ingest.columns != "rescue":
        return "NULL::VARCHAR"
    names = [literal(source.header[index] or f"column {index + 1}") for index in unknown]
    values = [source.members[index] if source.members else f"c{index}" for index in unknown]
    members = ", ".join(f"{name}, {value}" for name, value in zip(names, values, strict=True))
    some = " OR ".join(f"c{index} IS NOT NULL" for index in unknown)
    # Merging into an empty object drops the members that are null.
    return f"CASE WHEN {some} THEN json_merge_patch('{{}}', json_object({members}))::VARCHAR END"


def _write_rejects(
    source: Source,
    contract: Contract,
    positions: dict[str, int],
    rules: list[_Rule],
    connection: duckdb.DuckDBPyConnection,
    target: Path,
) -> None:
    index = {column.column: number for number, column in enumerate(contract.columns, 1)}
    columns, names, messages = [], [], []
    for number, rule in enumerate(rules, 1):
        names.append(f"WHEN {number} THEN {literal(rule.test.rule)}")
        if rule.column is None:
            messages.append(f"WHEN {number} THEN coalesce(problem, {literal('unknown columns ' + rule.test.message)})")
            continue
        columns.append(f"WHEN {number} THEN {literal(rule.column.column)}")
        said = f"{literal(rule.column.column)} || ' ' || "
        if rule.test.rule != "required":
            said += f"coalesce(chr(39) || left(original[{index[rule.column.column]}], 100) || chr(39) || ' ', '') || "
        messages.append(f"WHEN {number} THEN {said}{literal(rule.test.message)}")
    raw, lookup = "bad.raw", ""
    if source.raw_lines:
        raw, lookup = (
            "coalesce(bad.raw, lines.raw)",
            f"LEFT JOIN ({source.raw_lines}) AS lines ON lines.line = bad.line",
        )
    case = "CASE rule {} END"
    column = case.format(" ".join(columns))
    connection.execute(
        f"COPY (SELECT record, bad.line AS line, {column} AS column_name, "
        f"{case.format(' '.join(names))} AS rule, {case.format(' '.join(messages))} AS message, "
        f"replace({raw}, chr(0), chr(65533)) AS raw "
        f"FROM (SELECT * FROM cleaned WHERE rule > 0) AS bad {lookup} ORDER BY record) "
        f"TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"
    )


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
    raise BudgetExceeded(f"has {rows}, more than the {allowed} its contract allows ({worst})", result)


class BudgetExceeded(FileRefused):
    """More rows are bad than the contract allows; carries the counts, which the ledger keeps."""

    def __init__(self, message: str, result: Cleaned) -> None:
        super().__init__(message)
        self.result = result


def _write_staged(contract: Contract, connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    names = ", ".join([*(quoted(column.column) for column in contract.columns), RESCUED])
    keys = ", ".join(quoted(name) for name in contract.key)
    rest, order = "", "record"
    if keys:
        # Only keys that repeat are ranked: a window over all rows took twice as long.
        newest = f"{quoted(contract.ingest.order_by)} DESC NULLS LAST, " if contract.ingest.order_by else ""
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE replaced AS SELECT record FROM (SELECT * FROM cleaned WHERE rule = 0) "
            f"SEMI JOIN (SELECT {keys} FROM cleaned WHERE rule = 0 GROUP BY {keys} HAVING count(*) > 1) USING ({keys}) "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest}record DESC) > 1"
        )
        rest, order = "ANTI JOIN replaced USING (record)", keys
    connection.execute(
        f"COPY (SELECT {names} FROM cleaned {rest} WHERE rule = 0 ORDER BY {order}) "
        f"TO {literal(target)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000)"
    )


def _check_unique(contract: Contract, connection: duckdb.DuckDBPyConnection, staged: Path) -> None:
    for column in contract.columns:
        if not column.unique or contract.key == (column.column,):
            continue
        name = quoted(column.column)
        query = (
            f"SELECT {name}, count(*) FROM read_parquet({literal(staged)}) WHERE {name} IS NOT NULL "
            "GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 1"
        )
        row = connection.execute(query).fetchone()
        if row:
            shown = "" if column.is_pii else f" (for example {row[0]!r}, {row[1]} times)"
            raise FileRefused(f"repeats values in column {column.column}, which is unique{shown}")
