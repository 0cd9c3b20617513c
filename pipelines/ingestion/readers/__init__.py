"""Every format as relations of text. Only these readers, `processing` and `engine` know DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from data_quality.contract import Contract
from pipelines.ingestion.content import Content
from pipelines.ingestion.model import FileRefused
from pipelines.ingestion.readers import columnar, delimited, documents
from pipelines.ingestion.readers.source import Piece, Source, is_small

__all__ = ["Piece", "Source", "first_line", "read"]

Refused = dict[int, FileRefused]


def read(
    files: dict[int, Content], contract: Contract, connection: duckdb.DuckDBPyConnection, work: Path
) -> tuple[list[Source], Refused]:
    """Return the sources of a group of files, small ones of one shape read together.

    Args:
        files: Contents by their number in the group.
        contract: The contract of all of them.
        connection: The engine; sources may refer to what it has in memory.
        work: Folder for pieces.

    Returns:
        The sources, and the files that can't be split into records or are of another format than the contract says.
    """
    reading = _Reading(contract, connection, work)
    for part, content in files.items():
        try:
            reading.add(part, content)
        except FileRefused as refused:
            reading.refused[part] = refused
        except duckdb.Error as error:
            reading.refused[part] = FileRefused(f"is no readable {content.kind}: {first_line(error)}")
    return reading.sources(), reading.refused


def first_line(error: Exception) -> str:
    """Return an engine's message without what it says of its own inside."""
    return str(error).strip().splitlines()[0][:500]


class _Reading:
    """The files of a group as they are read: large ones are sources of their own, rows of small ones are gathered."""

    def __init__(self, contract: Contract, connection: duckdb.DuckDBPyConnection, work: Path) -> None:
        self.contract, self.connection, self.work = contract, connection, work
        self.refused: Refused = {}
        self.large: list[Source] = []
        self.records: dict[delimited.Layout, dict[int, list[Any]]] = {}
        self.objects: dict[int, list[Any]] = {}

    def add(self, part: int, content: Content) -> None:
        """Read a file, or find out how its pieces are to be read."""
        self._check_format(content)
        if content.kind == "empty":
            self.large.append(Source([part], [], []))
        elif content.kind == "parquet":
            self.large.append(columnar.source(part, content, self.connection, self.work))
        elif content.kind == "csv":
            form = delimited.layout(content, self.contract)
            if is_small(content.path):
                self.records.setdefault(form, {})[part] = delimited.small_rows(part, content, form)
            else:
                self.large.append(delimited.large_source(part, content, form, self.work))
        elif is_small(content.path):
            self.objects[part] = documents.small_rows(part, content, self.connection)
        else:
            pieces = documents.large_pieces(part, content, self.connection, self.work)
            self.large += documents.sources(pieces, [part], self.connection)

    def _check_format(self, content: Content) -> None:
        wanted, kind = self.contract.ingest.format, content.kind
        if kind == "empty" and wanted not in ("json", "ndjson"):
            raise FileRefused("is empty: not even a header")
        if "empty" not in (wanted, kind) and wanted not in ("auto", kind) and {wanted, kind} != {"json", "ndjson"}:
            raise FileRefused(f"is {kind}, but its contract says {wanted}")

    def sources(self) -> list[Source]:
        """Return the sources of all that was read."""
        found = list(self.large)
        for number, (form, rows) in enumerate(self.records.items()):
            found.append(delimited.small_source(rows, form, f"small_records_{number}"))
        if self.objects:
            found += documents.small_sources(self.objects, self.connection)
        return found
