"""Checks that are SQL files: a query for the rows that break a rule, its facts in comments at the top.

    -- dataset: curated.fct_sales
    -- severity: critical
    -- dimension: accuracy
    -- description: A sale's day is never after today.
    -- allow: 0
    select sale_id, sale_date from curated.fct_sales where sale_date > current_date

The check's name is the file's. `allow` (0 where left out) is how many such rows are borne.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from data_quality.checks.model import Check, Severity, Threshold
from data_quality.checks.rules import Query

FACTS = ("dataset", "severity", "dimension", "description", "allow")


class CheckFileError(Exception):
    """A check file that can't be used: the file, the line, and what to write instead."""


def checks_from_sql_files(folder: Path) -> list[Check]:
    """Return the checks of a folder, by name.

    Raises:
        CheckFileError: files lack a fact or have one that is unknown; every such file is named.
    """
    checks, problems = [], []
    for path in sorted(folder.glob("*.sql")):
        try:
            checks.append(_read(path))
        except CheckFileError as error:
            problems.append(str(error))
    if problems:
        raise CheckFileError("\n".join(problems))
    return checks


def _read(path: Path) -> Check:
    facts: dict[str, str] = {}
    body: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not body and line.startswith("--") and ":" in line:
            name, _, value = line.removeprefix("--").partition(":")
            facts[_known(name.strip(), path, number)] = value.strip()
        elif line.strip():
            body.append(line)
    schema, dot, table = facts.get("dataset", "").partition(".")
    if not dot:
        raise CheckFileError(f"{path}: say which table it is about: `-- dataset: <schema>.<table>`")
    if not body:
        raise CheckFileError(f"{path}: there is no query below the comments")
    severity = facts.get("severity", "error")
    if severity not in list(Severity):
        raise CheckFileError(f"{path}: severity is warn, error or critical, not '{severity}'")
    allowed = facts.get("allow", "0")
    if not allowed.isdecimal():
        raise CheckFileError(f"{path}: allow is how many rows are borne, a whole number, not '{allowed}'")
    query = "\n".join(body).rstrip().rstrip(";")
    return Check(
        name=path.stem,
        schema=schema,
        table=table,
        threshold=Threshold("mustBeLessOrEqualTo", int(allowed)),
        severity=Severity(severity),
        dimension=facts.get("dimension"),
        description=facts.get("description", ""),
        rule=Query(f"SELECT count(*) FROM (\n{query}\n) AS failing", query),
    )


def _known(name: str, path: Path, number: int) -> str:
    if name in FACTS:
        return name
    near = difflib.get_close_matches(name, FACTS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(FACTS)}"
    raise CheckFileError(f"{path}, line {number}: '{name}' is no fact of a check; {hint}")
