"""Every format as one relation of text: `record, line, raw, problem, c0 … cN`, a row for every record.

`record` counts from 1, `line` is the record's first line where the format has lines, `raw` the record as it stands in
the file, `problem` says why it can't be split into fields. A reader may leave `raw` empty and name `raw_lines`
instead, a relation `line, raw` to look rejected rows up in. Only this module and `cleaning` know DuckDB.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from data_quality.contract import Contract
from pipelines.ingestion.columns import literal, quoted
from pipelines.ingestion.content import Content
from pipelines.ingestion.model import FileRefused

DELIMITERS = (",", ";", "\t", "|")
MAX_LINE = 64 * 1024 * 1024
_BATCH = 20_000


@dataclass
class Source:
    """A file as a relation: the query, the fields' names in the order of c0 … cN, and what was found out about it.

    `members` are the expressions of the fields as JSON, where the format has types that text would lose. `careful`
    gives the same relation by a slower reader that takes ragged records too, for when the query fails on one.
    """

    sql: str
    header: list[str]
    raw_lines: str | None = None
    members: list[str] | None = None
    careful: Callable[[], Source] | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def read(content: Content, contract: Contract, connection: duckdb.DuckDBPyConnection, work: Path) -> Source:
    """Return the relation of a file.

    Raises:
        FileRefused: the file can't be split into records, or is of another format than its contract says.
    """
    wanted, kind = contract.ingest.format, content.kind
    if kind == "empty":
        if wanted in ("json", "ndjson"):
            return Source(_empty([]), [])
        raise FileRefused("is empty: not even a header")
    if wanted != "auto" and wanted != kind and {wanted, kind} != {"json", "ndjson"}:
        raise FileRefused(f"is {kind}, but its contract says {wanted}")
    try:
        if kind == "parquet":
            return _parquet(content, connection)
        if kind == "json":
            return _json(_array_records(content), connection)
        if kind == "ndjson":
            return _json(_line_records(content), connection)
        return _csv(content, contract, connection, work)
    except duckdb.Error as error:
        raise FileRefused(f"is no readable {kind}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500]


def _empty(header: list[str]) -> str:
    columns = "".join(f", NULL::VARCHAR AS c{index}" for index in range(len(header)))
    return (
        "SELECT NULL::BIGINT AS record, NULL::BIGINT AS line, NULL::VARCHAR AS raw, NULL::VARCHAR AS problem"
        f"{columns} WHERE false"
    )


# --- Parquet ---------------------------------------------------------------------------------------------------


def _parquet(content: Content, connection: duckdb.DuckDBPyConnection) -> Source:
    scan = f"read_parquet({literal(content.path)}, file_row_number=true)"
    described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {scan}").fetchall()
    header = [str(row[0]) for row in described]
    texts = ", ".join(
        f"{_parquet_text(quoted(name), str(row[1]))} AS c{index}"
        for index, (name, row) in enumerate(zip(header, described, strict=True))
    )
    whole = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in header)
    sql = (
        f"SELECT file_row_number + 1 AS record, NULL::BIGINT AS line, to_json(struct_pack({whole}))::VARCHAR AS raw, "
        f"NULL::VARCHAR AS problem, {texts} FROM {scan}"
    )
    return Source(sql, header)


def _parquet_text(name: str, kind: str) -> str:
    nested = kind.startswith(("STRUCT", "MAP")) or kind.endswith("]")
    return f"to_json({name})::VARCHAR" if nested else f"{name}::VARCHAR"


# --- JSON ------------------------------------------------------------------------------------------------------


def _array_records(content: Content) -> str:
    return (
        "SELECT row_number() OVER () AS record, NULL::BIGINT AS line, json::VARCHAR AS raw "
        f"FROM read_json_objects({literal(content.path)}, format='array', maximum_object_size={MAX_LINE})"
    )


def _line_records(content: Content) -> str:
    return f"SELECT row_number() OVER () AS record, line, raw FROM ({_lines(content)}) WHERE trim(raw, ' \t\r') <> ''"


def _lines(content: Content) -> str:
    """Return the relation `line, raw` of a text file. The delimiter is a character that no text holds."""
    new_line = "\\r\\n" if content.pairs and content.pairs == content.line_feeds else "\\n"
    return (
        "SELECT row_number() OVER () AS line, raw FROM read_csv("
        f"{literal(content.path)}, auto_detect=false, header=false, columns={{'raw': 'VARCHAR'}}, delim='\x1f', "
        f"quote='', escape='', new_line='{new_line}', strict_mode=false, max_line_size={MAX_LINE})"
    )


def _json(records: str, connection: duckdb.DuckDBPyConnection) -> Source:
    connection.execute(
        "CREATE TEMP TABLE json_records AS "
        "SELECT record, line, raw, CASE WHEN NOT json_valid(raw) THEN 'is no JSON' "
        f"WHEN json_type(raw) <> 'OBJECT' THEN 'is no JSON object' END AS problem FROM ({records})"
    )
    keys = "SELECT DISTINCT unnest(json_keys(raw)) AS key FROM json_records WHERE problem IS NULL"
    header = sorted(str(row[0]) for row in connection.execute(keys).fetchall())
    paths = ["/" + name.replace("~", "~0").replace("/", "~1") for name in header]
    if not header:
        return Source("SELECT record, line, raw, problem FROM json_records", [])
    fields = ", ".join(f"f[{index + 1}] AS c{index}" for index in range(len(header)))
    extracted = f"json_extract_string(raw, [{', '.join(map(literal, paths))}])"
    sql = (
        f"SELECT record, line, raw, problem, {fields} FROM (SELECT record, line, raw, problem, "
        f"CASE WHEN problem IS NULL THEN {extracted} END AS f FROM json_records)"
    )
    members = [f"json_extract(raw, {literal(path)})" for path in paths]
    return Source(sql, header, members=members)


# --- CSV -------------------------------------------------------------------------------------------------------


def _csv(content: Content, contract: Contract, connection: duckdb.DuckDBPyConnection, work: Path) -> Source:
    options = contract.ingest.csv
    delimiter = options.delimiter or _sniff(content, contract)
    dialect: dict[str, Any] = {"delimiter": delimiter, "quotechar": options.quote}
    if options.escape and options.escape != options.quote:
        dialect |= {"escapechar": options.escape, "doublequote": False}
    records = _records(content.path, dialect)
    for _ in range(options.skip_rows):
        next(records, None)
    first = next(records, None)
    if first is None:
        return Source(_empty([]), [])
    if options.header:
        header, start = [name.strip() for name in first.fields], first.line
    else:
        header, start = [column.name for column in contract.columns], first.line - 1
    _check_header(header, content, contract)
    notes = {"delimiter": delimiter, "encoding": content.encoding, "compression": content.compression}

    def careful() -> Source:
        again = _records(content.path, dialect)
        for _ in range(options.skip_rows + options.header):
            next(again, None)
        parquet = _write_records(again, header, work, dialect)
        return Source(f"SELECT * FROM read_parquet({literal(parquet)})", header, notes=notes)

    plain = _is_plain(content, delimiter, len(header)) and not options.skip_rows and not options.escape
    return _plain_csv(content, header, delimiter, start, careful, notes) if plain else careful()


def _check_header(header: list[str], content: Content, contract: Contract) -> None:
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
    if not contract.ingest.csv.header:
        line = content.head.splitlines()[0]
        return max(DELIMITERS, key=line.count)
    lines = content.head.splitlines()[contract.ingest.csv.skip_rows :]
    line = next((line for line in lines if line.strip()), "")
    known = {column.name.casefold() for column in contract.columns}

    def found(delimiter: str) -> int:
        row = next(csv.reader([line], delimiter=delimiter, quotechar=contract.ingest.csv.quote), [])
        return len({name.strip().casefold() for name in row} & known)

    return max(DELIMITERS, key=found)


def _is_plain(content: Content, delimiter: str, width: int) -> bool:
    """Whether every line may be taken for a record: nothing quoted, no blank lines, one kind of line end.

    The engine passes over an empty field too many at a line's end; the number of delimiters shows it.
    """
    one_kind = content.carriage_returns in (0, content.line_feeds) and content.pairs == content.carriage_returns
    even = width > 1 and content.delimiters[delimiter] == (width - 1) * content.lines
    return even and one_kind and not content.quotes and not content.blank_lines


def _plain_csv(
    content: Content,
    header: list[str],
    delimiter: str,
    start: int,
    careful: Callable[[], Source],
    notes: dict[str, Any],
) -> Source:
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(header)))
    new_line = "\\r\\n" if content.pairs else "\\n"
    scan = (
        f"read_csv({literal(content.path)}, auto_detect=false, header=false, skip={start}, columns={{{columns}}}, "
        f"delim={literal(delimiter)}, quote='', escape='', new_line='{new_line}', max_line_size={MAX_LINE})"
    )
    sql = (
        f"SELECT record, record + {start} AS line, NULL::VARCHAR AS raw, NULL::VARCHAR AS problem, "
        f"* EXCLUDE (record) FROM (SELECT row_number() OVER () AS record, * FROM {scan})"
    )
    return Source(sql, header, raw_lines=_lines(content), careful=careful, notes=notes)


@dataclass(slots=True)
class Record:
    """A CSV record: its fields, its first and last line, its text without the line end."""

    fields: list[str]
    line: int
    raw: str


def _records(path: Path, dialect: dict[str, Any]) -> Iterator[Record]:
    """Yield the records of a CSV file as Python's reader splits them; blank lines are none."""
    csv.field_size_limit(sys.maxsize)
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        with path.open(encoding="utf-8", newline="") as file:
            for text in file:
                consumed.append(text)
                yield text

    reader, line = csv.reader(lines(), **dialect), 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileRefused(f"is no readable CSV at line {line}: {error}") from error
        if fields:
            yield Record(fields, line, "".join(consumed).rstrip("\r\n"))
        line += len(consumed)
        consumed.clear()


