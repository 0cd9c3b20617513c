"""CSV in its dialects, as relations of text.

A piece of the file whose every line is a record is read by the engine. Anything else (a quoted line break, a ragged
record, a blank line) goes through Python's reader, which is slower and takes all of it; both give the same relation.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from data_quality.contract import Contract
from pipelines.ingestion.columns import literal
from pipelines.ingestion.content import Content
from pipelines.ingestion.model import FileRefused
from pipelines.ingestion.readers.source import (
    MAX_LINE,
    PIECE_RECORDS,
    Piece,
    Pieces,
    Source,
    by_records,
    split_at_lines,
)

DELIMITERS = (",", ";", "\t", "|")


@dataclass(slots=True)
class Record:
    """A CSV record: its fields, its first and last line, its text without the line end."""

    fields: list[str]
    line: int
    last_line: int
    raw: str


@dataclass(frozen=True)
class Layout:
    """How a file is to be read: its dialect, its header, and after how many lines and bytes the records begin."""

    delimiter: str
    quote: str
    escape: str | None
    comment: str | None
    header: tuple[str, ...] = ()
    start: int = 0
    offset: int = 0

    @property
    def dialect(self) -> dict[str, Any]:
        """The dialect as Python's reader takes it."""
        escaped = {"escapechar": self.escape, "doublequote": False} if self.escape else {}
        return {"delimiter": self.delimiter, "quotechar": self.quote, **escaped}

    @property
    def is_simple(self) -> bool:
        """Whether the engine may read it at all."""
        return self.escape is None and self.comment is None and len(self.header) > 1


def layout(content: Content, contract: Contract) -> Layout:
    """Return how a file is to be read, by its contract and, where that is silent, by its first lines.

    Raises:
        FileRefused: the header is none of this dataset.
    """
    options = contract.ingest.csv
    escape = None if options.escape == options.quote else options.escape
    delimiter = options.delimiter or _sniff(content, contract)
    bare = Layout(delimiter, options.quote, escape, options.comment)
    with _opened(content.path, 0) as text:
        skipped = list(islice(text, options.skip_rows))
        if not options.header:
            header = tuple(column.name for column in contract.columns)
            return replace(bare, header=header, start=len(skipped), offset=_size(skipped))
        seen: list[str] = []
        found = next(_records(_noted(text, seen), bare, len(skipped)), None)
    if found is None:
        raise FileRefused("is empty: not even a header")
    header = tuple(name.strip() for name in found.fields)
    _check_header(header, content, contract)
    return replace(bare, header=header, start=found.last_line, offset=_size(skipped) + _size(seen))


def _noted(lines: Iterable[str], seen: list[str]) -> Iterator[str]:
    for line in lines:
        seen.append(line)
        yield line


def _size(lines: list[str]) -> int:
    return sum(len(line.encode()) for line in lines)


def _check_header(header: tuple[str, ...], content: Content, contract: Contract) -> None:
    seen: set[str] = set()
    for name in header:
        if name and name in seen:
            raise FileRefused(f"names column {name!r} twice in its header")
        seen.add(name)
    known = {column.name.casefold() for column in contract.columns}
    if not any(name.casefold() in known for name in header):
        line = content.head.lstrip().splitlines()[0][:80]
        raise FileRefused(
            f"is text, but not this dataset's CSV: no column of the contract is in its first line {line!r}"
        )


def _sniff(content: Content, contract: Contract) -> str:
    """Return the delimiter that finds most of the contract's columns in the first line."""
    options = contract.ingest.csv
    lines = content.head.splitlines()[options.skip_rows :]
    line = next((text for text in lines if text.strip() and not (options.comment and text[0] == options.comment)), "")
    if not options.header:
        return max(DELIMITERS, key=line.count)
    known = {column.name.casefold() for column in contract.columns}

    def found(delimiter: str) -> int:
        row = next(csv.reader([line], delimiter=delimiter, quotechar=options.quote), [])
        return len({name.strip().casefold() for name in row} & known)

    return max(DELIMITERS, key=found)


