"""What a change of columns breaks for those who read them, and which version it therefore needs (https://semver.org)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Types that take every value of the types named; a reader goes on working.
WIDER: dict[str, frozenset[str]] = {
    "integer": frozenset({"smallint"}),
    "bigint": frozenset({"smallint", "integer"}),
    "double precision": frozenset({"real", "smallint", "integer"}),
    "numeric": frozenset({"smallint", "integer", "bigint"}),
    "text": frozenset({"varchar", "char"}),
    "varchar": frozenset({"char"}),
}
_ALIASES = {"int": "integer", "int2": "smallint", "int4": "integer", "int8": "bigint", "long": "bigint",
            "string": "text", "character varying": "varchar", "character": "char", "decimal": "numeric",
            "float8": "double precision", "double": "double precision", "float4": "real",
            "timestamp with time zone": "timestamptz", "bool": "boolean"}  # fmt: skip
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-[0-9A-Za-z.-]{1,50})?")


@dataclass(frozen=True)
class Break:
    """A column, and what its readers lose."""

    column: str
    reason: str


def parse_version(text: str) -> tuple[int, int, int]:
    """Return a semantic version's numbers.

    Raises:
        ValueError: it is none.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError("is no semantic version: use MAJOR.MINOR.PATCH, such as 1.4.0")
    return int(found[1]), int(found[2]), int(found[3])


def breaks(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[Break]:
    """Return what a change of columns breaks: those that are gone, those whose type no longer holds what it held.

    Args:
        before: Columns as the catalog has them: `name`, `type`, and `required` where it is known.
        after: What they are to be.
    """
    now = {column["name"]: column for column in after}
    found = []
    for column in before:
        name = column["name"]
        if name not in now:
            found.append(Break(name, "is gone"))
            continue
        old, new = column.get("type"), now[name].get("type")
        if old and new and not is_wider(old, new):
            found.append(Break(name, f"was {old} and is {new}"))
        if column.get("required") is True and now[name].get("required") is False:
            found.append(Break(name, "can be missing now"))
    return found


def is_wider(old: str, new: str) -> bool:
    """Whether every value of a type fits into another."""
    old_base, old_sizes = _type(old)
    new_base, new_sizes = _type(new)
    if old_base == new_base:
        if not new_sizes:
            return True
        if not old_sizes or len(old_sizes) != len(new_sizes):
            return False
        if old_base == "numeric" and len(old_sizes) == 2:
            return new_sizes[1] >= old_sizes[1] and new_sizes[0] - new_sizes[1] >= old_sizes[0] - old_sizes[1]
        return all(new >= old for old, new in zip(old_sizes, new_sizes, strict=True))
    return old_base in WIDER.get(new_base, ()) and not new_sizes


def _type(text: str) -> tuple[str, tuple[int, ...]]:
    base = re.sub(r"\s+", " ", re.sub(r"\(.*?\)", "", text)).strip().lower()
    sizes = tuple(int(size) for size in re.findall(r"\d+", text[text.find("(") :] if "(" in text else ""))
    return _ALIASES.get(base, base), sizes
