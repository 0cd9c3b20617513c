"""Everything that is wrong with contract files, and what a good one would say besides.

Errors are what keeps a contract from being used. Warnings are for people: the contract works, but nobody can tell what
a column means, whom to ask, or why an old row won.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from data_quality.contract.lines import Lines
from data_quality.contract.loader import SUFFIX, load_contract, load_contracts
from data_quality.contract.model import Column, Contract, ContractError, Problem
from data_quality.contract.personal import personal_by_name

_CLASSIFIED = ("public", "internal", "confidential", "restricted", "sensitive", "pii")
_STATES = ("proposed", "draft", "active", "deprecated", "retired")


@dataclass(frozen=True)
class Finding:
    """One thing to mend: in which file, at which place and line (0 where it has none), how bad, and what helps."""

    path: str
    where: str
    line: int
    level: Literal["error", "warning"]
    message: str
    suggestion: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return asdict(self)


def lint(paths: Iterable[Path]) -> list[Finding]:
    """Return what is to be mended in contract files and folders of them, sorted by file and line, errors first.

    Files are looked at together: a dataset or table may be described once.
    """
    found: list[Finding] = []
    for path in paths:
        if path.is_dir():
            contracts = load_contracts(path)
            found += map(_error, contracts.problems)
            found += _misnamed(path)
            for contract in contracts:
                found += _advice(contract)
            continue
        try:
            found += _advice(load_contract(path))
        except ContractError as error:
            found += map(_error, error.problems)
    return sorted(set(found), key=lambda item: (item.path, item.level, item.line, item.where, item.message))


def _advice(contract: Contract) -> Iterator[Finding]:
    """Yield what is to be mended in a contract that can be read."""
    lines = Lines(Path(contract.path))
    for find in (_patterns, _values, _dataset, _columns, _rules):
        for level, where, message, suggestion in find(contract):
            yield Finding(contract.path, where, lines.of(where), level, message, suggestion)


Told = tuple[Literal["error", "warning"], str, str, str]  # level, where, message, suggestion


def _error(problem: Problem) -> Finding:
    message, _, suggestion = problem.message.partition("; ")
    line = Lines(Path(problem.path)).of(problem.where)
    return Finding(problem.path, problem.where, line, "error", message, suggestion)


def _misnamed(folder: Path) -> Iterator[Finding]:
    """Yield YAML files that nobody reads for their name."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".yaml", ".yml") and not path.name.endswith(SUFFIX):
            message = "is not read: contracts end with .odcs.yaml"
            yield Finding(str(path), "", 0, "warning", message, f"name it {path.stem.split('.')[0]}{SUFFIX}")


def _place(column: Column, contract: Contract) -> str:
    return f"schema[0].properties[{contract.columns.index(column)}]"


def _patterns(contract: Contract) -> Iterator[Told]:
    """Yield patterns that the engine of ingestion, RE2, can't compile though Python can."""
    import duckdb

    wanted = [(f"{_place(c, contract)}.logicalTypeOptions.pattern", c.pattern) for c in contract.columns if c.pattern]
    with duckdb.connect() as connection:
        for where, pattern in wanted:
            try:
                connection.execute("SELECT regexp_matches('', ?)", [pattern])
            except duckdb.Error as error:
                reason = str(error).strip().splitlines()[0]
                yield "error", where, f"{pattern!r} can't be used by the engine: {reason}", "write it for RE2"


def _values(contract: Contract) -> Iterator[Told]:
    """Yield listed values that their column can't hold."""
    for column in contract.columns:
        if column.logical_type not in ("integer", "number"):
            continue
        form = r"[+-]?\d+" if column.logical_type == "integer" else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
        wrong = [str(value) for value in column.accepted if not re.fullmatch(form, str(value))]
        if wrong:
            message = f"lists {', '.join(map(repr, wrong))}, which a column of type {column.logical_type} can't hold"
            yield "error", f"{_place(column, contract)}.quality", message, "list values of the column's type"


def _dataset(contract: Contract) -> Iterator[Told]:
    ingest = contract.ingest
    if not contract.description:
        yield "warning", "schema[0]", "the dataset has no description", "say what one row is"
    if not contract.owner_email:
        yield (
            *("warning", "team", "nobody can be reached: no member has an address"),
            "add {username: team@example.com, role: owner} to team.members",
        )
    if not contract.key:
        yield (
            *(
                "warning",
                "schema[0].properties",
                "there is no key: a file delivered again in other words is added again",
            ),
            "mark the columns that identify a row with primaryKey: true",
        )
    if ingest.write in ("upsert", "scd2") and not ingest.order_by:
        yield (
            *("warning", "customProperties", f"{ingest.write} without order_by: a late file overwrites newer rows"),
            "name the column that tells when a row was changed as ingest.order_by",
        )
    if contract.status not in _STATES:
        yield "warning", "status", f"is {contract.status!r}", f"use one of {', '.join(_STATES)}"
    if not re.fullmatch(r"\d+\.\d+\.\d+", contract.version):
        yield (
            "warning",
            "version",
            f"is {contract.version!r}",
            "use a version like 1.0.0: a breaking change counts up its first number",
        )
    if Path(contract.path).name != f"{contract.name}{SUFFIX}":
        yield "warning", "schema[0].name", f"the dataset is {contract.name!r}", f"name the file {contract.name}{SUFFIX}"


def _columns(contract: Contract) -> Iterator[Told]:
    for column in contract.columns:
        yield from _column(column, contract)


def _column(column: Column, contract: Contract) -> Iterator[Told]:
    where = _place(column, contract)
    if not column.description:
        yield "warning", where, f"column {column.name!r} has no description", "say what it means, with its unit"
    kind = personal_by_name(column.name, contract.name) or personal_by_name(column.column, contract.name)
    if kind and not column.classification and not column.tags:
        yield (
            *("warning", where, f"column {column.name!r} looks like personal data ({kind[0]}) and is not classified"),
            "add classification: pii, or public if it is none",
        )
    if column.classification and column.classification.lower() not in _CLASSIFIED:
        where = f"{where}.classification"
        yield "warning", where, f"is {column.classification!r}", f"use one of {', '.join(_CLASSIFIED)}"


def _rules(contract: Contract) -> Iterator[Told]:
    for rule in contract.quality:
        if rule.type == "sql" and "${table}" not in (rule.query or ""):
            message = f"rule {rule.name!r} does not read ${{table}}"
            yield "warning", "schema[0].quality", message, "write ${table} for the dataset's own table"