def small_rows(part: int, content: Content, form: Layout) -> list[tuple[Any, ...]]:
    """Return the records of a small file as rows of the relation."""
    with _opened(content.path, form.offset) as text:
        return list(_rows(part, _checked(_records(text, form, form.start), form), len(form.header)))


def small_source(files: dict[int, list[tuple[Any, ...]]], form: Layout, name: str) -> Source:
    """Return the source of small files of one layout, from their rows."""
    table = _table(list(chain.from_iterable(files.values())), len(form.header))
    return _source(list(files), form, [Piece(f"SELECT * FROM {name}", tables={name: table})])


def large_source(part: int, content: Content, form: Layout, work: Path) -> Source:
    """Return the source of a file of any size."""
    return _source([part], form, Pieces(_pieces(part, content, form, work)))


def _source(parts: list[int], form: Layout, pieces: Iterable[Piece]) -> Source:
    notes = {"delimiter": form.delimiter}
    return Source(parts, list(form.header), pieces, may_hold_nul=False, notes=notes)


def _pieces(part: int, content: Content, form: Layout, work: Path) -> Iterator[Piece]:
    """Yield the pieces of a file. From the first lines that are no records by themselves, Python's reader cuts it."""
    line, record, offset = form.start, 0, form.offset
    blocks = split_at_lines(content.path, offset) if form.is_simple else iter(())
    for number, block in enumerate(blocks):
        found = _inspect(block, form)
        if found.kind == "spans":
            break
        if found.kind == "plain":
            path = work / f"part{part}-{number}.csv"
            path.write_bytes(block)
            yield _engine_piece(part, path, form, line, record, found.pairs)
            record += found.lines
        else:
            records = _records(io.StringIO(block.decode(), newline=""), form, line)
            written, count = _write(records, part, form, work / f"part{part}-{number}.parquet", record)
            yield from written
            record += count
        line, offset = line + found.lines, offset + len(block)
    else:
        if form.is_simple:
            return
    with _opened(content.path, offset) as text:
        rest = _checked(_records(text, form, line), form)
        written, _ = _write(rest, part, form, work / f"part{part}-rest.parquet", record)
    yield from written


def _opened(path: Path, offset: int) -> TextIO:
    file = path.open("rb")
    file.seek(offset)
    return io.TextIOWrapper(file, encoding="utf-8", newline="")


@dataclass(frozen=True)
class _Block:
    """What a block of lines is: `plain` where every line is a record the engine can split, `careful` where Python's
    reader has to, `spans` where a record may go on past a line, or past the block."""

    kind: Literal["plain", "careful", "spans"]
    lines: int = 0
    pairs: bool = False


def _inspect(block: bytes, form: Layout) -> _Block:
    """Tell what a block is.

    The engine passes over an empty field too many at a line's end; the number of delimiters shows it.
    """
    codes = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    open_end = not block.endswith(b"\n")
    lines = len(ends) + open_end
    returns = block.count(b"\r")
    if returns and block.count(b"\r\n") != returns:
        return _Block("spans")
    quote, delimiter = form.quote.encode(), form.delimiter.encode()
    if quote not in block:
        delimiters = int(np.count_nonzero(codes == delimiter[0])) if len(delimiter) == 1 else block.count(delimiter)
    elif len(quote) > 1 or len(delimiter) > 1:
        return _Block("spans")
    else:
        # Sums wrap around at 256, which leaves odd odd and even even.
        inside = (np.cumsum(codes == quote[0], dtype=np.uint8) & 1).astype(bool)
        if inside[ends].any() or inside[-1]:
            return _Block("spans")
        delimiters = int(np.count_nonzero((codes == delimiter[0]) & ~inside))
    shortest = np.diff(ends, prepend=-1).min(initial=3)
    even = delimiters == (len(form.header) - 1) * lines and returns in (0, lines, len(ends))
    return _Block("plain" if even and shortest > 1 + bool(returns) else "careful", lines, bool(returns))


