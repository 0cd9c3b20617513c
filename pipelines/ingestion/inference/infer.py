"""From files to a contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from data_quality.contract import CsvOptions
from pipelines.ingestion.engine import engine
from pipelines.ingestion.inference import names
from pipelines.ingestion.inference.document import document
from pipelines.ingestion.inference.keys import find_key, find_order
from pipelines.ingestion.inference.model import Inference, Inferred
from pipelines.ingestion.inference.pii import by_name, by_values
from pipelines.ingestion.inference.profile import profile
from pipelines.ingestion.inference.rules import Rules, guess_rules
from pipelines.ingestion.inference.sources import Texts, read_texts
from pipelines.ingestion.inference.types import Guess, guess_type
from pipelines.ingestion.inference.verify import rejects
from pipelines.ingestion.model import FileRefused

MAX_BYTES = 500_000_000
_ATTEMPTS = 3


def infer(
    files: Sequence[Path],
    *,
    domain: str,
    dataset: str,
    key: tuple[str, ...] = (),
    order_by: str | None = None,
    tolerance: float = 0.0,
    owner: str | None = None,
    owner_email: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: Callable[[str], None] = lambda _: None,
) -> Inference:
    """Infer a contract from sample files.

    Args:
        files: One or more, of any format that ingestion reads.
        domain: Domain of the dataset.
        dataset: Its name.
        key: Names of the key's columns; looked for where empty.
        order_by: The column that tells which row of a key is newer; looked for where None.
        tolerance: The share of a column's values (0 to 1) that may be dirt; with 0 no row of the files is rejected.
        owner: Who answers for the data; the domain where None.
        owner_email: Their address.
        max_bytes: Above so many bytes unpacked, only every n-th row is looked at.
        progress: Told what is being done.

    Raises:
        FileRefused: the files can't be read, hold no rows, or the key is none.
    """
    with engine() as connection:
        texts = read_texts(files, connection, max_bytes, progress)
        if not texts.names or not texts.rows:
            raise FileRefused("there are no rows to infer a contract from")
        notes = _notes(texts, len(files))
        progress("looking at the columns")
        columns = _columns(texts, dataset, tolerance, notes, connection)
        keyed, told = find_key(columns, dataset, key, texts.every > 1, connection)
        notes += told
    for position, column in enumerate(keyed, start=1):
        column.key_position = position
    newer, told = find_order(columns, order_by, bool(keyed))
    notes += told

    def write() -> str:
        return document(
            domain=domain,
            dataset=dataset,
            owner=owner or domain,
            owner_email=owner_email,
            columns=columns,
            order_by=newer,
            csv=_csv(texts, columns),
            kinds=texts.kinds,
            notes=notes,
        )

    result = Inference(write(), columns, texts.rows, notes)
    if texts.every == 1:
        progress("trying the contract on the files")
        _verify(result, files, write, tolerance > 0)
    return result


def _notes(texts: Texts, files: int) -> list[str]:
    some = f", one in {texts.every} of them looked at" if texts.every > 1 else ""
    notes = [f"{texts.rows:,} rows of {files} file{'s' * (files > 1)} ({', '.join(sorted(texts.kinds))}){some}"]
    if texts.broken:
        notes.append(f"{texts.broken:,} records can't be split into fields and will be rejected")
    return [*notes, *texts.notes]


def _columns(
    texts: Texts, dataset: str, tolerance: float, notes: list[str], connection: duckdb.DuckDBPyConnection
) -> list[Inferred]:
    columns: list[Inferred] = []
    folded = {name: name.casefold() for name in texts.names}
    spelt: dict[str, str] = {}
    for position, name in enumerate(texts.names):
        if name.casefold() in spelt:
            notes.append(f"{name!r} is left out: it differs from {spelt[name.casefold()]!r} in case alone")
            continue
        found = profile(position, connection)
        personal = by_name(name, dataset)
        guess = guess_type(name, found, tolerance, connection, reveal=personal is None)
        if personal is None and guess.logical == "string":
            personal = by_values(connection)
        taken = [column.column for column in columns] + [folded[other] for other in texts.names if other != name]
        column = Inferred(name, names.sql_name(name, position + 1, taken), found, guess, Rules(), personal, 0)
        spelt[name.casefold()] = name
        columns.append(column)
    words = _null_words(columns)
    for column in columns:
        found = column.profile
        column.nulls = found.empty + sum(count for word, count in found.words.items() if word in words)
        column.rules = guess_rules(
            column.name,
            column.column,
            found,
            column.nulls,
            column.guess,
            personal=column.personal is not None,
            sampled=texts.every > 1,
        )
        if column.guess.logical == "string" and (lost := words & found.words.keys()):
            column.guess.why.append(f"{', '.join(map(repr, sorted(lost)))} stands for no value")
    return columns


def _null_words(columns: list[Inferred]) -> set[str]:
    return {word for column in columns for word in column.guess.null_words}


def _csv(texts: Texts, columns: list[Inferred]) -> CsvOptions | None:
    words = ("", *sorted(_null_words(columns)))
    comma = any(column.guess.decimal_comma for column in columns)
    options = replace(texts.options, decimal="," if comma else ".", null_words=words)
    return options if texts.csv or len(words) > 1 else None


def _verify(result: Inference, files: Sequence[Path], write: Callable[[], str], tolerant: bool) -> None:
    """Try the contract on its own files. A rule that rejects one of their rows is dropped, unless dirt was allowed."""
    for _ in range(_ATTEMPTS):
        found = rejects(result.text, files)
        result.rejected = sum(found.values())
        unwanted = [told for told in found if told.partition(": ")[0] in {c.column for c in result.columns}]
        if tolerant or not unwanted:
            return
        for told in unwanted:
            name, _, rule = told.partition(": ")
            _drop(rule, next(column for column in result.columns if column.column == name))
        result.text = write()
    raise FileRefused(f"no contract was found that takes every row: {dict(found)} would be rejected")


def _drop(rule: str, column: Inferred) -> None:
    """Drop a rule of a column; where it is the type, the column becomes text."""
    rules, guess = column.rules, column.guess
    if rule == "required":
        rules.required = False
    elif rule == "accepted":
        rules.quality = [entry for entry in rules.quality if entry.get("metric") != "invalidValues"]
    elif rule in rules.options:
        del rules.options[rule]
    elif rule in guess.options and guess.logical == "string":
        del guess.options[rule]
    else:
        column.guess = Guess("string", "text", why=[f"text: not every value is a {guess.logical} to ingestion"])
        column.rules = Rules(required=rules.required)
        return
    guess.why.append(f"no {rule}: rows of the files themselves break it")
