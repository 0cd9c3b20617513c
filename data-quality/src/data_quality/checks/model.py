"""The check model that every engine shares, and the one result model they all answer in."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from data_quality.checks.rules import Kind, Rule


class DuplicateCheckError(ValueError):
    """Two checks of a dataset have the same name."""


class Severity(StrEnum):
    """What a failed check means: warn is noted, error and critical fail the checking task.

    In the gate before a publication, error and critical both hold it back: the last good version keeps serving.
    """

    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"


class Status(StrEnum):
    """How a check ended. `error` is a check that could not be carried out, which says nothing about the data."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Threshold:
    """What the measured value is held against. Operators are ODCS's: mustBe, mustBeGreaterThan, mustBeBetween …"""

    operator: str
    value: Any

    def holds(self, measured: Any) -> bool:
        """Whether a measured value meets it. None (nothing could be measured) meets none.

        Raises:
            TypeError: the two can't be compared.
        """
        if measured is None:
            return False
        return _OPERATORS[self.operator](measured, self.value)

    def __str__(self) -> str:
        return f"{_SYMBOLS[self.operator]} {self.value}"


def _between(measured: Any, bounds: Any) -> bool:
    low, high = bounds
    return bool(low <= measured <= high)


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "mustBe": operator.eq,
    "mustNotBe": operator.ne,
    "mustBeGreaterThan": operator.gt,
    "mustBeGreaterOrEqualTo": operator.ge,
    "mustBeLessThan": operator.lt,
    "mustBeLessOrEqualTo": operator.le,
    "mustBeBetween": _between,
    "mustNotBeBetween": lambda measured, bounds: not _between(measured, bounds),
}
_SYMBOLS = {
    "mustBe": "=",
    "mustNotBe": "≠",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": "≥",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "≤",
    "mustBeBetween": "between",
    "mustNotBeBetween": "not between",
}


@dataclass(frozen=True)
class Check:
    """One thing that has to hold of a table: what is asked (`rule`), what the answer is held against (`threshold`)."""

    name: str
    schema: str
    table: str
    threshold: Threshold
    rule: Rule
    severity: Severity = Severity.ERROR
    column: str | None = None
    dimension: str | None = None
    description: str = ""
    percent: bool = False
    """Whether counted rows are measured as a share of the table's, from 0 to 100."""
    compared: bool = False
    """Whether the change against the last passed run is measured, in percent of what was measured then."""

    @property
    def kind(self) -> Kind:
        """What the check is about."""
        return self.rule.kind

    @property
    def dataset(self) -> str:
        """Schema and table with a dot between."""
        return f"{self.schema}.{self.table}"

    @property
    def relation(self) -> str:
        """Schema and table as SQL has them, quoted."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"


@dataclass(frozen=True)
class CheckResult:
    """How one check ended, whatever engine ran it."""

    check: str
    dataset: str
    status: Status
    severity: Severity
    engine: str
    column: str | None = None
    dimension: str | None = None
    measured: Any = None
    value: Any = None
    """What was measured itself where `measured` is its change: the next run is compared with it."""
    expected: str | None = None
    message: str | None = None
    sql: str | None = None
    failed_rows: int | None = None
    sample: list[dict[str, Any]] = field(default_factory=list)
    checked_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    duration_seconds: float = 0.0

    @property
    def stops(self) -> bool:
        """Whether what comes after has to wait: a critical check that failed or could not be carried out."""
        return self.severity is Severity.CRITICAL and self.status in (Status.FAILED, Status.ERROR)

    @property
    def holds_back(self) -> bool:
        """Whether the gate publishes nothing because of it: not a warning, and failed or not carried out."""
        return self.severity is not Severity.WARN and self.status in (Status.FAILED, Status.ERROR)

    def to_dict(self) -> dict[str, Any]:
        """Return the result with JSON values only."""
        return {name: _json_value(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        told = f"{self.status.upper()} {self.dataset} {self.check} ({self.severity})"
        if self.status is Status.PASSED:
            return f"{told}: {self.measured}"
        if self.status is Status.FAILED:
            return f"{told}: measured {self.measured}, expected {self.expected}"
        return f"{told}: {self.message}"


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, (Decimal, float)) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