def _engine_piece(part: int, path: Path, form: Layout, line: int, record: int, pairs: bool) -> Piece:
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(form.header)))
    new_line = "\\r\\n" if pairs else "\\n"
    sql = (
        f"SELECT {part}::INTEGER AS part, {record} + n AS record, {line} + n AS line, NULL::VARCHAR AS raw, "
        "NULL::VARCHAR AS problem, * EXCLUDE (n) FROM (SELECT row_number() OVER () AS n, * FROM read_csv("
        f"{literal(path)}, auto_detect=false, header=false, columns={{{columns}}}, delim={literal(form.delimiter)}, "
        f"quote={literal(form.quote)}, escape={literal(form.quote)}, new_line='{new_line}', nullstr='\x1f\x1e\x1f', "
        f"max_line_size={MAX_LINE}, buffer_size={2 * MAX_LINE}))"
    )

    def careful() -> list[Piece]:
        with _opened(path, 0) as text:
            return _write(_records(text, form, line), part, form, path.with_suffix(".parquet"), record)[0]

    return Piece(sql, lines=path, skipped=line, careful=careful)


def _records(text: Iterable[str], form: Layout, before: int) -> Iterator[Record]:
    """Yield the records of a text as Python's reader splits them; blank lines and comments are none.

    Args:
        text: Its lines, with their ends as they are.
        form: The dialect.
        before: Number of lines of the file before this text.
    """
    csv.field_size_limit(sys.maxsize)
    consumed: list[str] = []
    line = before + 1

    def lines() -> Iterator[str]:
        nonlocal line
        for found in text:
            if form.comment and not consumed and found.startswith(form.comment):
                line += 1
                continue
            consumed.append(found)
            yield found

    reader = csv.reader(lines(), **form.dialect)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileRefused(f"is no readable CSV at line {line}: {error}") from error
        if fields:
            yield Record(fields, line, line + len(consumed) - 1, "".join(consumed).rstrip("\r\n"))
        line += len(consumed)
        consumed.clear()


def _checked(records: Iterable[Record], form: Layout) -> Iterator[Record]:
    """Yield records, and refuse the file if the last is an open quote: everything after it has been swallowed."""
    last = None
    for last in records:
        yield last
    if last is not None:
        try:
            list(csv.reader([last.raw], strict=True, **form.dialect))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise FileRefused(f"opens a quote in line {last.line} and never closes it") from error


def _rows(part: int, records: Iterable[Record], width: int, before: int = 0) -> Iterator[tuple[Any, ...]]:
    nothing: list[str | None] = [None] * width
    for number, record in enumerate(records, before + 1):
        if len(record.fields) == width:
            yield (part, number, record.line, record.raw, None, *record.fields)
        else:
            problem = f"has {len(record.fields)} fields, the header has {width}"
            yield (part, number, record.line, record.raw, problem, *nothing)


def _write(records: Iterable[Record], part: int, form: Layout, target: Path, before: int) -> tuple[list[Piece], int]:
    """Write records as Parquet in the relation's shape; return its pieces and how many records there are."""
    import pyarrow.parquet as pq

    rows, width, count = _rows(part, records, len(form.header), before), len(form.header), 0
    with pq.ParquetWriter(target, _schema(width), compression="zstd", compression_level=1) as writer:
        while batch := list(islice(rows, PIECE_RECORDS)):
            writer.write_table(_table(batch, width))
            count += len(batch)
    return by_records(target, before, count), count


def _schema(width: int) -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    fields = [("part", pa.int32()), ("record", number), ("line", number), ("raw", text), ("problem", text)]
    return pa.schema([*fields, *((f"c{index}", text) for index in range(width))])


def _table(rows: list[tuple[Any, ...]], width: int) -> Any:
    import pyarrow as pa

    schema = _schema(width)
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.table(arrays, schema=schema)
