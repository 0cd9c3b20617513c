"""Unknown keys: the standard's models let them pass, so a misspelt `requird` would silently switch a check off."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

Found = tuple[str, str]  # where in the file, message

_TEXT = frozenset({"minLength", "maxLength", "pattern", "format"})
_RANGE = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"})
OPTIONS: dict[str, frozenset[str]] = {
    "string": _TEXT,
    "date": _RANGE,
    "timestamp": _RANGE | {"timezone", "defaultTimezone"},
    "time": _RANGE,
    "integer": _RANGE | {"multipleOf"},
    "number": _RANGE | {"multipleOf"},
    "boolean": frozenset(),
    "object": frozenset(),
    "array": frozenset(),
}
INGEST: dict[str, Any] = {
    "format": None,
    "write": None,
    "order_by": None,
    "columns": None,
    "rejects": {"max_percent": None, "max_rows": None},
    "file": {"min_rows": None, "max_rows": None},
    "csv": dict.fromkeys(
        ("delimiter", "quote", "escape", "comment", "encoding", "header", "skip_rows", "decimal", "null_words")
    ),
}


def unknown(key: object, known: Iterable[str], where: str) -> Found:
    """Return the finding for a key that nobody knows, with the nearest one that is known."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(key).lower(), list(lowered), n=1, cutoff=0.6)
    hint = f"did you mean {lowered[near[0]]!r}?" if near else f"known here: {', '.join(names) or 'none'}"
    return where, f"unknown key {key!r}; {hint}"


def join(where: str, key: object) -> str:
    """Return the path of a member."""
    return f"{where}.{key}" if where else str(key)


def unknown_keys(model: Any, data: Any, where: str = "") -> Iterator[Found]:
    """Yield every key of `data` that the pydantic class `model` of the standard does not have, at any depth."""
    if not isinstance(data, dict):
        return
    fields = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for key, value in data.items():
        if key not in fields:
            yield unknown(key, fields, join(where, key))
        else:
            yield from _descend(fields[key], value, join(where, key))


def _descend(annotation: Any, value: Any, where: str) -> Iterator[Found]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            wants_list = typing.get_origin(choice) is list
            if wants_list == isinstance(value, list):
                yield from _descend(choice, value, where)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _descend(arguments[0], item, f"{where}[{index}]")
    elif hasattr(annotation, "model_fields"):
        yield from unknown_keys(annotation, value, where)


def unknown_members(known: dict[str, Any], data: Any, where: str) -> Iterator[Found]:
    """Yield every key of `data` missing from the nested table `known`."""
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        if key not in known:
            yield unknown(key, known, join(where, key))
        elif isinstance(known[key], dict):
            if not isinstance(value, dict):
                yield join(where, key), "must be a mapping"
            else:
                yield from unknown_members(known[key], value, join(where, key))
