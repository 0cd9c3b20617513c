"""Parquet, as a relation of text."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.ingestion.columns import literal, quoted
from pipelines.ingestion.content import Content
from pipelines.ingestion.readers.source import PIECE_RECORDS, Piece, Source, by_records


def source(part: int, content: Content, connection: duckdb.DuckDBPyConnection, work: Path) -> Source:
    """Return the source of a Parquet file; one with many rows is written as text first, to be read in pieces."""
    scan = f"read_parquet({literal(content.path)}, file_row_number=true)"
    described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {scan}").fetchall()
    header = [str(row[0]) for row in described]
    texts = ", ".join(
        f"{_text(quoted(name), str(row[1]))} AS c{index}"
        for index, (name, row) in enumerate(zip(header, described, strict=True))
    )
    whole = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in header)
    sql = (
        f"SELECT {part}::INTEGER AS part, file_row_number + 1 AS record, NULL::BIGINT AS line, "
        f"to_json(struct_pack({whole}))::VARCHAR AS raw, NULL::VARCHAR AS problem, {texts} FROM {scan}"
    )
    [(rows,)] = connection.execute(f"SELECT num_rows FROM parquet_file_metadata({literal(content.path)})").fetchall()
    if rows <= PIECE_RECORDS:
        return Source([part], header, [Piece(sql)])
    parquet = work / f"part{part}-records.parquet"
    connection.execute(f"COPY ({sql}) TO {literal(parquet)} (FORMAT parquet, ROW_GROUP_SIZE 100000)")
    return Source([part], header, by_records(parquet, 0, rows))


def _text(name: str, kind: str) -> str:
    nested = kind.startswith(("STRUCT", "MAP", "VARIANT")) or kind.endswith("]")
    return f"to_json({name})::VARCHAR" if nested else f"{name}::VARCHAR"