def _write_records(records: Iterator[Record], header: list[str], work: Path, dialect: dict[str, Any]) -> Path:
    """Write the records as Parquet in the relation's shape and return its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target, width, number = work / "records.parquet", len(header), 0
    names = ["record", "line", "raw", "problem", *(f"c{index}" for index in range(width))]
    types = [pa.int64(), pa.int64(), *[pa.string()] * (2 + width)]
    schema = pa.schema(list(zip(names, types, strict=True)))
    nothing: list[str | None] = [None] * width
    last: Record | None = None
    with pq.ParquetWriter(target, schema, compression="zstd", compression_level=1) as writer:
        rows: list[tuple[Any, ...]] = []
        for number, record in enumerate(records, 1):
            last = record
            if len(record.fields) == width:
                rows.append((number, record.line, record.raw, None, *record.fields))
            else:
                problem = f"has {len(record.fields)} fields, the header has {width}"
                rows.append((number, record.line, record.raw, problem, *nothing))
            if len(rows) == _BATCH:
                writer.write_batch(_batch(rows, schema))
                rows = []
        if rows:
            writer.write_batch(_batch(rows, schema))
    if last is not None:
        _check_closed(last, dialect)
    return target


def _batch(rows: list[tuple[Any, ...]], schema: Any) -> Any:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _check_closed(record: Record, dialect: dict[str, Any]) -> None:
    """Refuse a file whose last record is an open quote: everything after it has been swallowed."""
    try:
        list(csv.reader([record.raw], strict=True, **dialect))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise FileRefused(f"opens a quote in line {record.line} and never closes it") from error
