"""What `dp contract check` says: changes with their lines, the version they need, and who is below."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from data_quality.contract import Contract, ContractSet
from data_quality.contract.changes import Change
from data_quality.contract.comparison import Comparison, compare_all
from data_quality.contract.lines import Lines
from dataplatform_cli.contract_readers import CatalogReaders, ProjectReaders, Reader
from dataplatform_cli.settings import StackSettings

_COLOURS = {"breaking": "red", "warning": "yellow", "info": "dim"}
_NAMED = 12  # readers of a change that are printed


@dataclass(frozen=True)
class Finding:
    """A change, the line it is in (0 where it has none), and who reads what it changes."""

    change: Change
    line: int
    readers: tuple[Reader, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a dataset's contract, and where its readers are known from."""

    comparison: Comparison
    path: str
    findings: tuple[Finding, ...]
    source: str

    @property
    def readers(self) -> list[Reader]:
        """Everything below what breaks, each once: first what is certain, and of that what somebody owns."""
        known: dict[tuple[str, str], Reader] = {}
        for finding in self.findings:
            if finding.change.severity != "breaking":
                continue
            for reader in finding.readers:
                before = known.get((reader.kind, reader.name))
                if before is None or (reader.certain and not before.certain):
                    known[reader.kind, reader.name] = reader
        return sorted(known.values(), key=lambda item: (not item.certain, not item.owner, item.kind, item.name))

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON has it."""
        told = self.comparison
        readers = self.readers
        return {
            "dataset": told.dataset,
            "path": self.path,
            "ok": not told.breaks,
            "version": {
                "old": told.old.version if told.old else None,
                "new": told.new.version if told.new else None,
                "step": told.step,
                "needed": told.needed,
                "raised": told.is_raised,
                "proposed": told.proposed_version,
            },
            "changes": [
                {
                    **finding.change.to_dict(),
                    "line": finding.line,
                    "downstream": [reader.to_dict() for reader in finding.readers],
                }
                for finding in self.findings
            ],
            "downstream": {
                "source": self.source,
                "items": [reader.to_dict() for reader in readers],
                "owners": sorted({reader.owner for reader in readers if reader.owner}),
            },
        }


def judge(settings: StackSettings, old: ContractSet, new: ContractSet, project: Path) -> list[Verdict]:
    """Return a verdict for every dataset whose contract changed. A contract that can't be read now is left out."""
    unread = {problem.path for problem in new.problems}
    readers = _Readers(settings, ProjectReaders(project, new))
    verdicts = []
    for told in compare_all(old, new):
        if told.new is None and any(Path(path).name.startswith(f"{told.dataset}.") for path in unread):
            continue
        contract = told.new or told.old
        assert contract is not None  # noqa: S101  a comparison has at least one of the two
        lines = Lines(Path(contract.path)) if told.new else None
        findings = tuple(
            Finding(change, lines.of(change.where) if lines else 0, readers.of(told.old or contract, change))
            for change in told.changes
        )
        verdicts.append(Verdict(told, shown_path(contract.path) if told.new else "", findings, readers.source))
    return verdicts


class _Readers:
    """The metadata service as long as it answers and knows the table, else the project."""

    def __init__(self, settings: StackSettings, project: ProjectReaders) -> None:
        self._catalog: CatalogReaders | None = CatalogReaders(settings)
        self._project = project
        self._known: dict[tuple[str, str | None], tuple[Reader, ...]] = {}
        self.source = CatalogReaders.source

    def of(self, contract: Contract, change: Change) -> tuple[Reader, ...]:
        """Return who reads what a change is about; nobody needs to be named for one that is only for information."""
        if change.severity == "info":
            return ()
        key = (contract.table, change.column)
        if key not in self._known:
            self._known[key] = tuple(self._ask(contract, change.column))
        return self._known[key]

    def _ask(self, contract: Contract, column: str | None) -> Iterable[Reader]:
        if self._catalog is not None:
            try:
                found = self._catalog.of(contract, column)
            except (httpx.HTTPError, KeyError, ValueError):
                found = None
            if found is not None:
                return found
            self._catalog, self.source = None, ProjectReaders.source
        return self._project.of(contract, column)


def shown_path(path: str) -> str:
    """Return a path as a person standing here would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def show(console: Console, verdicts: list[Verdict], against: str) -> None:
    """Print verdicts, the worst changes of each first."""
    for verdict in verdicts:
        _show(console, verdict)
    breaking = [verdict for verdict in verdicts if verdict.comparison.breaks]
    if breaking:
        names = ", ".join(verdict.comparison.dataset for verdict in breaking)
        console.print(f"[red]breaks without a new major version against {escape(against)}: {names}[/]")
    elif verdicts:
        console.print(f"[green]{len(verdicts)} contracts changed against {escape(against)}; nothing breaks unsaid[/]")
    else:
        console.print(f"[green]no contract changed against {escape(against)}[/]")


def _show(console: Console, verdict: Verdict) -> None:
    told = verdict.comparison
    old, new = (contract.version if contract else "—" for contract in (told.old, told.new))
    console.print(f"\n[bold]{told.dataset}[/] {old} → {new}", highlight=False)
    for finding in verdict.findings:
        place = f"{verdict.path}:{finding.line}: " if finding.line else ""
        console.print(f"  [{_COLOURS[finding.change.severity]}]{finding.change.severity:8}[/] ", end="")
        console.print(f"{place}{finding.change.message}", markup=False, highlight=False, soft_wrap=True)
        if finding.change.cure:
            console.print(f"           {finding.change.cure}", style="dim", markup=False, soft_wrap=True)
    if not told.is_raised and told.new is not None:
        colour = "red" if told.breaks else "yellow"
        wanted = f"version: {told.proposed_version}" if told.proposed_version else f"a new {told.needed} version"
        console.print(f"  [{colour}]version[/]  these changes need {wanted}", highlight=False)
    readers = verdict.readers
    if readers:
        console.print(f"  below it, says the {verdict.source}:", highlight=False)
        for reader in readers[:_NAMED]:
            doubt = "" if reader.certain else ", perhaps"
            line = f"    {reader.kind} {reader.name} ({reader.owner or 'nobody named'}{doubt})"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if len(readers) > _NAMED:
            console.print(f"    and {len(readers) - _NAMED} more (--json names all)", highlight=False)
        owners = sorted({reader.owner for reader in readers if reader.owner})
        console.print(f"  tell: {', '.join(owners)}", markup=False, highlight=False, soft_wrap=True)
