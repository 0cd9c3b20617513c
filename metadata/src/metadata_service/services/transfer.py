"""Export and import of everything as JSON lines.

The first line says what the file is, the last how many rows it has, so that one that was cut short is known. All others
are rows: `{"table": …, "row": {…}}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import IO

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from metadata_service.problems import FieldError, ProblemError, UnprocessableError
from metadata_service.repositories import transfer

FORMAT = "dataplatform-metadata"
_BATCH = 1000


def export(sessions: sessionmaker[Session]) -> Iterator[bytes]:
    """Yield the lines of an export, all of one moment."""
    with sessions() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        session.execute(text("SET LOCAL statement_timeout = 0"))
        head = {"format": FORMAT, "revision": transfer.revision(session), "at": datetime.now(UTC).isoformat()}
        yield json.dumps(head).encode() + b"\n"
        count = 0
        for table in transfer.tables():
            for row in transfer.rows(session, table):
                count += 1
                yield f'{{"table":"{table.name}","row":{row}}}\n'.encode()
        yield json.dumps({"rows": count}).encode() + b"\n"


def import_lines(session: Session, file: IO[bytes]) -> dict[str, int]:
    """Take an export into an empty store; return the rows of each table.

    Raises:
        ProblemError: 409, the store holds something, or the export is of another revision.
        UnprocessableError: it is no export, or not the whole of one.
    """
    _check_head(session, _object(file.readline(), 1))
    transfer.begin_import(session)
    count, said = 0, None
    lines = enumerate(file, 2)
    known = {str(table.name) for table in transfer.tables()}
    while chunk := list(islice(lines, _BATCH)):
        taken = []
        for number, line in chunk:
            item = _object(line, number)
            if said is not None:
                raise _refused(f"line {number}", "follows the end of the export")
            if "rows" in item:
                said = item["rows"]
            elif item.get("table") in known and isinstance(item.get("row"), dict):
                taken.append((str(item["table"]), json.dumps(item["row"])))
            else:
                raise _refused(f"line {number}", "is no row of a table")
        count += len(taken)
        transfer.take_rows(session, taken)
    if said != count:
        expected = "is missing: the export was cut short" if said is None else f"says {said} rows, {count} came"
        raise _refused("its end", expected)
    return transfer.end_import(session)


def _check_head(session: Session, head: dict[str, object]) -> None:
    if head.get("format") != FORMAT:
        raise _refused("line 1", f'is no export: it begins with {{"format": "{FORMAT}", …}}')
    here = transfer.revision(session)
    if head.get("revision") != here:
        raise ProblemError(409, f"The export is of revision {head.get('revision')}, this service of {here}.")
    filled = transfer.filled_table(session)
    if filled is not None:
        raise ProblemError(409, f"The store is not empty: {filled} has rows. Import into a new database.")


def _object(line: bytes, number: int) -> dict[str, object]:
    try:
        item = json.loads(line)
    except ValueError:
        raise _refused(f"line {number}", "is no JSON") from None
    if not isinstance(item, dict):
        raise _refused(f"line {number}", "is no object")
    return item


def _refused(place: str, message: str) -> UnprocessableError:
    return UnprocessableError("The export can't be taken.", [FieldError(place, message)])
