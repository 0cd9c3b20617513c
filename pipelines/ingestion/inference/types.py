"""From a column's profile to its type, with room for values that were not seen, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipelines.ingestion.inference import names
from pipelines.ingestion.inference.dates import find_format
from pipelines.ingestion.inference.profile import CERTAIN_NULLS, Profile

_INTEGERS = ("integer", "whole")
NUMBERS = (*_INTEGERS, "number", "exponent", "comma")
_FLAGS = frozenset({"is", "has", "was", "can", "flag", "active", "enabled", "deleted", "valid"})
_LENGTHS = (50, 100, 200, 500, 1000, 2000)
_INT, _BIGINT = 2**31 - 1, 2**63 - 1


@dataclass
class Guess:
    """A column's type: the contract's words for it, why, and what the whole contract must say to make it true."""

    logical: str
    physical: str
    options: dict[str, Any] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    seen: str = ""  # between which values
    null_words: tuple[str, ...] = ()
    decimal_comma: bool = False
    doubt: str | None = None  # what the data could not settle, or what the user should know


def guess_type(
    name: str, found: Profile, tolerance: float, connection: duckdb.DuckDBPyConnection, *, reveal: bool
) -> Guess:
    """Return a column's type.

    Args:
        name: The column, as files spell it.
        found: Its profile; `value_counts` still has its values.
        tolerance: The share of values that may be dirt (rejected rows later), 0 to 1.
        connection: Where `value_counts` is.
        reveal: Whether values may be quoted in the reasons; those of people may not.
    """
    words = found.count("word")
    filled = found.filled - words
    if filled == 0:
        return Guess("string", "text", why=["no value in any row, so any text is taken"], null_words=tuple(found.words))
    guess = _by_shape(name, found, filled, filled * (1 - tolerance), connection)
    certain = tuple(word for word in found.words if word.lower() in CERTAIN_NULLS)
    if guess is None:
        guess = _text(name, found)
        guess.null_words = certain
        if not names.is_code(name):
            guess.doubt = guess.doubt or _nearly(found, filled, reveal)
    else:
        guess.null_words = tuple(sorted(found.words))
        if found.words:
            guess.why.append(f"{', '.join(map(repr, guess.null_words))} stands for no value")
    if reveal and guess.seen:
        guess.why[0] += f", {guess.seen}"
    return guess


def _by_shape(
    name: str, found: Profile, filled: int, enough: float, connection: duckdb.DuckDBPyConnection
) -> Guess | None:
    """Return the type that enough of the values have, None if that is text."""
    if found.count(*NUMBERS) >= enough:
        return _numeric(name, found, enough, connection)
    for shape, kind in (("object", "object"), ("array", "array")):
        if found.count(shape) >= enough:
            return Guess(kind, "jsonb", why=[f"every value is a JSON {kind}"])
    if found.count("uuid") >= enough:
        return Guess("string", "uuid", why=["every value is a UUID"])
    if found.count("boolean") >= enough and (found.distinct > 1 or names.has(name, _FLAGS)):
        told = "/".join(sorted(value for value, _ in found.common)[:4])
        return Guess("boolean", "boolean", why=[f"only {told}"])
    if found.count("time") >= enough:
        return Guess("time", "time", why=["every value is a time of day"])
    if found.count("date", "local", "zoned") >= enough:
        return _moment(found)
    if found.count("text", "integer", "zeros", "number") < enough:
        return None
    return _dated(find_format(connection, compact=False), enough)


def _numeric(name: str, found: Profile, enough: float, connection: duckdb.DuckDBPyConnection) -> Guess | None:
    shapes = [found.shapes[shape] for shape in NUMBERS if shape in found.shapes]
    low = min(shape.low for shape in shapes if shape.low is not None)
    high = max(shape.high for shape in shapes if shape.high is not None)
    whole = found.count(*_INTEGERS)
    if names.has(name, frozenset({"date", "day", "datum"})) and found.count("integer") >= enough:
        dated = _dated(find_format(connection, compact=True), enough)
        if dated:
            return dated
    if whole >= enough and not _is_money(name, found):
        return _integer(name, found, low, high)
    if found.count("comma") and found.count("number"):
        return None  # 1.234 and 1,5 in one column: which is the point, nobody can say
    if found.count("comma") and _only_thousands(connection):
        return None
    return _decimal(found, low, high)


def _is_money(name: str, found: Profile) -> bool:
    """Whether whole numbers are written with decimals that may come to be used: 2600.00, or a price of 12.0."""
    whole = found.shapes.get("whole")
    return whole is not None and (whole.scale > 1 or names.has(name, names.MONEY_WORDS))


def _only_thousands(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether every comma is followed by exactly three digits: 1,234 may be a thousand and more, or one and a bit."""
    row = connection.execute(
        "SELECT count(*) FROM value_counts "
        "WHERE contains(u, ',') AND NOT regexp_full_match(u, '[+-]?[0-9]{1,3},[0-9]{3}')"
    ).fetchone()
    return row == (0,)


