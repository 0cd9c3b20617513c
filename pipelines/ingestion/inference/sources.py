"""The files to infer from as one table of text, `texts(c0, c1, …)`, read by the code that ingestion reads with.

Ingestion reads by a contract. Here a provisional one stands in, in which every column of the file is text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from data_quality.contract import Column, Contract, CsvOptions, IngestOptions
from pipelines.ingestion.content import Content, inspect
from pipelines.ingestion.inference.dialect import Dialect, sniff
from pipelines.ingestion.model import FileRefused, Limits
from pipelines.ingestion.readers import Source, read

_ENCODINGS = (None, "cp1252", "latin-1")  # latin-1 takes any byte, so something is found for every text
_SETTLED = ("quote", "escape", "comment", "header", "skip_rows")  # what a contract says once for all files


@dataclass
class Texts:
    """What was read: the columns' names in the order of `texts`, rows, and how the files are written.

    `every` is n where only every n-th row was looked at.
    """

    names: list[str] = field(default_factory=list)
    rows: int = 0
    broken: int = 0
    every: int = 1
    kinds: set[str] = field(default_factory=set)
    delimiters: set[str] = field(default_factory=set)
    csv: CsvOptions | None = None
    quoted: bool = False
    encoding: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def options(self) -> CsvOptions:
        """The CSV dialect that fits all files; what differs from file to file is left to be found out."""
        if self.csv is None:
            return CsvOptions()
        delimiter = next(iter(self.delimiters)) if len(self.delimiters) == 1 else None
        return replace(self.csv, delimiter=delimiter, encoding=self.encoding)


def read_texts(
    files: Sequence[Path], connection: duckdb.DuckDBPyConnection, max_bytes: int, progress: Callable[[str], None]
) -> Texts:
    """Read the files into the table `texts`.

    Args:
        files: What to read, in any mix of formats.
        connection: Where to make the table.
        max_bytes: Above so many bytes unpacked, only every n-th row is looked at.
        progress: Told of each file.

    Raises:
        FileRefused: a file can't be read, or is written so differently that no contract could say both.
    """
    found = Texts()
    connection.execute("CREATE OR REPLACE TEMP TABLE texts (problem VARCHAR)")
    total = sum(path.stat().st_size for path in files)
    for path in files:
        progress(path.name)
        with tempfile.TemporaryDirectory(prefix="infer-") as scratch:
            try:
                _read_one(path, found, connection, Path(scratch), total / max_bytes)
            except (FileRefused, duckdb.Error) as error:
                raise FileRefused(f"{path}: {str(error).strip().splitlines()[0]}") from error
    row = connection.execute("SELECT count(*) FILTER (problem IS NULL), count(problem) FROM texts").fetchone()
    found.rows, found.broken = row or (0, 0)
    return found


def _read_one(path: Path, found: Texts, connection: duckdb.DuckDBPyConnection, work: Path, share: float) -> None:
    """Add a file's rows. `share` is how much of what may be looked at all files are, packed as they are."""
    content, encoding = _content(path, work)
    dialect = _dialect(path, content, encoding, found) if content.kind == "csv" else None
    found.kinds.add(content.kind)
    sources, refused = read({0: content}, _provisional(dialect, encoding), connection, work)
    if refused:
        raise refused[0]
    expansion = max(1.0, content.path.stat().st_size / max(1, path.stat().st_size))
    every = 1 + int(share * expansion)
    found.every = max(found.every, every)
    for source in sources:
        _add(source, found, connection, every)


def _add(source: Source, found: Texts, connection: duckdb.DuckDBPyConnection, every: int) -> None:
    """Add the rows of a source, every n-th of them."""
    for name in source.header:
        if name and name not in found.names:
            connection.execute(f"ALTER TABLE texts ADD COLUMN c{len(found.names)} VARCHAR")
            found.names.append(name)
    mapped = {found.names.index(name): index for index, name in enumerate(source.header) if name}
    targets = ", ".join(["problem", *(f"c{target}" for target in mapped)])
    fields = ", ".join(["problem", *(f"c{index}" for index in mapped.values())])
    some = f"WHERE record % {every} = 0" if every > 1 else ""
    for piece in source.pieces:
        insert = f"INSERT INTO texts ({targets}) SELECT {fields} FROM ({{}}) {some}"
        try:
            connection.execute(insert.format(piece.bind(connection)))
        except duckdb.Error:  # an odd record, which the fast reader can't take
            if piece.careful is None:
                raise
            for careful in piece.careful():
                connection.execute(insert.format(careful.sql))


def _content(path: Path, work: Path) -> tuple[Content, str | None]:
    """Return the file made plain, and its encoding where a contract has to name it."""
    for encoding in _ENCODINGS:
        try:
            return inspect(path, work / "file", encoding, Limits()), encoding
        except FileRefused as refused:
            if not str(refused).startswith("is not ") or "byte" not in str(refused):
                raise
    raise AssertionError("latin-1 reads everything")


def _dialect(path: Path, content: Content, encoding: str | None, found: Texts) -> Dialect:
    """Return a file's dialect, and note it unless it contradicts that of the files before."""
    complete = content.path.stat().st_size <= len(content.head.encode())
    dialect = sniff(content.head, complete)
    found.notes += [note for note in dialect.why if note not in found.notes]
    found.delimiters.add(dialect.options.delimiter or ",")
    if encoding and found.encoding is None:
        found.encoding = encoding
        found.notes.append(f"{path.name} is not UTF-8 and reads as {encoding}: look at its accented letters")
    _merge(dialect, found)
    return dialect


def _merge(dialect: Dialect, found: Texts) -> None:
    """Bring a file's dialect together with that of the files before. A file without quotes fits any quote."""
    options = dialect.options
    if found.csv is None:
        found.csv, found.quoted = options, dialect.quoted
        return
    if not dialect.quoted:
        options = replace(options, quote=found.csv.quote)
    elif not found.quoted:
        found.csv = replace(found.csv, quote=options.quote)
    found.quoted |= dialect.quoted
    escape, comment = found.csv.escape or options.escape, found.csv.comment or options.comment
    options = replace(options, escape=options.escape or escape, comment=options.comment or comment)
    found.csv = replace(found.csv, escape=escape, comment=comment)
    for option in _SETTLED:
        one, other = getattr(found.csv, option), getattr(options, option)
        if one != other:
            raise FileRefused(
                f"is written otherwise than the files before it: its {option} is {other!r}, theirs {one!r}; "
                "a contract can say it once, so give the files to datasets of their own"
            )


def _provisional(dialect: Dialect | None, encoding: str | None) -> Contract:
    """Return a contract by which every column is text."""
    names = dialect.names if dialect else ()
    options = replace(dialect.options, encoding=encoding) if dialect else CsvOptions()
    return Contract(
        name="provisional",
        table="provisional",
        id="provisional",
        version="0",
        status="draft",
        domain="",
        owner="",
        owner_email=None,
        description="",
        tags=(),
        columns=tuple(Column(name, name, "string") for name in names),
        quality=(),
        freshness=None,
        ingest=IngestOptions(csv=options),
        path="",
        fingerprint="",
    )
