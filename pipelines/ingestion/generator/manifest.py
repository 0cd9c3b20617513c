"""What ingestion must report for each generated file, and what the table must hold afterwards."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExpectedFile:
    """A file's expected outcome, in the terms of `pipelines.ingestion.model.FileOutcome`."""

    name: str
    dataset: str
    status: str = "succeeded"
    stage: str | None = None
    rows_read: int = 0
    rows_rejected: int = 0
    rejected_by_rule: dict[str, int] = field(default_factory=dict)
    rows_deduplicated: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0


@dataclass(frozen=True)
class Manifest:
    """The files of all datasets, each dataset's in the order in which they must be taken in, and the tables' totals.

    `totals` is of the sales: `rows`, `customers`, `revenue` and `revenue_by_category` (money as decimal text).
    `tables` has the number of rows of each dataset's table.
    """

    days: int
    seed: int
    end: str
    files: list[ExpectedFile]
    totals: dict[str, Any]
    tables: dict[str, int]

    def of(self, dataset: str) -> list[ExpectedFile]:
        """Return the files of a dataset."""
        return [file for file in self.files if file.dataset == dataset]

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON has it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Manifest:
        """Return the manifest that `to_dict` made `data` of."""
        return cls(**{**data, "files": [ExpectedFile(**entry) for entry in data["files"]]})

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest that `write` wrote."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