def _integer(name: str, found: Profile, low: float, high: float) -> Guess | None:
    if names.is_code(name):
        return None
    spelt = " written like 17850.0" if found.count("whole") > found.count("integer") else ""
    told, seen = f"whole numbers{spelt}", f"{low:,.0f} to {high:,.0f}"
    if names.has(name, _FLAGS) and (low, high) == (0, 1):
        return Guess("boolean", "boolean", why=["only 0 and 1, and the name asks yes or no"])
    size = max(abs(low), abs(high))
    if size * 10 > _BIGINT:
        return Guess("integer", "numeric(38,0)", why=[told, "too long for a bigint"], seen=seen)
    if names.is_identifier(name) or size * 1000 > _INT:
        return Guess("integer", "bigint", why=[told], seen=seen)
    return Guess("integer", "integer", why=[told], seen=seen)


def _decimal(found: Profile, low: float, high: float) -> Guess:
    shapes = [found.shapes[shape] for shape in NUMBERS if shape in found.shapes]
    digits, scale = max(shape.digits for shape in shapes), max(shape.scale for shape in shapes)
    comma = found.count("comma") > 0
    why = [f"numbers{' with a decimal comma' if comma else ''}, up to {scale} decimals"]
    seen = f"{low:,.6g} to {high:,.6g}"
    if found.count("exponent") or scale > 9 or digits + scale > 30:
        return Guess("number", "double precision", why=[*why, "measured values: as exact as floating point"], seen=seen)
    room = max(4, scale + 2)
    precision = max(18, digits + 4 + room)
    return Guess("number", f"numeric({precision},{room})", why=why, seen=seen, decimal_comma=comma)


def _moment(found: Profile) -> Guess:
    days, local, zoned = found.count("date"), found.count("local"), found.count("zoned")
    shapes = [found.shapes[shape] for shape in ("date", "local", "zoned") if shape in found.shapes]
    told = f"{min(shape.first for shape in shapes)} to {max(shape.last for shape in shapes)}"
    if not local and not zoned:
        return Guess("date", "date", why=["dates"], seen=told)
    if not zoned:
        return Guess("timestamp", "timestamp", {"timezone": False}, ["times without a zone"], told)
    guess = Guess("timestamp", "timestamptz", {"timezone": True}, ["times with a zone"], told)
    if local or days:
        guess.options["defaultTimezone"] = "UTC"
        guess.doubt = f"{local + days:,} values have no zone and are taken for UTC (defaultTimezone)"
    return guess


def _dated(found: Any, enough: float) -> Guess | None:
    if found is None or found.rows < enough:
        return None
    kind = "timestamp" if found.has_time else "date"
    options: dict[str, Any] = {"format": found.format}
    if kind == "timestamp":
        options["timezone"] = False
    guess = Guess(kind, kind, options, [f"{kind}s written {found.format}"])
    if found.other:
        guess.doubt = f"no day is above 12, so {found.other} reads them as well: the day was taken to come first"
    else:
        guess.why.append("days above 12 settle the order")
    return guess


def _text(name: str, found: Profile) -> Guess:
    guess = Guess("string", "text")
    if found.count("zeros"):
        guess.why.append("digits with leading zeros, which a number would lose")
    elif found.count("integer") == found.filled and names.is_code(name):
        guess.why.append("digits, but the name is that of a code: nobody adds them up, and letters may come")
    elif found.count("integer") and found.count("text"):
        guess.why.append("digits and letters")
    elif found.count("comma"):
        guess.why.append("numbers, but points and commas leave open which of them is the decimal one")
        guess.doubt = "write it without separators of thousands and it can be a number"
    else:
        guess.why.append("text")
    longest = next((length for length in _LENGTHS if length >= 3 * found.longest), None)
    if longest and not names.has(name, names.FREE_WORDS):
        guess.options["maxLength"] = longest
        guess.why.append(f"longest {found.longest}, up to {longest} taken")
    return guess


def _nearly(found: Profile, filled: int, reveal: bool) -> str | None:
    """Say so where few values keep a column from having a type."""
    for kind, shapes in (("numbers", NUMBERS), ("dates or times", ("date", "local", "zoned"))):
        count = found.count(*shapes)
        if filled > count >= 0.95 * filled:
            example = next(shape for key, shape in found.shapes.items() if key not in (*shapes, "word")).first
            told = f", such as {example!r}," if reveal else ""
            percent = f"{100 * (1 - count / filled) + 0.05:.1f}"
            return (
                f"all but {filled - count:,} values ({percent} %) are {kind}; those{told} make it text: "
                f"--tolerance {percent} would reject them instead"
            )
    return None
