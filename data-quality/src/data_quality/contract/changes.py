"""A change of a contract, as the comparison tells it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["breaking", "warning", "info"]


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        kind: What changed, one word with underscores: `column_removed`, `type_narrowed`…
        severity: How bad it is.
        message: What was and what is.
        cure: What to do about it; empty where there is nothing to do.
        column: The column in the warehouse, as readers knew it; None for the dataset as a whole.
        where: The place in the new contract's file, such as `schema[0].properties[3].logicalTypeOptions`.
    """

    kind: str
    severity: Severity
    message: str
    cure: str = ""
    column: str | None = None
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the change as JSON has it."""
        return asdict(self)
