"""A group of files, cleaned: text relations → good rows, rejected rows, counts. The engine's side of `cleaning`.

Data flow: the pieces of all sources are cleaned two at a time. Rows that are good and whose key occurs once go to the
sink at once, sorted by key. Rows whose key repeats in their file wait until the end, when the newest of each is known.
So a file of any size passes through, and the law of counts starts here: read = rejected + deduplicated + staged.

A file that breaks a rule for whole files fails alone. In a group the good rows are kept back until that is known; a
file by itself has handed on its rows by then, and the caller throws them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from data_quality.contract import Contract
from pipelines.ingestion import cleaning
from pipelines.ingestion.cleaning import RESCUED
from pipelines.ingestion.columns import quoted
from pipelines.ingestion.content import Content, inspect
from pipelines.ingestion.engine import THREADS, engine
from pipelines.ingestion.judging import Cleaned, Judge, Tables
from pipelines.ingestion.model import FileRefused, Limits
from pipelines.ingestion.readers import Piece, Source, first_line, read
from pipelines.ingestion.repeated import RepeatedHashes

Sink = Callable[[Any], None]  # takes Arrow tables of good rows: the contract's columns, _rescued, and _part
BATCH = 200_000  # rows

GOOD, REPEATED, BAD = 0, 1, 2

_MAX_STATEMENTS = 256
_statements: dict[tuple[Any, ...], str] = {}  # by contract and header


def process(
    files: list[Path],
    contract: Contract,
    work: Path,
    rejects: Path,
    sink: Callable[[Contract], Sink],
    limits: Limits,
    *,
    ordered: bool = True,
) -> list[Cleaned]:
    """Clean a group of files.

    Args:
        files: The files as they came.
        contract: Their contract.
        work: Folder for pieces of them.
        rejects: Where the Parquet of rejected rows is written, if there are any.
        sink: Given the contract with the columns that it has learnt of the files, returns what takes the good rows.
        limits: How much may be unpacked.
        ordered: Whether the sink's tables are to be sorted by key, each in itself.

    Returns:
        What became of each file, in their order.
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
        _Run(contract, sources, results, connection, work, sink(contract), ordered).run(rejects)
    return results


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
        work: Path,
        sink: Sink,
        ordered: bool,
    ) -> None:
        self.work, self.ordered = work, ordered
        self.contract, self.sources, self.results, self.connection = contract, sources, results, connection
        self.single = len(results) == 1
        self.may_tie = cleaning.tie(contract) is not None
        self.tables = Tables(connection)
        self.judge = Judge(contract, results, self.tables)
        self.kept: list[Any] = []
        self.final = self._counted(sink)
        self.sink = self.final if self.single else self.kept.append

    @cached_property
    def columns(self) -> list[str]:
        """The columns of good rows."""
        return [*(column.column for column in self.contract.columns), RESCUED, "_part"]

    @cached_property
    def keys(self) -> str:
        """The key's columns as SQL."""
        return ", ".join(quoted(name) for name in self.contract.key)

    @cached_property
    def key_hash(self) -> str:
        """The hash of a key and its file as SQL."""
        return f"hash(_part, {self.keys})"

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
        self.judge.pass_judgement()
        self.judge.write_rejects(rejects)
        self._hand_on_kept()
        self.tables.drop()

    def _find_repeated(self) -> None:
        """Note the hashes of keys that occur more than once in a file. A chance collision costs time, not truth."""
        selects = {
            id(source): cleaning.keys(self.contract, source.header).sql(dialect="duckdb") for source in self.sources
        }

        import pyarrow as pa

        def hashes(job: tuple[Source, Piece]) -> Any:
            head, select = f"SELECT {self.key_hash} AS h FROM", selects[id(job[0])]
            try:
                tables = _execute(job[1], lambda piece: f"{head} (WITH records AS ({piece.sql}) {select})")
            except duckdb.Error:  # what can't be read is found again, and told of, when it is cleaned
                tables = []
            return np.concatenate([np.empty(0, np.uint64), *(table["h"].to_numpy() for table in tables)])

        keys = RepeatedHashes(self.work)
        with ThreadPoolExecutor(THREADS) as pool:
            for run in pool.map(hashes, self._jobs()):
                keys.add(run)
        self.tables.add("repeated", pa.table({"h": keys.found()}))

    def _cleaned(self) -> Iterator[tuple[Piece, Any]]:
        """Yield the pieces' rows in order, each told by `_class` to be good, of a repeated key or bad; a few ahead."""
        repeated = f"{self.key_hash} IN (SELECT h FROM repeated)" if self.keys else "false"
        classes = f"(CASE WHEN _rule > 0 THEN {BAD} WHEN {repeated} THEN {REPEATED} ELSE {GOOD} END)::UTINYINT"
        order = f"ORDER BY _class, _part, {self.keys}" if self.keys and self.ordered else ""

        def clean(job: tuple[Source, Piece]) -> list[Any]:
            select = self._statement(job[0])
            raw = f"CASE WHEN _class > {GOOD} THEN _raw END AS _raw"
            head = f"SELECT * REPLACE ({raw}) FROM (SELECT *, {classes} AS _class FROM"
            return _execute(job[1], lambda piece: f"{head} (WITH records AS ({piece.sql}) {select})) {order}")

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
        if len(source.parts) > 1:  # which of them it was shows when they are read one by one
            raise refused
        _refuse_all([source], self.results, refused)
        return []

    def _take(self, piece: Piece, table: Any) -> None:
        for part, count in enumerate(np.bincount(table["_part"].to_numpy(), minlength=len(self.results))):
            self.results[part].rows_read += int(count)
        classes = table["_class"].to_numpy()
        good, told = _rows(table, classes == GOOD), _rows(table, classes > GOOD)
        if good.num_rows:
            self._give(good.select(self.columns))
        if not told.num_rows:
            return
        told = _with_raw(piece, told)
        classes = told["_class"].to_numpy()
        repeated, bad = _rows(told, classes == REPEATED), _rows(told, classes == BAD)
        if repeated.num_rows:
            self.tables.add("held", repeated.select([*self.columns, "_record", "_line", "_raw"]))
        if bad.num_rows:
            self.judge.reject(bad)

    def _give(self, table: Any) -> None:
        self.judge.note_unique(table)
        self.sink(table)

    def _write_newest(self) -> None:
        """Hand on the newest of the rows of each repeated key; of rows that are equally new, the last in the file."""
        import pyarrow as pa

        names = ", ".join(quoted(name) for name in self.columns)
        order = quoted(self.contract.ingest.order_by) if self.contract.ingest.order_by else None
        newest = f"{order} DESC NULLS LAST, " if order else ""
        same_key = f"WINDOW same_key AS (PARTITION BY _part, {self.keys} ORDER BY {newest}_record DESC)"
        query = (
            f"SELECT {names} FROM held {same_key} QUALIFY row_number() OVER same_key = 1 ORDER BY _part, {self.keys}"
        )
        for batch in self.connection.sql(query).to_arrow_reader(BATCH):
            self._give(pa.Table.from_batches([batch]))
        if self.may_tie:
            values = f"row({names})"
            ties = self.connection.sql(
                f"SELECT _part, _record, _line, {len(self.judge.rules)}::INTEGER AS _rule, NULL::VARCHAR AS _problem, "
                f"_raw, {order}::VARCHAR AS _original FROM held {same_key} "
                f"QUALIFY {order} = first_value({order}) OVER same_key "
                f"AND {values} IS DISTINCT FROM first_value({values}) OVER same_key"
            ).to_arrow_table()
            self.judge.reject(ties)

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


def _rows(table: Any, wanted: Any) -> Any:
    """Return the wanted rows: a slice without copying where they are neighbours, as they are when sorted."""
    places = np.flatnonzero(wanted)
    if not len(places):
        return table.slice(0, 0)
    first, last = int(places[0]), int(places[-1])
    return table.slice(first, len(places)) if last - first + 1 == len(places) else table.take(places)


def _with_raw(piece: Piece, rows: Any) -> Any:
    """Return rows with their raw text, looked up by their lines where the reader left it out."""
    import pyarrow as pa

    if piece.lines is None or rows["_raw"].null_count == 0:
        return rows
    raw = pa.array(piece.raw_lines(rows["_line"].to_pylist()), pa.string())
    return rows.set_column(rows.schema.get_field_index("_raw"), "_raw", raw)
