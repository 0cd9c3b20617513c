"""A page for people about each contract, in Markdown. The same contracts make the same pages, to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from data_quality.contract.model import Column, Contract, QualityRule
from data_quality.contract.types import postgres_type

MARK = "<!-- Made from the contract by `dp contract docs`; change the contract, not this page. -->"
INDEX = "README.md"
_WRITES = {
    "upsert": "A row of a known key replaces the one before.",
    "append": "Every row is added.",
    "replace": "Every file is the whole table.",
    "delete_insert": "A file replaces the partitions it has rows of.",
    "scd2": "Every version of a key is kept, with the time it was valid.",
}
_POLICIES = {
    "freeze": "fail the file",
    "evolve": "become columns of the table",
    "discard": "are left out",
    "rescue": "are kept as JSON in `_rescued`",
}


def pages(contracts: Iterable[Contract]) -> dict[str, str]:
    """Return {file name: text}: a page for each contract, and the list of them."""
    chosen = sorted(contracts, key=lambda contract: (contract.domain, contract.name))
    return {INDEX: _index(chosen), **{f"{contract.name}.md": page(contract) for contract in chosen}}


def write_pages(contracts: Iterable[Contract], folder: Path) -> list[str]:
    """Write the pages into a folder, take away those of contracts that are gone, and return the names that changed."""
    wanted = pages(contracts)
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for path in sorted(folder.glob("*.md")):
        if path.name not in wanted and path.read_text(encoding="utf-8").startswith(MARK):
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def page(contract: Contract) -> str:
    """Return the page of a contract."""
    parts = [
        f"{MARK}\n\n# {contract.name}",
        "\n\n".join(_words(contract)) or "No description.",
        _facts(contract),
        "## Columns\n\n" + _columns(contract),
        "## What is checked of the table\n\n" + _checks(contract),
        "## How files become rows\n\n" + _ingest(contract),
        "## Example\n\n" + _example(contract),
    ]
    return "\n\n".join(parts) + "\n"


def _index(contracts: list[Contract]) -> str:
    rows = [
        (f"[{item.name}]({item.name}.md)", item.domain, item.owner, item.version, item.description)
        for item in contracts
    ]
    title = f"{MARK}\n\n# Data contracts\n\nWhat each dataset promises. [How contracts work](../data-contracts.md)."
    return f"{title}\n\n{_table(('dataset', 'domain', 'owner', 'version', 'holds'), rows)}\n"


def _words(contract: Contract) -> Iterator[str]:
    """Yield what the contract says of the dataset in words; what it is for and what it is not, from its file."""
    if contract.description:
        yield contract.description
    said = yaml.safe_load(Path(contract.path).read_text(encoding="utf-8")).get("description") or {}
    for name, title in (("purpose", "Purpose"), ("usage", "Used for"), ("limitations", "Mind")):
        if said.get(name):
            yield f"**{title}:** {' '.join(str(said[name]).split())}"


def _facts(contract: Contract) -> str:
    owner = contract.owner + (f", {contract.owner_email}" if contract.owner_email else "")
    fresh = contract.freshness
    rows = [
        ("version", f"{contract.version}, {contract.status}"),
        ("owner", owner),
        ("domain", contract.domain),
        ("table", f"`staging.{contract.table}`"),
        ("files go to", f"`raw/{contract.name}/incoming/`"),
        ("key", _names(contract.key) or "none"),
        ("at most this old", f"{_age(fresh.seconds)}, told by `{fresh.column}`" if fresh else "not promised"),
        ("personal data", _names(column.column for column in contract.columns if column.is_pii) or "none"),
        ("tags", ", ".join(contract.tags) or "none"),
    ]
    return _table(("", ""), rows)


def _columns(contract: Contract) -> str:
    rows = []
    for column in contract.columns:
        name = f"`{column.column}`" + (f" (in files `{column.name}`)" if column.name != column.column else "")
        rows.append((name, postgres_type(column), "; ".join(_rules(column)), column.description))
    return _table(("column", "type", "rules", "meaning"), rows)


def _rules(column: Column) -> Iterator[str]:
    for word, holds in (
        ("key", column.primary_key),
        ("required", column.required),
        ("unique", column.unique),
        ("partition", column.partitioned),
    ):
        if holds:
            yield word
    yield from _limits(column)
    if column.multiple_of is not None:
        yield f"multiple of {column.multiple_of}"
    if column.format:
        yield f"format {column.format}"
    if column.pattern:
        yield f"like `{column.pattern}`"
    if column.accepted:
        yield f"one of {', '.join(map(str, column.accepted))}"
    if column.is_pii:
        yield "**personal data**"
    elif column.classification:
        yield column.classification


def _limits(column: Column) -> Iterator[str]:
    for sign, limit in (
        ("≥", column.minimum),
        (">", column.exclusive_minimum),
        ("≤", column.maximum),
        ("<", column.exclusive_maximum),
    ):
        if limit is not None:
            yield f"{sign} {limit}"
    least, most = column.min_length, column.max_length
    if most is not None:
        yield f"{least} to {most} characters" if least else f"at most {most} characters"
    elif least is not None:
        yield f"{least} characters or more"


def _checks(contract: Contract) -> str:
    rows = [(f"`{rule.name}`", rule.severity, rule.description or _said(rule)) for rule in contract.quality]
    rows += [
        (
            f"`{item.name}`",
            item.severity,
            f"{_names(item.columns)} is among {_names(item.to_columns)} of [{item.to_dataset}]({item.to_dataset}.md)",
        )
        for item in contract.references
    ]
    return _table(("check", "severity", "holds when"), rows) if rows else "Nothing beside what is checked of each row."


def _said(rule: QualityRule) -> str:
    """Return what a rule without a description asks for."""
    words = (
        " ".join(re.findall(r"[A-Z]?[a-z]+", rule.operator or ""))
        .lower()
        .replace("must", "")
        .replace("be", "are", 1)
        .strip()
    )
    if rule.metric == "rowCount":
        words = words.replace("are", "is", 1)
    what = " ".join(re.findall(r"[A-Z]?[a-z]+", rule.metric or "the query's answer")).lower()
    limit = " and ".join(map(str, rule.threshold)) if isinstance(rule.threshold, list | tuple) else rule.threshold
    unit = " %" if rule.unit == "percent" or rule.compared else ""
    change = ", against the last good run" if rule.compared else ""
    return f"{what}{f' of `{rule.column}`' if rule.column else ''} {words} {limit}{unit}{change}"


def _ingest(contract: Contract) -> str:
    ingest = contract.ingest
    rejects, rows = ingest.rejects, ingest.file
    newest = f" The newer row of a key is told by `{ingest.order_by}`." if ingest.order_by else ""
    lines = [
        f"- Format: {'found out from the content' if ingest.format == 'auto' else ingest.format}.",
        f"- {_WRITES[ingest.write]}{newest}",
        f"- Columns that are not named here {_POLICIES[ingest.columns]}.",
        f"- A bad row is rejected with its reason. More than {rejects.max_percent:g} % or {rejects.max_rows:,} of them"
        " fail the file.",
    ]
    if rows.min_rows is not None or rows.max_rows is not None:
        least, most = rows.min_rows or 0, "any number of" if rows.max_rows is None else f"{rows.max_rows:,}"
        lines.append(f"- A file has {least:,} to {most} rows.")
    return "\n".join(lines)


def _example(contract: Contract) -> str:
    """Return a row as a file could have it, made of what the columns ask for; a pattern is shown, not followed."""
    row = {column.name: _value(column) for column in contract.columns}
    return "One row, as JSON:\n\n```json\n" + json.dumps(row, indent=2, ensure_ascii=False) + "\n```"


def _value(column: Column) -> Any:
    if column.accepted:
        return column.accepted[0]
    if column.pattern:
        return f"like {column.pattern}"
    kind = column.logical_type
    if kind in ("integer", "number"):
        least = next((value for value in (column.minimum, column.exclusive_minimum) if value is not None), 1)
        value = max(float(least) + (column.exclusive_minimum is not None), 1.0)
        most = next((value for value in (column.maximum, column.exclusive_maximum) if value is not None), None)
        value = min(value, float(most)) if most is not None else value
        return int(value) if kind == "integer" else value
    known: dict[str, Any] = {
        "date": "2026-01-31",
        "timestamp": "2026-01-31T12:00:00Z" if column.timezone else "2026-01-31T12:00:00",
        "time": "12:00:00",
        "boolean": True,
        "object": {},
        "array": [],
    }
    if kind in known:
        return known[kind]
    special = {"email": "name@example.com", "uuid": "00000000-0000-4000-8000-000000000000"}
    return special.get(column.format or "", column.name[: column.max_length])


def _age(seconds: int) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}{'s' if seconds != unit else ''}"
    return f"{seconds} seconds"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
