"""What changed in a contract's columns. See `comparison`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from data_quality.contract.changes import Change, Severity
from data_quality.contract.model import Column, Contract
from data_quality.contract.types import postgres_type, printed_type

# What a whole number of a type needs before the point of a numeric.
_INTEGERS = {"smallint": 5, "integer": 10, "bigint": 19}
_SECRECY = {"public": 0, "internal": 1, "confidential": 2, "sensitive": 3, "pii": 3, "restricted": 4}
_LOWER = {"minimum": "minimum", "exclusive_minimum": "exclusiveMinimum", "min_length": "minLength"}
_UPPER = {"maximum": "maximum", "exclusive_maximum": "exclusiveMaximum", "max_length": "maxLength"}
_EXACT = {"pattern": "pattern", "format": "format", "multiple_of": "multipleOf"}


def compare_columns(old: Contract, new: Contract) -> Iterator[Change]:
    """Yield what changed in the columns of two states of a contract."""
    pairs, gone, come = _pairs(old, new)
    for before, after in pairs:
        yield from _column(before, after, f"schema[0].properties[{new.columns.index(after)}]")
    for before in gone:
        yield Change(
            "column_removed",
            "breaking",
            f"column {before.column} is gone: what reads it fails, and files that bring it bring an unknown column",
            "keep it, not required, until nothing below reads it",
            before.column,
            "schema[0].properties",
        )
    for after in come:
        where = f"schema[0].properties[{new.columns.index(after)}]"
        if after.required:
            message = f"column {after.column} is new and required: every row of a file without it is rejected"
            yield Change(
                "required_column_added", "breaking", message, "add it as not required first", after.column, where
            )
        else:
            yield Change("column_added", "info", f"column {after.column} is new", "", after.column, where)
    if old.key != new.key:
        yield Change(
            "key_changed",
            "breaking",
            f"the key was {_listed(old.key)} and is {_listed(new.key)}: other rows replace each other, joins multiply",
            "make a dataset of its own for rows of another key",
            None,
            "schema[0].properties",
        )
    if old.partition != new.partition:
        by_partition = "delete_insert" in (old.ingest.write, new.ingest.write)
        yield Change(
            "partition_changed",
            "breaking" if by_partition else "warning",
            f"rows were kept by {_listed(old.partition)} and are by {_listed(new.partition)}",
            "tell who delivers: a file replaces other rows than it did" if by_partition else "",
            None,
            "schema[0].properties",
        )


def _pairs(old: Contract, new: Contract) -> tuple[list[tuple[Column, Column]], list[Column], list[Column]]:
    """Return the columns that are one, those that went and those that came.

    One is a column of the same name in the warehouse, else in files, else of the same type at the same place.
    """
    pairs: list[tuple[Column, Column]] = []
    gone, come = list(old.columns), list(new.columns)

    def same(test: Any) -> None:
        for before in list(gone):
            after = next((column for column in come if test(before, column)), None)
            if after is not None:
                pairs.append((before, after))
                gone.remove(before)
                come.remove(after)

    same(lambda before, after: before.column == after.column)
    same(lambda before, after: before.name == after.name)
    if len(old.columns) == len(new.columns):
        same(
            lambda before, after: (
                old.columns.index(before) == new.columns.index(after) and postgres_type(before) == postgres_type(after)
            )
        )
    return pairs, gone, come


def _column(old: Column, new: Column, where: str) -> Iterator[Change]:
    def told(kind: str, severity: Severity, message: str, cure: str = "", place: str = "") -> Change:
        return Change(kind, severity, f"{old.column}: {message}", cure, old.column, f"{where}.{place}".rstrip("."))

    if old.column != new.column:
        yield told(
            "column_renamed",
            "breaking",
            f"is called {new.column} now: what reads {old.column} fails",
            "keep the old name as physicalName, or have both for a while",
            "physicalName" if new.name != new.column else "name",
        )
    if old.name != new.name:
        yield told(
            "file_column_renamed",
            "breaking",
            f"files have to call it {new.name} instead of {old.name}",
            "agree on a day with who delivers",
            "name",
        )
    yield from _type(old, new, told)
    yield from _presence(old, new, told)
    yield from _limits(old, new, told)
    yield from _values(old, new, told)
    yield from _secrecy(old, new, told)
    if _said(old) != _said(new):
        yield told("description_changed", "info", "is described in other words", "", "description")


def _type(old: Column, new: Column, told: Any) -> Iterator[Change]:
    was, now = printed_type(postgres_type(old)), printed_type(postgres_type(new))
    place = "physicalType" if new.physical_type else "logicalType"
    migrate = "migrate the table, which is not altered by itself"
    if was == now and old.logical_type == new.logical_type:
        if (old.timezone, old.default_timezone) != (new.timezone, new.default_timezone):
            message = f"a time without a zone was one of {_zone(old)} and is one of {_zone(new)}"
            yield told("timezone_changed", "breaking", message, "rows before and after mean other instants", place)
    elif holds(now, was):
        message = f"{was} became {now}" if was != now else f"is read as {new.logical_type}, not {old.logical_type}"
        yield told("type_widened", "warning", message, f"{migrate}; readers need room for it", place)
    elif holds(was, now):
        message = f"{was} became {now}: values that fitted are rejected"
        yield told("type_narrowed", "breaking", message, "keep the wider type", place)
    else:
        yield told("type_changed", "breaking", f"{was} became {now}", "add a column of the new type beside it", place)


def holds(wide: str, narrow: str) -> bool:
    """Return whether every value of a Postgres type is one of another, too. Names as Postgres prints them."""
    if wide == narrow:
        return True
    (base, size), (other, other_size) = _sized(wide), _sized(narrow)
    if base in _INTEGERS:
        return other in _INTEGERS and _INTEGERS[other] <= _INTEGERS[base]
    if base == "numeric":
        digits, scale = (*size, 0)[:2]
        if other in _INTEGERS:
            return digits - scale >= _INTEGERS[other]
        other_digits, other_scale = (*other_size, 0)[:2]
        return other == "numeric" and scale >= other_scale and digits - scale >= other_digits - other_scale
    if base == "double precision":
        return other in ("real", "smallint", "integer")
    if base == "text":
        return other in ("character varying", "character", "uuid")
    if base == "character varying":
        return other in ("character varying", "character") and (not size or bool(other_size and other_size <= size))
    return False


def _sized(name: str) -> tuple[str, tuple[int, ...]]:
    base, _, rest = name.partition("(")
    return base, tuple(int(number) for number in re.findall(r"\d+", rest))


def _presence(old: Column, new: Column, told: Any) -> Iterator[Change]:
    if new.required and not old.required:
        message = "is required now: rows without it are rejected"
        yield told("required_added", "breaking", message, "wait until every delivery has it", "required")
    if old.required and not new.required:
        message = "may be empty now"
        yield told("required_removed", "warning", message, "readers must be ready for empty values", "required")
    if new.unique and not old.unique:
        yield told("unique_added", "breaking", "has to be unique now", "see that nothing repeats first", "unique")
    if old.unique and not new.unique:
        yield told("unique_removed", "warning", "may repeat now", "readers that join by it get more rows", "unique")


def _limits(old: Column, new: Column, told: Any) -> Iterator[Change]:
    for names, direction in ((_LOWER, 1), (_UPPER, -1)):
        for field, option in names.items():
            was, now = getattr(old, field), getattr(new, field)
            if was == now:
                continue
            tighter = was is None or (now is not None and _above(now, was, direction))
            kind = "length" if field.endswith("length") else "range"
            message = f"{option} was {_shown(was)} and is {_shown(now)}"
            place = f"logicalTypeOptions.{option}"
            if tighter:
                message += ": values that were good are rejected"
                yield told(f"{kind}_tightened", "breaking", message, "warn by a quality rule first", place)
            else:
                yield told(f"{kind}_loosened", "info", message, "", place)
    for field, option in _EXACT.items():
        was, now = getattr(old, field), getattr(new, field)
        if was == now:
            continue
        message, place = f"{option} was {_shown(was)} and is {_shown(now)}", f"logicalTypeOptions.{option}"
        if now is None:
            yield told(f"{option.lower()}_removed", "info", message, "", place)
        elif field == "format" and old.logical_type in ("date", "timestamp"):
            cure = "agree on a day with who delivers"
            yield told("format_changed", "breaking", f"{message}: files write it in another way", cure, place)
        else:
            message += ": values that were good may be rejected"
            yield told(f"{option.lower()}_tightened", "breaking", message, "warn by a quality rule first", place)


def _values(old: Column, new: Column, told: Any) -> Iterator[Change]:
    was, now = {str(value) for value in old.accepted}, {str(value) for value in new.accepted}
    if was == now:
        return
    if not was or (now and was - now):
        lost = f"no longer {_listed(sorted(was - now))}" if was else f"only {_listed(sorted(now))}"
        message = f"accepts {lost}: rows with other values are rejected"
        yield told("values_shrunk", "breaking", message, "leave the value in until none comes any more", "quality")
    if not now:
        yield told(
            "values_grown", "warning", "accepts any value now", "readers may see values they don't know", "quality"
        )
    elif was and now - was:
        message = f"accepts {_listed(sorted(now - was))}, too"
        yield told("values_grown", "warning", message, "readers may see values they don't know", "quality")


def _secrecy(old: Column, new: Column, told: Any) -> Iterator[Change]:
    was, now = _secrecy_of(old), _secrecy_of(new)
    words = f"was {_class(old)} and is {_class(new)}"
    if now < was or (old.is_pii and not new.is_pii):
        message = f"{words}: samples and lineage stop masking it"
        yield told("classification_lowered", "breaking", message, "let the owner decide, and say why", "classification")
    elif now > was:
        yield told("classification_raised", "info", f"{words}: it is masked from now on", "", "classification")


def _secrecy_of(column: Column) -> int:
    return max(_SECRECY.get((column.classification or "").lower(), 0), _SECRECY["pii"] if column.is_pii else 0)


def _class(column: Column) -> str:
    return column.classification or ("pii" if column.is_pii else "unclassified")


def _above(new: Any, old: Any, direction: int) -> bool:
    try:
        difference = Decimal(str(new)) - Decimal(str(old))
        return difference * direction > 0
    except InvalidOperation:  # dates and times, which sort as their ISO text does
        return str(new) > str(old) if direction > 0 else str(new) < str(old)


def _zone(column: Column) -> str:
    return column.default_timezone if column.timezone else "no zone"


def _said(column: Column) -> tuple[object, ...]:
    return column.description, {tag for tag in column.tags if tag.lower() != "pii"}


def _shown(value: Any) -> str:
    return "not limited" if value is None else repr(value) if isinstance(value, str) else str(value)


def _listed(values: Any) -> str:
    return ", ".join(map(str, values)) or "none"
