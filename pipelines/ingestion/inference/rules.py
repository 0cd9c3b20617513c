"""What holds for a column beyond its type: whether it is required, its range, its list of values, its share of nulls.

A rule that rejects rows needs more than the rows that were seen: a name that says what the column is, and many rows.
What the rows suggest alone becomes a check on the table, which warns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingestion.inference import names
from pipelines.ingestion.inference.profile import Profile
from pipelines.ingestion.inference.types import NUMBERS, Guess

_ENOUGH_FOR_REQUIRED, _ENOUGH_FOR_RANGES, _ENOUGH_FOR_LISTS = 20, 100, 200
_MAX_LIST, _MAX_LIST_CHECKED, _ROWS_A_VALUE = 12, 40, 20
_PERCENT_WORDS = frozenset({"percent", "pct", "percentage"})
_BOUNDS: tuple[tuple[frozenset[str], int, int], ...] = (
    (frozenset({"latitude", "lat"}), -90, 90),
    (frozenset({"longitude", "lon", "lng"}), -180, 180),
    (_PERCENT_WORDS, 0, 100),
    (frozenset({"age"}), 0, 150),
    (frozenset({"year"}), 1900, 2100),
    (frozenset({"month"}), 1, 12),
)


@dataclass
class Rules:
    """The rules of a column in the standard's words, and why."""

    required: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    quality: list[dict[str, Any]] = field(default_factory=list)
    why: list[str] = field(default_factory=list)


def guess_rules(
    name: str, column: str, found: Profile, nulls: int, guess: Guess, *, personal: bool, sampled: bool
) -> Rules:
    """Return a column's rules.

    Args:
        name: The column as files spell it.
        column: The column in the warehouse.
        found: Its profile.
        nulls: Rows without a value, null words counted.
        guess: Its type.
        personal: Whether it holds personal data, whose values are not written into a contract.
        sampled: Whether only some rows were looked at.
    """
    rules = Rules()
    _presence(name, column, found, nulls, sampled, rules)
    if found.filled > 0 and guess.logical in ("integer", "number"):
        _range(name, found, rules)
    if guess.logical == "date" and "format" not in guess.options:
        _calendar(found, rules)
    if guess.logical == "string" and not personal:
        _values(name, column, found, rules)
    return rules


def _presence(name: str, column: str, found: Profile, nulls: int, sampled: bool, rules: Rules) -> None:
    if not nulls:
        if names.has(name, names.FREE_WORDS) or sampled or found.rows < _ENOUGH_FOR_REQUIRED:
            reason = "it is free text" if names.has(name, names.FREE_WORDS) else "too few rows were seen"
            rules.why.append(f"never empty, but {reason}: not required")
            return
        rules.required = True
        rules.why.append(f"required: never empty in {found.rows:,} rows")
        return
    percent = 100 * nulls / found.rows
    rules.why.append(f"{percent:.2g} % empty")
    allowed = min(5 * math.ceil((2 * percent + 5) / 5), 100)
    if allowed < 90 and found.rows >= _ENOUGH_FOR_RANGES:
        rules.quality.append(
            {
                "name": f"{column}_mostly_known",
                "description": f"{percent:.2g} % of the rows that the contract was inferred from had no value.",
                "type": "library",
                "metric": "nullValues",
                "unit": "percent",
                "mustBeLessThan": allowed,
                "severity": "warning",
                "dimension": "completeness",
            }
        )


def _range(name: str, found: Profile, rules: Rules) -> None:
    numbers = [found.shapes[shape] for shape in NUMBERS if shape in found.shapes]
    low, high = min(shape.low or 0.0 for shape in numbers), max(shape.high or 0.0 for shape in numbers)
    for vocabulary, minimum, maximum in _BOUNDS:
        if names.has(name, vocabulary) and minimum <= low and high <= maximum:
            rules.options |= {"minimum": minimum, "maximum": maximum}
            rules.why.append(f"from {minimum} to {maximum}, as the name says")
            return
    if low >= 0 and found.filled >= _ENOUGH_FOR_RANGES and names.has(name, names.AMOUNT_WORDS):
        rules.options["minimum"] = 0
        rules.why.append(f"never negative in {found.filled:,} rows, as the name makes one expect")


def _calendar(found: Profile, rules: Rules) -> None:
    first = found.shapes["date"].first
    if first >= "1900-01-01":
        rules.options["minimum"] = "1900-01-01"
        rules.why.append("not before 1900, which keeps out dates that stand for none")


def _values(name: str, column: str, found: Profile, rules: Rules) -> None:
    """A list of values is closed if the name says that it is one and each value came often; else it only warns.

    That of a status is never closed: the first files do not have what rows come to be later.
    """
    values = [value for value, _ in found.common]
    if (
        not values
        or len(values) > _MAX_LIST_CHECKED
        or found.filled < max(_ENOUGH_FOR_LISTS, _ROWS_A_VALUE * len(values))
    ):
        return
    if any(value != value.strip() or len(value) > 60 for value in values):
        return
    is_list = names.has(name, names.CLOSED_WORDS) and not names.has(name, names.OPEN_WORDS)
    if not is_list and (names.is_code(name) or names.is_identifier(name)):
        return
    rarest = min(rows for _, rows in found.common)
    closed = is_list and 1 < len(values) <= _MAX_LIST and rarest >= 5
    rule: dict[str, Any] = {
        "name": f"{column}_accepted" if closed else f"{column}_seen_before",
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": sorted(values)},
    }
    if closed:
        rules.quality.append(rule | {"mustBe": 0, "severity": "error", "dimension": "conformity"})
        rules.why.append(f"one of {len(values)} values, each seen {rarest:,} times or more: others are rejected")
    else:
        percent = {"unit": "percent", "mustBeLessThan": 10, "severity": "warning", "dimension": "conformity"}
        rules.quality.append(rule | percent)
        rules.why.append(f"{len(values)} values so far; a check warns when more than 10 % are others")
