"""JSON arrays and NDJSON, as relations of text: a field for every key of the records' objects."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from pipelines.ingestion.columns import literal
from pipelines.ingestion.content import Content
from pipelines.ingestion.readers.source import (
    MAX_LINE,
    Piece,
    Source,
    by_records,
    split_at_lines,
    text_lines,
)

_BLANK_LINE = re.compile(rb"^[ \t\r]*$", re.MULTILINE)
_SHAPE = "part, record, line, raw"


def small_rows(part: int, content: Content, connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return the records of a small file as rows `part, record, line, raw`."""
    if content.kind == "json":
        found = connection.execute(f"SELECT raw FROM ({_array_records(content.path)})").fetchall()
        return [(part, number, None, raw) for number, (raw,) in enumerate(found, 1)]
    text = content.path.read_bytes().decode()
    lines = [(line, raw.rstrip("\r")) for line, raw in enumerate(text.split("\n"), 1) if raw.strip(" \t\r")]
    return [(part, number, line, raw) for number, (line, raw) in enumerate(lines, 1)]


def small_sources(files: dict[int, list[tuple[Any, ...]]], connection: duckdb.DuckDBPyConnection) -> list[Source]:
    """Return the sources of small files, from their rows."""
    import pyarrow as pa

    columns = list(zip(*chain.from_iterable(files.values()), strict=True)) or [(), (), (), ()]
    types = (pa.int32(), pa.int64(), pa.int64(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    table = pa.table(arrays, names=_SHAPE.split(", "))
    piece = Piece("SELECT * FROM small_objects", tables={"small_objects": table})
    return sources([piece], list(files), connection)


def sources(pieces: list[Piece], parts: list[int], connection: duckdb.DuckDBPyConnection) -> list[Source]:
    """Return a source for each set of keys that the parts have, made of pieces `part, record, line, raw`."""
    keys: dict[int, set[str]] = {part: set() for part in parts}
    for piece in pieces:
        query = (
            f"SELECT DISTINCT part, unnest(json_keys(raw)) FROM ({piece.bind(connection)}) "
            "WHERE CASE WHEN json_valid(raw) THEN json_type(raw) END = 'OBJECT'"
        )
        for part, key in connection.execute(query).fetchall():
            keys[part].add(key)
    by_header: dict[tuple[str, ...], list[int]] = {}
    for part in parts:
        by_header.setdefault(tuple(sorted(keys[part])), []).append(part)
    return [_source(pieces, list(header), chosen, parts) for header, chosen in by_header.items()]


def _source(pieces: list[Piece], header: list[str], chosen: list[int], parts: list[int]) -> Source:
    paths = ["/" + name.replace("~", "~0").replace("/", "~1") for name in header]
    members = [f"json_extract(raw, {literal(path)})" for path in paths]
    fields = "".join(f", f[{index + 1}] AS c{index}" for index in range(len(header)))
    extracted = f"json_extract_string(raw, [{', '.join(map(literal, paths))}])" if header else "NULL"
    some = "" if chosen == parts else f" WHERE part IN ({', '.join(map(str, chosen))})"

    def query(piece: Piece) -> str:
        return (
            f"SELECT {_SHAPE}, problem{fields} FROM (SELECT *, CASE WHEN problem IS NULL THEN {extracted} END AS f "
            f"FROM (SELECT {_SHAPE}, CASE WHEN NOT json_valid(raw) THEN 'is no JSON' "
            f"WHEN json_type(raw) <> 'OBJECT' THEN 'is no JSON object' END AS problem FROM ({piece.sql}){some}))"
        )

    return Source(chosen, header, [Piece(query(piece), tables=piece.tables) for piece in pieces], members)


def large_pieces(part: int, content: Content, connection: duckdb.DuckDBPyConnection, work: Path) -> list[Piece]:
    """Return the pieces `part, record, line, raw` of a file of any size."""
    if content.kind == "json":
        parquet = work / f"part{part}-records.parquet"
        copy = f"COPY (SELECT record, raw FROM ({_array_records(content.path)})) TO {literal(parquet)}"
        [(count,)] = connection.execute(f"{copy} (FORMAT parquet, ROW_GROUP_SIZE 100000)").fetchall()
        return by_records(parquet, 0, count, f"{part}::INTEGER AS part, record, NULL::BIGINT AS line, raw")
    pieces, lines, records = [], 0, 0
    for number, block in enumerate(split_at_lines(content.path)):
        path = work / f"part{part}-{number}.ndjson"
        path.write_bytes(block)
        pieces.append(
            Piece(
                f"SELECT {part}::INTEGER AS part, {records} + row_number() OVER () AS record, {lines} + line AS line, "
                f"rtrim(raw, '\r') AS raw FROM ({text_lines(path)}) WHERE trim(raw, ' \t\r') <> ''"
            )
        )
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        blank = len(_BLANK_LINE.findall(block)) - block.endswith(b"\n")  # the end of the last line looks like one
        lines, records = lines + count, records + count - blank
    return pieces


def _array_records(path: Path) -> str:
    return (
        "SELECT row_number() OVER () AS record, json::VARCHAR AS raw "
        f"FROM read_json_objects({literal(path)}, format='array', maximum_object_size={MAX_LINE})"
    )
