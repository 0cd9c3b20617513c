"""What an alert says, and when two alerts are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from data_quality.contract import Contract
    from pipelines.ingestion.model import FileOutcome

MAX_GROUPS = 5
MAX_EXAMPLES = 3
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|s3://\S+|0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True)
class Alert:
    """Something that somebody has to look at. `files` counts what it is about, 1 for a task.

    `subject` is a dataset, a layer, a task as `dag.task`, or a check of the platform's health; `stage` is validation,
    processing, loading, rejected, publication, task or health. `resolved` says that it is over.
    """

    subject: str
    stage: str
    reason: str
    owner: str
    owner_email: str | None = None
    files: int = 1
    counts: dict[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    run_id: str = ""
    link: str = ""
    resolved: bool = False

    @property
    def key(self) -> str:
        """The same for alerts of one subject, stage and reason, whatever numbers and names the reason quotes."""
        reason = _VARYING.sub("#", self.reason)
        return hashlib.sha256("\n".join((self.subject, self.stage, reason)).encode()).hexdigest()[:32]

    @property
    def headline(self) -> str:
        """One line."""
        return f"resolved: {self._trouble}" if self.resolved else self._trouble

    @property
    def _trouble(self) -> str:
        if self.stage == "publication":
            return f"{self.subject} is held back"
        if self.stage == "task":
            return f"{self.subject} failed"
        if self.stage == "health":
            return f"platform health: {self.subject}"
        files = f"{self.files} file{'' if self.files == 1 else 's'}"
        told = "with rejected rows" if self.stage == "rejected" else f"failed at {self.stage}"
        return f"{self.subject}: {files} {told}"

    @property
    def facts(self) -> dict[str, str]:
        """The rest, by name, in the order to be read."""
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        facts = {
            "Reason": self.reason,
            "Owner": self.owner,
            "Counts": counts,
            "Files": ", ".join(self.examples) + (" …" if self.files > len(self.examples) > 0 else ""),
            "Run": self.run_id,
        }
        return {name: value for name, value in facts.items() if value}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the alert that `to_dict` made `data` of; keys of newer versions are passed over."""
        names = {item.name for item in dataclasses.fields(cls)}
        known = {key: value for key, value in data.items() if key in names}
        return cls(**{**known, "examples": tuple(known.get("examples", ()))})


def of_outcomes(
    contract: Contract, outcomes: Iterable[FileOutcome], rejected_percent: float, run_id: str = "", link: str = ""
) -> list[Alert]:
    """Return the alerts that files' outcomes are worth: one for each stage and reason, the largest first.

    A file that failed is, and one of whose rows more than `rejected_percent` were rejected. Past MAX_GROUPS reasons
    the others of a stage share one alert.
    """
    groups: dict[str, list[tuple[Alert, FileOutcome]]] = defaultdict(list)
    for outcome in outcomes:
        told = _problem(outcome, rejected_percent)
        if told:
            alert = Alert(contract.name, *told, contract.owner, contract.owner_email, run_id=run_id, link=link)
            groups[alert.key].append((alert, outcome))
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    alerts = [_grouped(group[0][0], [outcome for _, outcome in group]) for group in ordered[:MAX_GROUPS]]
    rest: dict[str, list[tuple[Alert, FileOutcome]]] = defaultdict(list)
    for group in ordered[MAX_GROUPS:]:
        rest[group[0][0].stage] += group
    for group in rest.values():
        first = dataclasses.replace(group[0][0], reason="other reasons: the ledger names them")
        alerts.append(_grouped(first, [outcome for _, outcome in group]))
    return alerts


def _problem(outcome: FileOutcome, rejected_percent: float) -> tuple[str, str] | None:
    if outcome.status == "failed":
        return outcome.stage or "processing", outcome.error or "no reason was given"
    if outcome.status == "succeeded" and outcome.rows_rejected * 100 > rejected_percent * outcome.rows_read:
        rule = max(outcome.rejects_by_rule, key=lambda name: outcome.rejects_by_rule[name], default="")
        return "rejected", f"more than {rejected_percent:g} % of the rows, most by {rule or 'an unnamed rule'}"
    return None


def _grouped(alert: Alert, outcomes: list[FileOutcome]) -> Alert:
    counts = {name: sum(getattr(outcome, name) for outcome in outcomes) for name in ("rows_read", "rows_rejected")}
    names = tuple(outcome.path.rpartition("/")[2] for outcome in outcomes[:MAX_EXAMPLES])
    return dataclasses.replace(alert, files=len(outcomes), counts=counts, examples=names)
