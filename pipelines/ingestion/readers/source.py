"""What every reader gives: a source, cut into pieces of a bounded size, each a relation of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from pipelines.ingestion.columns import literal

SMALL = 1 << 20  # bytes up to which a file is read in one go, and together with others
PIECE = 16 << 20  # bytes of text in a piece
PIECE_RECORDS = 100_000  # records in a piece where they are counted
MAX_LINE = 64 << 20  # bytes of one record


@dataclass(frozen=True)
class Piece:
    """Some of a source's records, as a relation `part, record, line, raw, problem, c0 … cN`.

    `part` is the file's number in its group, `record` counts from 1, `line` is the record's first line where the
    format has lines, `raw` the record as it stands in the file, `problem` says why it can't be split into fields.
    Where `lines` is set, `raw` is left out: it is line `line - skipped` of that text. `careful` gives the same
    records by a slower reader that takes odd ones too, for when the engine can't run the query.
    """

    sql: str
    lines: Path | None = None
    skipped: int = 0
    tables: dict[str, Any] = field(default_factory=dict)
    careful: Callable[[], list[Piece]] | None = None

    def bind(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Return the query, the tables it reads from memory made known to the connection."""
        for name, table in self.tables.items():
            connection.register(name, table)
        return self.sql

    def raw_lines(self, numbers: list[int]) -> list[str]:
        """Return the text of lines, given by their numbers in the file, without line ends."""
        if self.lines is None:
            raise ValueError("this piece has its raw text in the relation")
        found: dict[int, str] = {}
        before = 0
        with self.lines.open("rb") as file:
            for number in sorted({number - self.skipped for number in numbers}):
                found[number] = next(islice(file, number - before - 1, None)).decode().rstrip("\r\n")
                before = number
        return [found[number - self.skipped] for number in numbers]


class Pieces:
    """Pieces that are made when they are first asked for, and kept."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._coming, self._made = iter(pieces), list[Piece]()

    def __iter__(self) -> Iterator[Piece]:
        yield from self._made
        for piece in self._coming:
            self._made.append(piece)
            yield piece


@dataclass
class Source:
    """Files of one shape: their numbers, the fields' names in the order of c0 … cN, and their pieces in order.

    Going through the pieces raises FileRefused where a file turns out to be unreadable. `members` are the expressions
    of the fields as JSON, where the format has types that text would lose. `may_hold_nul` says whether a text can hold
    the character that Postgres has no room for. `notes` is what was found out about the files.
    """

    parts: list[int]
    header: list[str]
    pieces: Iterable[Piece]
    members: list[str] | None = None
    may_hold_nul: bool = True
    notes: dict[str, Any] = field(default_factory=dict)


def is_small(path: Path) -> bool:
    """Whether a file is read in one go, and together with others of its shape."""
    return path.stat().st_size <= SMALL


def text_lines(path: Path) -> str:
    """Return the relation `line, raw` of a text file's lines. The delimiter is a character that no text holds."""
    return (
        f"SELECT row_number() OVER () AS line, raw FROM read_csv({literal(path)}, auto_detect=false, header=false, "
        f"columns={{'raw': 'VARCHAR'}}, delim='\x1f', quote='', escape='', new_line='\\n', "
        f"nullstr='\x1e', strict_mode=false, max_line_size={MAX_LINE}, buffer_size={2 * MAX_LINE})"
    )


def split_at_lines(path: Path, offset: int = 0, size: int = PIECE) -> Iterator[bytes]:
    """Yield a text file's bytes from `offset` on, in pieces that end with a line."""
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(size):
            yield block if block.endswith(b"\n") else block + file.readline()


def by_records(parquet: Path, before: int, count: int, columns: str = "*") -> list[Piece]:
    """Return the pieces of `count` records written as Parquet, the first of which has the number `before` + 1."""
    return [
        Piece(
            f"SELECT {columns} FROM read_parquet({literal(parquet)}) "
            f"WHERE record BETWEEN {before + first + 1} AND {before + first + PIECE_RECORDS}"
        )
        for first in range(0, count, PIECE_RECORDS)
    ]
