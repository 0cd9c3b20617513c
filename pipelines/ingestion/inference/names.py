"""What a column's name tells: how it is spelt in SQL, and which words in it speak of keys, people, codes or times."""

from __future__ import annotations

import re
from collections.abc import Iterable

from data_quality.contract.personal import words

_RESERVED = frozenset({
    "all", "and", "any", "array", "as", "asc", "between", "both", "case", "cast", "check", "column", "constraint",
    "create", "cross", "current_date", "current_time", "current_timestamp", "current_user", "default", "desc",
    "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "from", "full", "grant",
    "group", "having", "in", "inner", "intersect", "into", "is", "join", "lateral", "leading", "left", "like",
    "limit", "natural", "not", "null", "offset", "on", "only", "or", "order", "outer", "primary", "references",
    "returning", "right", "select", "session_user", "some", "symmetric", "table", "then", "to", "trailing", "true",
    "union", "unique", "user", "using", "when", "where", "window", "with",
})  # fmt: skip
_MAX_LENGTH = 60

KEY_WORDS = frozenset({"id", "key", "uuid", "guid", "pk"})
CODE_WORDS = frozenset({
    "code", "no", "nr", "num", "number", "zip", "zipcode", "postcode", "plz", "phone", "telephone", "mobile",
    "fax", "sku", "ean", "isbn", "gtin", "iban", "bic", "vat", "ref", "reference", "account", "card", "serial",
    "invoice",
})  # fmt: skip
CHANGED_WORDS = ({"updated"}, {"modified"}, {"changed"}, {"last", "update"}, {"last", "change"}, {"modification"},
                 {"lastupdate"}, {"lastmodified"})  # fmt: skip
MONEY_WORDS = frozenset({
    "price", "amount", "cost", "total", "revenue", "budget", "spend", "fee", "tax", "salary", "limit", "balance",
    "value", "rate", "discount", "margin",
})  # fmt: skip
AMOUNT_WORDS = frozenset({
    "quantity", "qty", "count", "amount", "price", "cost", "total", "revenue", "sales", "units", "pieces", "stock",
    "weight", "height", "width", "length", "size", "duration", "seconds", "minutes", "hours", "days", "age",
    "budget", "limit", "spend", "fee", "tax", "salary", "impressions", "clicks", "visits", "views",
})  # fmt: skip
CLOSED_WORDS = frozenset({
    "type", "kind", "category", "class", "level", "priority", "gender", "sex", "currency", "channel",
    "severity", "grade", "tier", "segment", "method", "mode", "flag", "direction", "unit",
})  # fmt: skip
FREE_WORDS = frozenset({
    "description", "comment", "comments", "note", "notes", "remark", "remarks", "text", "message", "reason",
    "title", "details", "memo",
})  # fmt: skip
OPEN_WORDS = frozenset({
    "country", "region", "city", "town", "state", "province", "language", "location", "place",
})  # fmt: skip


def sql_name(name: str, position: int, taken: Iterable[str]) -> str:
    """Return a name as snake_case that needs no quotes: no reserved word, no digit first, not taken yet."""
    base = "_".join(words(name))[:_MAX_LENGTH].strip("_") or f"column_{position}"
    if base[0].isdigit():
        base = f"n_{base}"
    if base in _RESERVED:
        base += "_"
    used, chosen, number = set(taken), base, 2
    while chosen in used:
        chosen, number = f"{base}_{number}", number + 1
    return chosen


def has(name: str, vocabulary: frozenset[str]) -> bool:
    """Whether one of the name's words is in a vocabulary."""
    return not vocabulary.isdisjoint(words(name))


def is_code(name: str) -> bool:
    """Whether a name is that of a code or number that nobody adds up: invoice_no, zip, phone."""
    found = words(name)
    return bool(found) and (found[-1] in CODE_WORDS or {"zip", "postal", "postcode"} & set(found) != set())


def is_key(name: str, dataset: str) -> bool:
    """Whether a column looks like the key of its dataset: id, sale_id in sales, sales_id."""
    found, own = words(name), words(dataset)
    if not found or found[-1] not in KEY_WORDS | {"no", "number", "nr", "code"}:
        return False
    singular = {own[-1], own[-1].removesuffix("s"), own[-1].removesuffix("es"), re.sub("ies$", "y", own[-1])}
    return len(found) == 1 or ("_".join(found[:-1]) in singular | {"_".join(own)})


def is_identifier(name: str) -> bool:
    """Whether a column identifies something, its own dataset's rows or another's."""
    found = words(name)
    return bool(found) and found[-1] in KEY_WORDS


def tells_change(name: str) -> bool:
    """Whether a column tells when a row was last changed."""
    found = set(words(name))
    return any(wanted <= found for wanted in CHANGED_WORDS)
