"""What changed between two states of contracts, and whom it breaks: those who deliver, or those who read.

Pure functions of contracts. Every change has a severity:

    breaking   somebody's files or queries fail, or figures change their meaning: needs a new major version
    warning    somebody should know before: a minor version
    info       nobody has to do anything

`compared_columns` looks at columns, `compared_terms` at what is said of the dataset as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from data_quality.contract.changes import Change
from data_quality.contract.compared_columns import compare_columns
from data_quality.contract.compared_terms import compare_terms
from data_quality.contract.model import Contract

Step = Literal["none", "patch", "minor", "major", "lowered", "unclear"]
_STEPS = ("major", "minor", "patch")
_SEVERITIES = ("breaking", "warning", "info")


@dataclass(frozen=True)
class Comparison:
    """A dataset's two states; one of them is None where it came or went. `changes` are the worst first."""

    dataset: str
    old: Contract | None
    new: Contract | None
    changes: tuple[Change, ...]

    @property
    def step(self) -> Step:
        """By how much the version was raised."""
        if self.old is None or self.new is None:
            return "none"
        return version_step(self.old.version, self.new.version)

    @property
    def needed(self) -> Step:
        """By how much the version has to be raised for these changes. A new dataset has nothing to be compared with."""
        severities = {item.severity for item in self.changes} if self.old else set()
        if "breaking" in severities:
            return "major"
        return "minor" if "warning" in severities else "patch" if severities else "none"

    @property
    def is_raised(self) -> bool:
        """Whether the version was raised by as much as the changes need. No version can say that a dataset is gone."""
        if self.needed == "none" or self.new is None:
            return self.needed != "major"
        return self.step in _STEPS and _STEPS.index(self.step) <= _STEPS.index(self.needed)

    @property
    def breaks(self) -> bool:
        """Whether something breaks and the version does not say so."""
        return self.needed == "major" and not self.is_raised

    @property
    def proposed_version(self) -> str | None:
        """The lowest version that has room for these changes; None where none is needed, or the old one is none."""
        numbers = _numbers(self.old.version) if self.old and self.new else None
        if numbers is None or self.needed == "none":
            return None
        place = _STEPS.index(self.needed)
        return ".".join(map(str, (*numbers[:place], numbers[place] + 1, *[0] * (2 - place))))


def compare(old: Contract, new: Contract) -> list[Change]:
    """Return what changed between two states of a dataset's contract, the worst first."""
    changes = [*compare_terms(old, new), *compare_columns(old, new)]
    if version_step(old.version, new.version) == "lowered":
        message = f"the version went back from {old.version} to {new.version}"
        changes.append(Change("version_lowered", "warning", message, "versions only grow", None, "version"))
    return sorted(changes, key=lambda item: _SEVERITIES.index(item.severity))


def compare_all(old: Iterable[Contract], new: Iterable[Contract]) -> list[Comparison]:
    """Return a comparison for each dataset that changed, came or went, sorted by dataset.

    A contract that describes the same table under another dataset name is the same dataset, renamed.
    """
    before, after = {item.name: item for item in old}, {item.name: item for item in new}
    renamed = {
        name: other.name
        for name, contract in before.items()
        if name not in after
        for other in after.values()
        if other.name not in before and (other.table == contract.table or other.id == contract.id)
    }
    found = []
    for name, contract in before.items():
        now = after.get(renamed.get(name, name))
        announced = contract.status in ("deprecated", "retired")
        gone = Change(
            "dataset_removed",
            "warning" if announced else "breaking",
            f"the dataset {name} is gone: its files are taken in no more, its table grows old",
            "" if announced else "set its status to deprecated first, and take it away when nothing is below it",
        )
        changes = compare(contract, now) if now else [gone]
        if changes:
            found.append(Comparison(name, contract, now, tuple(changes)))
    for name in sorted(after.keys() - before.keys() - set(renamed.values())):
        added = Change("dataset_added", "info", f"the dataset {name} is new")
        found.append(Comparison(name, None, after[name], (added,)))
    return sorted(found, key=lambda item: item.dataset)


def version_step(old: str, new: str) -> Step:
    """Return by how much a semantic version was raised; `unclear` where one of two different ones is none."""
    if old == new:
        return "none"
    before, after = _numbers(old), _numbers(new)
    if before is None or after is None:
        return "unclear"
    if after <= before:
        return "lowered" if after < before else "none"
    first = next(place for place in range(3) if before[place] != after[place])
    return ("major", "minor", "patch")[first]


def _numbers(version: str) -> tuple[int, int, int] | None:
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
