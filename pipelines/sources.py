"""dbt's sources, made from the contracts: `transformations/models/staging/_sources.yml` is written, never edited.

One source a domain, one table a dataset. The file in the repository is that of the shipped contracts; a build that
finds other contracts builds from a copy of the project with other sources, and leaves the project's folder as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from data_quality.contract import Column, Contract, ContractSet

FILE = Path("models") / "staging" / "_sources.yml"
_HEADER = "# Made from the data contracts by `dp contract sync`; change the contract, not this file.\n"
_REF_CALL = re.compile(r"""\bref\(\s*['"]([^'"]+)['"]\s*\)""")
PLATFORM_SOURCES = ("audit.file_ingestion_log",)
"""What dbt reads of the platform's own notes, which no contract describes."""
_SOURCE_CALL = re.compile(r"""\{\{-?\s*source\(\s*['"]([^'"]+)['"]\s*,\s*['"]([^'"]+)['"]\s*\)""")


def dbt_sources(contracts: Iterable[Contract]) -> str:
    """Return the text of the sources of some contracts."""
    domains: dict[str, list[dict[str, Any]]] = {}
    for contract in sorted(contracts, key=lambda contract: contract.name):
        domains.setdefault(source_name(contract.domain), []).append(_table(contract))
    sources = [
        {
            "name": name,
            "description": f"Tables that ingestion keeps from the contracts of the domain {name}.",
            "schema": "staging",
            "tables": tables,
        }
        for name, tables in sorted(domains.items())
    ]
    body = yaml.safe_dump({"version": 2, "sources": sources}, sort_keys=False, allow_unicode=True, width=118)
    return _HEADER + body


def source_name(domain: str) -> str:
    """Return a domain as the name of a dbt source."""
    return "_".join(re.findall(r"[a-z0-9]+", domain.lower())) or "other"


def write_sources(contracts: Iterable[Contract], project: Path) -> bool:
    """Write a project's sources unless they are that already; return whether they were written.

    The file is replaced in one step: another process reads the old one or the new one.
    """
    text, path = dbt_sources(contracts), project / FILE
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".sources-", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(scratch).chmod(0o644)
    Path(scratch).replace(path)
    return True


def current_project(contracts: ContractSet, project: Path, work: Path) -> Path:
    """Return a dbt project with the sources of the contracts: the one given, or a copy of it.

    While a contract file is broken the sources stay as they last were: what reads its table can still be built.

    Args:
        contracts: The contracts of a folder.
        project: The dbt project, which is only read.
        work: Folder for the copy, of one build at a time.
    """
    copy, sources = work / "project", project / FILE
    if contracts.problems:
        text = (copy if copy.exists() else project).joinpath(FILE).read_text(encoding="utf-8")
    else:
        text = dbt_sources(contracts)
    if sources.exists() and sources.read_text(encoding="utf-8") == text:
        shutil.rmtree(copy, ignore_errors=True)
        return project
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))
    (copy / FILE).write_text(text, encoding="utf-8")
    return copy


def read_tables(project: Path) -> list[str]:
    """Return the staging tables that a dbt project's models, snapshots and tests read, sorted."""
    tables: set[str] = set()
    for folder in ("models", "snapshots", "tests"):
        for path in sorted((project / folder).rglob("*.sql")):
            found = read_sources(path.read_text(encoding="utf-8"))
            tables.update(table for source, table in found if f"{source}.{table}" not in PLATFORM_SOURCES)
    return sorted(tables)


def references(text: str) -> set[str]:
    """Return the models, seeds and snapshots that a text names in `ref`."""
    return set(_REF_CALL.findall(text))


def read_sources(text: str) -> set[tuple[str, str]]:
    """Return source and table of what a text names in `source`."""
    return set(_SOURCE_CALL.findall(text))


def model_graph(project: Path) -> dict[str, list[str]]:
    """Return the models, seeds and snapshots of a dbt project by name, each with those that it reads, sorted.

    It is read from the files, without dbt, which takes seconds to say the same.
    """
    graph: dict[str, list[str]] = {}
    for folder, pattern in (("seeds", "*.csv"), ("models", "*.sql"), ("snapshots", "*.yml")):
        for path in sorted((project / folder).rglob(pattern)):
            if folder == "snapshots":
                declared = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
                for snapshot in declared.get("snapshots", ()):
                    graph[snapshot["name"]] = sorted(references(snapshot["relation"]))
            elif folder == "models":
                graph[path.stem] = sorted(references(path.read_text(encoding="utf-8")))
            else:
                graph[path.stem] = []
    return graph


def descendants(graph: dict[str, list[str]], name: str) -> set[str]:
    """Return all models of a graph that read one, at first or second hand."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        parent = waiting.pop()
        readers = {reader for reader, read in graph.items() if parent in read} - found
        found |= readers
        waiting.extend(readers)
    return found


def _table(contract: Contract) -> dict[str, Any]:
    table: dict[str, Any] = {"name": contract.table}
    if contract.description:
        table["description"] = _plain(contract.description)
    if contract.freshness:
        table["loaded_at_field"] = contract.freshness.column
        minutes = max(1, contract.freshness.seconds // 60)
        count = (minutes // 60, "hour") if minutes % 60 == 0 else (minutes, "minute")
        table["freshness"] = {"warn_after": {"count": count[0], "period": count[1]}}
    return table | {"columns": [_column(column) for column in contract.columns]}


def _column(column: Column) -> dict[str, Any]:
    """Return a column. Its rules are the contract's checks, and a key is one by the table's own constraint."""
    from pipelines.ingestion.columns import postgres_type

    entry: dict[str, Any] = {"name": column.column}
    if column.description:
        entry["description"] = _plain(column.description)
    entry["data_type"] = postgres_type(column)
    if column.is_pii:
        entry["config"] = {"tags": ["pii"]}
    return entry


def _plain(text: str) -> str:
    """Return a description as dbt prints it: what looks like Jinja is text."""
    return "{% raw %}" + text + "{% endraw %}" if re.search(r"\{[{%#]", text) else text
