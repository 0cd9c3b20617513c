"""The dialect of a CSV file, found in its first lines: there is no contract yet that could tell what to look for."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, field, replace

from data_quality.contract import CsvOptions
from pipelines.ingestion.model import FileRefused

DELIMITERS = (",", ";", "\t", "|")
_MAX_LINES, _MAX_PREAMBLE = 200, 20
_VALUE = re.compile(r"[+-]?[0-9.,: /-]+([TZ][0-9.:+-]*Z?)?|")  # what a column's name never looks like
_COMMENT = "#"


@dataclass(frozen=True)
class Dialect:
    """How a file is written. `names` are its columns; `why` says how each uncommon option was found."""

    options: CsvOptions
    names: tuple[str, ...]
    quoted: bool = False
    why: tuple[str, ...] = field(default=())


def sniff(head: str, complete: bool) -> Dialect:
    """Return the dialect of a file.

    Args:
        head: The file's first characters.
        complete: Whether that is all of it; else the last line may be cut off.

    Raises:
        FileRefused: the lines are no table.
    """
    lines = head.splitlines()[:_MAX_LINES]
    if not complete and len(lines) > 1 and len(lines) < _MAX_LINES:
        lines.pop()
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise FileRefused("is empty: there is nothing to infer a contract from")
    options = CsvOptions(quote=_quote(lines))
    why = [] if options.quote == '"' else [f"values are quoted with {options.quote}"]
    kept, comment = _without_comments(lines, options)
    if comment:
        options = replace(options, comment=comment)
        why.append(f"lines that start with {comment} are comments")
    if "\\" + options.quote in "\n".join(kept):
        options = replace(options, escape="\\")
        why.append(f"quotes within values are written \\{options.quote}")
    delimiter = _delimiter(kept, options)
    options = replace(options, delimiter=delimiter)
    rows = _rows(kept, options)
    width = _mode([len(row) for row in rows])
    skip = next((index for index, row in enumerate(rows) if len(row) == width), 0)
    if 0 < skip <= _MAX_PREAMBLE:
        options = replace(options, skip_rows=skip)
        why.append(f"the table begins after {skip} line{'s' * (skip > 1)} that {'are' if skip > 1 else 'is'} none")
        rows = rows[skip:]
    names = tuple(name.strip() for name in rows[0])
    if not _is_header(names):
        options = replace(options, header=False)
        why.append("the first line holds values, so there is no header: give the columns better names")
        names = tuple(f"column_{number}" for number in range(1, len(names) + 1))
    return Dialect(options, names, options.quote in "\n".join(kept), tuple(why))


def _quote(lines: list[str]) -> str:
    """Return the quote: an apostrophe only where values begin and end with one and none with the usual quote."""
    text = "\n".join(lines)
    if '"' in text:
        return '"'
    edge = r"(^|[,;\t|])"
    quoted = len(re.findall(edge + r"'[^'\n]*'(?=$|[,;\t|])", text, re.MULTILINE))
    return "'" if quoted >= len(lines) / 2 else '"'


def _without_comments(lines: list[str], options: CsvOptions) -> tuple[list[str], str | None]:
    """Leave out comment lines. A header that begins with # has as many fields as the line below it."""
    kept = [line for line in lines if not line.startswith(_COMMENT)]
    if not kept or len(kept) == len(lines):
        return lines, None
    delimiter = _delimiter(kept, options)
    told = replace(options, delimiter=delimiter)
    width = _mode([len(row) for row in _rows(kept, told)])
    marked = [line for line in lines if line.startswith(_COMMENT)]
    as_wide = [len(row) == width > 1 for row in _rows(marked, told)]
    return (lines, None) if any(as_wide) else (kept, _COMMENT)


def _delimiter(lines: list[str], options: CsvOptions) -> str:
    """Return the delimiter by which most lines have the same number of fields, more than one."""

    def score(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _rows(lines, replace(options, delimiter=delimiter))]
        width = _mode(widths)
        return (widths.count(width) / len(widths), width) if width > 1 else (0.0, 1)

    return max(DELIMITERS, key=score)


def _rows(lines: list[str], options: CsvOptions) -> list[list[str]]:
    escape = {"escapechar": options.escape, "doublequote": False} if options.escape else {}
    try:
        rows = csv.reader(
            (line + "\n" for line in lines),
            delimiter=options.delimiter or ",",
            quotechar=options.quote,
            **escape,  # type: ignore[arg-type]
        )
        return [row for row in rows if row]
    except csv.Error as error:
        raise FileRefused(f"is no readable CSV: {error}") from error


def _mode(widths: list[int]) -> int:
    """Return the commonest width, the larger of two equally common ones."""
    counts = Counter(widths)
    return max(counts, key=lambda width: (counts[width], width))


def _is_header(names: tuple[str, ...]) -> bool:
    told = [name for name in names if name]
    return bool(told) and len(set(told)) == len(told) and not any(_VALUE.fullmatch(name) for name in told)
