"""A group of files, cleaned: text relations → good rows, rejected rows, counts. The engine's side of `cleaning`.

Data flow: the pieces of all sources are cleaned two at a time. Rows that are good and whose key occurs once go to the
sink at once, sorted by key. Rows whose key repeats in their file wait until the end, when the newest of each is known.
So a file of any size passes through, and the law of counts starts here: read = rejected + deduplicated + staged.

A file that breaks a rule for whole files fails alone. In a group the good rows are kept back until that is known; a
file by itself has handed on its rows by then, and the caller throws them away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from data_quality.contract import Contract
from pipelines.ingestion import cleaning
from pipelines.ingestion.cleaning import RESCUED, Rule
from pipelines.ingestion.columns import literal, quoted
from pipelines.ingestion.content import Content, inspect
from pipelines.ingestion.engine import THREADS, engine
from pipelines.ingestion.model import FileRefused, Limits, Stage
from pipelines.ingestion.readers import Piece, Source, first_line, read

Sink = Callable[[Any], None]  # takes Arrow tables of good rows: the contract's columns, _rescued, and _part
BATCH = 200_000  # rows

GOOD, REPEATED, BAD = 0, 1, 2

_MAX_STATEMENTS = 256
_statements: dict[tuple[Any, ...], str] = {}  # by contract and header


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


def process(
    files: list[Path],
    contract: Contract,
    work: Path,
    rejects: Path,
    sink: Sink,
    limits: Limits,
    *,
    ordered: bool = True,
) -> tuple[list[Cleaned], Contract]:
    """Clean a group of files.

    Args:
        files: The files as they came.
        contract: Their contract.
        work: Folder for pieces of them.
        rejects: Where the Parquet of rejected rows is written, if there are any.
        sink: Takes the good rows.
        limits: How much may be unpacked.
        ordered: Whether the sink's tables are to be sorted by key, each in itself.

    Returns:
        What became of each file, in their order, and the contract with the columns that it has learnt of the files.
    """
    results = [Cleaned() for _ in files]
    contents: dict[int, Content] = {}
    for part, path in enumerate(files):
        try:
            contents[part] = inspect(path, work / f"part{part}", contract.ingest.csv.encoding, limits)
            results[part].notes = _notes(contents[part])
        except FileRefused as refused:
            results[part].refuse(refused)
    with ExitStack() as stack:
        connection = stack.enter_context(engine())
        sources, refused_parts = read(contents, contract, connection, work)
        for part, reason in refused_parts.items():
            results[part].refuse(reason)
        sources = [source for source in sources if _fits(source, contract, results)]
        if contract.ingest.columns == "evolve":
            names = dict.fromkeys(name for source in sources for name in cleaning.unknown(source.header, contract))
            try:
                contract = cleaning.evolved(contract, names)
            except FileRefused as refused:
                _refuse_all(sources, results, refused)
                sources = []
        _Run(contract, sources, results, connection, sink, ordered).run(rejects)
    return results, contract


def _notes(content: Content) -> dict[str, Any]:
    return {"format": content.kind, "encoding": content.encoding, "compression": content.compression}


def _fits(source: Source, contract: Contract, results: list[Cleaned]) -> bool:
    for part in source.parts:
        results[part].notes |= source.notes
    try:
        cleaning.check_columns(source.header, contract)
    except FileRefused as refused:
        _refuse_all([source], results, refused)
        return False
    return True


def _refuse_all(sources: list[Source], results: list[Cleaned], refused: FileRefused) -> None:
    for part in (part for source in sources for part in source.parts):
        results[part].refuse(refused)


def _execute(piece: Piece, query: Callable[[Piece], str]) -> list[Any]:
    """Run a query over a piece on a connection of its own and return its Arrow tables.

    Where the engine can't split a record of it, the piece is read again by the careful reader.
    """
    with engine() as connection:
        pieces = [piece]
        try:
            piece.bind(connection)
            return [connection.sql(query(piece)).to_arrow_table()]
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            if piece.careful is None:
                raise
            pieces = piece.careful()
        return [connection.sql(query(careful)).to_arrow_table() for careful in pieces]


class _Run:
    """One pass over the sources of a group."""

    def __init__(
        self,
        contract: Contract,
        sources: list[Source],
        results: list[Cleaned],
        connection: duckdb.DuckDBPyConnection,
        sink: Sink,
        ordered: bool,
    ) -> None:
        self.ordered = ordered
        self.contract, self.sources, self.results, self.connection = contract, sources, results, connection
        self.rules = cleaning.rules(contract)
        self.single = len(results) == 1
        self.unique = [column for column in contract.columns if column.unique and contract.key != (column.column,)]
        self.kept: list[Any] = []
        self.final = self._counted(sink)
        self.sink = self.final if self.single else self.kept.append
        self.broken: dict[int, Counter[int]] = {part: Counter() for part in range(len(results))}
        self.tables: set[str] = set()  # made in the engine by this run

    @cached_property
    def columns(self) -> list[str]:
        """The columns of good rows."""
        return [*(column.column for column in self.contract.columns), RESCUED, "_part"]

    @cached_property
    def keys(self) -> str:
        """The key's columns as SQL."""
        return ", ".join(quoted(name) for name in self.contract.key)

    def _counted(self, sink: Sink) -> Sink:
        def write(table: Any) -> None:
            for part, count in enumerate(np.bincount(table["_part"].to_numpy(), minlength=len(self.results))):
                self.results[part].rows_staged += int(count)
            sink(table)

        return write

    def run(self, rejects: Path) -> None:
        """Clean all pieces, then what could only be known at the end."""
        if self.keys:
            self._find_repeated()
        for piece, table in self._cleaned():
            self._take(piece, table)
        if "held" in self.tables:
            self._write_newest()
        for part, result in enumerate(self.results):
            if result.error is None:
                self._judge(part, result)
        self._check_unique()
        if "rejected" in self.tables:
            self._write_rejects(rejects)
        self._hand_on_kept()
        for name in self.tables:
            self.connection.execute(f"DROP TABLE {name}")

    def _find_repeated(self) -> None:
        """Note the hashes of keys that occur more than once in a file. A chance collision costs time, not truth."""
        self.connection.execute("CREATE OR REPLACE TABLE hashes (part INTEGER, h UBIGINT)")

        selects = {
            id(source): cleaning.keys(self.contract, source.header).sql(dialect="duckdb") for source in self.sources
        }

        def note(job: tuple[Source, Piece]) -> None:
            select = selects[id(job[0])]
            insert = f"INSERT INTO hashes SELECT _part, hash({self.keys}) FROM"
            with suppress(duckdb.Error):  # what can't be read is found again, and told of, when it is cleaned
                _execute(job[1], lambda piece: f"{insert} (WITH records AS ({piece.sql}) {select})")

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(note, self._jobs()))
        self.connection.execute(
            "CREATE OR REPLACE TABLE repeated AS SELECT DISTINCT h FROM hashes GROUP BY part, h HAVING count(*) > 1"
        )
        self.connection.execute("DROP TABLE hashes")

    def _cleaned(self) -> Iterator[tuple[Piece, Any]]:
        """Yield the pieces' rows in order, by class (good, of a repeated key, bad) and key; a few are cleaned ahead."""
        repeated = f"hash({self.keys}) IN (SELECT h FROM repeated)" if self.keys else "false"
        classes = f"(CASE WHEN _rule > 0 THEN {BAD} WHEN {repeated} THEN {REPEATED} ELSE {GOOD} END)::UTINYINT"
        order = f"_class, _part, {self.keys}" if self.keys and self.ordered else "_class, _part"

        def clean(job: tuple[Source, Piece]) -> list[Any]:
            select = self._statement(job[0])
            head, tail = f"SELECT *, {classes} AS _class FROM", f"ORDER BY {order}"
            return _execute(job[1], lambda piece: f"{head} (WITH records AS ({piece.sql}) {select}) {tail}")

        jobs = self._jobs()
        with ThreadPoolExecutor(THREADS) as pool:
            ahead = [(job, pool.submit(clean, job)) for job in islice(jobs, THREADS + 1)]
            while ahead:
                (source, piece), future = ahead.pop(0)
                for table in self._result(source, future):
                    yield piece, table
                if piece.lines is not None:
                    piece.lines.unlink()
                ahead += [(job, pool.submit(clean, job)) for job in islice(jobs, 1)]

    def _statement(self, source: Source) -> str:
        """Return the cleaning statement of a source. To make one takes longer than to clean a small file with it."""
        members = tuple(source.members) if source.members else None
        names = tuple(column.column for column in self.contract.columns)
        shape = (self.contract.fingerprint, names, tuple(source.header), members, source.may_hold_nul)
        if shape not in _statements:
            tree = cleaning.statement(self.contract, source.header, source.members, may_hold_nul=source.may_hold_nul)
            if len(_statements) >= _MAX_STATEMENTS:
                _statements.clear()
            _statements[shape] = tree.sql(dialect="duckdb")
        return _statements[shape]

    def _jobs(self) -> Iterator[tuple[Source, Piece]]:
        """Yield the pieces of all sources that are still wanted. Cutting a file can show that it is unreadable."""
        for source in self.sources:
            try:
                for piece in source.pieces:
                    if all(self.results[part].error is not None for part in source.parts):
                        break
                    yield source, piece
            except FileRefused as refused:
                _refuse_all([source], self.results, refused)

    def _result(self, source: Source, future: Future[list[Any]]) -> list[Any]:
        try:
            return future.result()
        except duckdb.OutOfMemoryException:
            refused = FileRefused("needs more memory than a reader may use", "processing")
        except duckdb.Error as error:
            refused = FileRefused(f"can't be read to its end: {first_line(error)}")
        except FileRefused as error:
            refused = error
        _refuse_all([source], self.results, refused)
        return []

    def _take(self, piece: Piece, table: Any) -> None:
        table = _with_raw(piece, table)
        repeated, bad = _bounds(table)
        for part, count in enumerate(np.bincount(table["_part"].to_numpy(), minlength=len(self.results))):
            self.results[part].rows_read += int(count)
        if repeated:
            self._give(table.slice(0, repeated).select(self.columns))
        if bad > repeated:
            self._keep("held", table.slice(repeated, bad - repeated).select([*self.columns, "_record"]))
        if bad < table.num_rows:
            names = ["_part", "_record", "_line", "_rule", "_problem", "_raw", "_original"]
            rejected = table.slice(bad).select(names)
            for part, rule in zip(rejected["_part"].to_pylist(), rejected["_rule"].to_pylist(), strict=True):
                self.broken[part][rule] += 1
            self._keep("rejected", rejected)

    def _keep(self, name: str, table: Any) -> None:
        """Add rows to a table of the engine, which goes to disk where it grows large."""
        self.connection.register("added", table)
        verb = f"INSERT INTO {name}" if name in self.tables else f"CREATE OR REPLACE TABLE {name} AS"
        self.tables.add(name)
        self.connection.execute(f"{verb} SELECT * FROM added")
        self.connection.unregister("added")

    def _write_newest(self) -> None:
        names = ", ".join(quoted(name) for name in self.columns)
        newest = f"{quoted(self.contract.ingest.order_by)} DESC NULLS LAST, " if self.contract.ingest.order_by else ""
        rank = f"row_number() OVER (PARTITION BY _part, {self.keys} ORDER BY {newest}_record DESC)"
        query = f"SELECT {names} FROM held QUALIFY {rank} = 1 ORDER BY _part, {self.keys}"
        import pyarrow as pa

        for batch in self.connection.sql(query).to_arrow_reader(BATCH):
            self._give(pa.Table.from_batches([batch]))

    def _give(self, table: Any) -> None:
        for number, column in enumerate(self.unique):
            self._keep(f"unique_{number}", table.select(["_part", column.column]).drop_null())
        self.sink(table)

    def _check_unique(self) -> None:
        """Refuse files that repeat a value in a column that is unique without being the key."""
        for number, column in enumerate(self.unique):
            if f"unique_{number}" not in self.tables:
                continue
            name = quoted(column.column)
            query = (
                f"SELECT _part, arg_max(v, n), max(n) FROM (SELECT _part, {name} AS v, count(*) AS n "
                f"FROM unique_{number} GROUP BY ALL HAVING n > 1) GROUP BY _part"
            )
            for part, value, times in self.connection.execute(query).fetchall():
                shown = "" if column.is_pii else f" (for example {value!r}, {times} times)"
                message = f"repeats values in column {column.column}, which is unique{shown}"
                self.results[part].refuse(FileRefused(message))

    def _judge(self, part: int, result: Cleaned) -> None:
        """Count a file's rejected rows, and refuse it if there are too many of them, or it has too few or many rows."""
        rules = {self.rules[number - 1].name: count for number, count in sorted(self.broken[part].items())}
        result.rejects_by_rule, result.rows_rejected = rules, sum(rules.values())
        try:
            _check_volume(result, self.contract)
            _check_budget(result, self.contract)
        except FileRefused as refused:
            result.refuse(refused)

    def _hand_on_kept(self) -> None:
        """Hand on the rows of a group's good files."""
        import pyarrow as pa

        if self.single or not self.kept:
            return
        table = pa.concat_tables(self.kept, promote_options="permissive")
        good = [part for part, result in enumerate(self.results) if result.error is None]
        self.connection.register("kept", table)
        order = f"{self.keys}, _part" if self.keys else "_part"
        parts = ", ".join(map(str, good)) or "NULL"
        query = f"SELECT * FROM kept WHERE _part IN ({parts}) ORDER BY {order}"
        for batch in self.connection.sql(query).to_arrow_reader(BATCH):
            self.final(pa.Table.from_batches([batch]))

    def _write_rejects(self, target: Path) -> None:
        described = [(number, *_described(rule)) for number, rule in enumerate(self.rules, 1)]
        self.connection.execute(
            "CREATE OR REPLACE TABLE rules (number INTEGER, col TEXT, rule TEXT, message TEXT, is_pii BOOLEAN)"
        )
        self.connection.executemany("INSERT INTO rules VALUES (?, ?, ?, ?, ?)", described)
        self.connection.execute(
            "COPY (SELECT _part AS part, _record AS record, _line AS line, col AS column_name, rule, CASE "
            "WHEN _problem IS NOT NULL THEN _problem WHEN col IS NULL THEN message "
            "WHEN is_pii THEN col || ' ' || message "
            "ELSE col || ' ' || coalesce(chr(39) || left(_original, 100) || chr(39) || ' ', '') || message "
            "END AS message, replace(_raw, chr(0), chr(65533)) AS raw "
            "FROM rejected JOIN rules ON number = _rule ORDER BY part, record) "
            f"TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _bounds(table: Any) -> tuple[int, int]:
    """Return where the rows of repeated keys begin, and where the bad ones do."""
    classes = table["_class"].to_numpy()
    return int(np.searchsorted(classes, REPEATED)), int(np.searchsorted(classes, BAD))


def _with_raw(piece: Piece, table: Any) -> Any:
    """Return the table with the raw text of bad rows, looked up by their lines."""
    import pyarrow as pa

    first = _bounds(table)[1]
    if piece.lines is None or first == table.num_rows or table["_raw"].slice(first).null_count == 0:
        return table
    raw = piece.raw_lines(table["_line"].slice(first).to_pylist())
    column = pa.chunked_array([pa.nulls(first, pa.string()), pa.array(raw, pa.string())])
    return table.set_column(table.schema.get_field_index("_raw"), "_raw", column)


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
