"""What inference finds out, before it is written down as a contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.ingestion.inference.pii import Personal
from pipelines.ingestion.inference.profile import Profile
from pipelines.ingestion.inference.rules import Rules
from pipelines.ingestion.inference.types import Guess


@dataclass
class Inferred:
    """A column: `name` as files spell it, `column` in the warehouse, and all that was guessed of it."""

    name: str
    column: str
    profile: Profile
    guess: Guess
    rules: Rules
    personal: Personal | None
    nulls: int
    key_position: int = 0

    @property
    def why(self) -> list[str]:
        """Every reason, the type's first."""
        personal = [self.personal.why] if self.personal else []
        key = ["the key" if self.key_position == 1 else f"the key's column {self.key_position}"] * bool(
            self.key_position
        )
        return [*self.guess.why, *key, *self.rules.why, *personal]

    def to_dict(self) -> dict[str, Any]:
        """Return the column as JSON has it."""
        return {
            "name": self.name,
            "column": self.column,
            "logical_type": self.guess.logical,
            "physical_type": self.guess.physical,
            "required": self.rules.required,
            "key": bool(self.key_position),
            "pii": self.personal.kind if self.personal else None,
            "why": self.why,
            "doubt": self.guess.doubt,
        }


@dataclass
class Inference:
    """A contract as text, its columns with their reasons, and what was noted of the dataset as a whole.

    `rejected` is how many rows of its own files the contract rejects, None where they were too large to try.
    """

    text: str
    columns: list[Inferred]
    rows: int
    notes: list[str] = field(default_factory=list)
    rejected: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the inference as JSON has it."""
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "notes": self.notes,
            "columns": [column.to_dict() for column in self.columns],
            "contract": self.text,
        }
