"""What a check says, and what importing a DAG file showed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something to mend. An error keeps the DAG from running as it should; a warning is a matter of taste or time.

    `line` is 0 where no line is to blame; `rule` is a short name that stays the same.
    """

    path: str
    line: int
    level: Level
    rule: str
    what: str
    cure: str

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.path}{line}: {self.level}: {self.what} ({self.cure})"


@dataclass(frozen=True)
class ReadTask:
    """A task as its author wrote it, before the platform's defaults."""

    task_id: str
    pool: str
    has_owner: bool
    connections: dict[str, str] = field(default_factory=dict)  # argument → connection id


@dataclass(frozen=True)
class ReadDag:
    """A DAG as its author wrote it. `start` is ISO-8601; `runs_to_catch_up` those that would start at once."""

    dag_id: str
    tags: list[str]
    start: str | None
    catchup: bool
    is_scheduled: bool
    tasks: list[ReadTask] = field(default_factory=list)


@dataclass(frozen=True)
class ReadFile:
    """What importing a DAG file showed.

    Args:
        path: Absolute path.
        seconds: How long the import took.
        error: Airflow's import error (a traceback), empty where there was none.
        error_line: The file's line in it, 0 where unknown.
        asked: What the import asked for, each as [line, what]: "the variable x", "the connection x",
            "the network address x".
        heavy: Large libraries that it imported.
    """

    path: str
    seconds: float = 0.0
    error: str = ""
    error_line: int = 0
    asked: list[tuple[int, str]] = field(default_factory=list)
    heavy: list[str] = field(default_factory=list)
    dags: list[ReadDag] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the file that `to_dict` made `data` of."""
        dags = [ReadDag(**{**dag, "tasks": [ReadTask(**task) for task in dag["tasks"]]}) for dag in data["dags"]]
        return cls(**{**data, "dags": dags, "asked": [(line, what) for line, what in data["asked"]]})


@dataclass(frozen=True)
class Report:
    """The findings of some files."""

    files: list[str]
    dag_ids: list[str]
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What keeps a DAG from running as it should."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        findings = [dataclasses.asdict(finding) for finding in self.findings]
        return {"ok": self.ok, "files": self.files, "dags": self.dag_ids, "findings": findings}
