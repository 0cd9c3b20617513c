"""Cleaning: one statement, made from the contract, that casts and tests every row of a relation of text.

It is an expression tree: `statement(...).sql(dialect=…)` writes it for an engine. It reads `records` (what a reader
gives: `part, record, line, raw, problem, c0 … cN`) and gives for each record its typed columns, `_rescued`, and in
`_rule` the number of the first rule it breaks, 0 for none, with `_part, _record, _line, _problem, _raw, _original` to
tell of it. What is done with good and bad rows is `processing`'s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlglot import exp

from data_quality.contract import Column, Contract
from pipelines.ingestion.columns import Test, is_text, plain, tests, value
from pipelines.ingestion.expressions import Expression, any_of, case, expression, name
from pipelines.ingestion.model import FileRefused

RESCUED = "_rescued"
TIE = "tie"  # the rule that `tie` returns, by name
MAX_FIELDS = 2000  # Postgres' tables end at 1,600 columns; more keys than that are no fields but data
MAX_NEW_COLUMNS = 100  # that one file may add to a table; more are no columns but data


@dataclass(frozen=True)
class Rule:
    """A rule of the contract by which a row can be rejected; its number is its place in `rules`, from 1."""

    column: Column | None
    test: Test

    @property
    def name(self) -> str:
        """The rule as counts name it: `column: rule`."""
        return f"{self.column.column if self.column else '*'}: {self.test.rule}"


def rules(contract: Contract) -> list[Rule]:
    """Return all rules of a contract, in the order in which a row is tested."""
    found = [Rule(None, Test("record", expression("problem IS NOT NULL"), ""))]
    for column in contract.columns:
        found += [Rule(column, test) for test in tests(column, _t(column), _v(column), _p(column))]
    broken = expression("contains(_rescued, :nul)", nul="\\u0000")
    return [*found, Rule(None, Test("unknown columns", broken, "hold a NUL character", True))]


def tie(contract: Contract) -> Rule | None:
    """Return the rule against rows of one key that are equally new and say different things.

    It takes all rows of a file to tell, so it is none of `rules`, which a row breaks by itself; its number follows
    theirs. None where nothing says which row of a key is newer.
    """
    order = next((column for column in contract.columns if column.column == contract.ingest.order_by), None)
    if order is None or not contract.key:
        return None
    message = "also stands in a later row of the same key, with other values"
    return Rule(order, Test(TIE, expression("false"), message))


def _t(column: Column) -> Expression:
    return name(f"t.{column.column}")


def _v(column: Column) -> Expression:
    return name(f"v.{column.column}")


def _p(column: Column) -> Expression:
    return name(f"p.{column.column}")


def statement(
    contract: Contract, header: list[str], members: list[str] | None = None, *, may_hold_nul: bool = True
) -> exp.Select:
    """Return the cleaning statement for records with these fields.

    Args:
        contract: The contract.
        header: The fields' names in the order of c0 … cN.
        members: Expressions of the fields as JSON, where the format has types that text would lose.
        may_hold_nul: Whether a text can hold the NUL character; if not, it is not looked for.
    """
    found = match(header, contract)
    fixed = [name(column) for column in ("part", "record", "line", "raw", "problem")]
    texts = [
        exp.alias_(_text(column, found.get(column.name), contract), _t(column).this) for column in contract.columns
    ]
    rescued = exp.alias_(_rescue(header, set(found.values()), members, contract), RESCUED)
    read = exp.select(*fixed, *texts, rescued).from_("records")
    values = [exp.alias_(value(column, _t(column)), _v(column).this) for column in contract.columns]
    cast = exp.select("*", *values).from_(read.subquery("read"))
    spelt = [(column, plain(column, _t(column), _v(column))) for column in contract.columns]
    plains = [exp.alias_(condition, _p(column).this) for column, condition in spelt if condition is not None]
    compared = exp.select("*", *plains).from_(cast.subquery("typed"))
    numbered = list(enumerate(rules(contract), 1))
    tried = [(number, rule) for number, rule in numbered if may_hold_nul or not rule.test.looks_for_nul]
    rule = case([(rule.test.broken, number) for number, rule in tried], 0)
    tested = exp.select("*", exp.alias_(rule, "rule")).from_(compared.subquery("compared"))
    originals: list[tuple[Expression, Expression]] = [(expression("rule = 0"), exp.null())]
    originals += [
        (name("rule").isin(*[number for number, rule in numbered if rule.column is column]), _t(column))
        for column in contract.columns
    ]
    told = [
        exp.alias_(name("raw"), "_raw"),
        exp.alias_(case(originals, exp.null()), "_original"),
    ]
    columns = [exp.alias_(_v(column), column.column, quoted=True) for column in contract.columns]
    kept = [exp.alias_(name(column), f"_{column}") for column in ("part", "record", "line", "problem", "rule")]
    return exp.select(*kept, *told, *columns, name(RESCUED)).from_(tested.subquery("tested"))


def keys(contract: Contract, header: list[str]) -> exp.Select:
    """Return the statement that gives `_part` and the key columns of records with these fields, untested."""
    found = match(header, contract)
    columns = [column for column in contract.columns if column.primary_key]
    texts = [exp.alias_(_text(column, found.get(column.name), contract), _t(column).this) for column in columns]
    read = exp.select(name("part"), *texts).from_("records")
    values = [exp.alias_(value(column, _t(column)), column.column, quoted=True) for column in columns]
    return exp.select(exp.alias_(name("part"), "_part"), *values).from_(read.subquery("read"))


def match(header: list[str], contract: Contract) -> dict[str, int]:
    """Return which field holds which column: the same name, else the only one that differs in case alone."""
    exact = {field: index for index, field in enumerate(header)}
    folded: dict[str, list[int]] = {}
    for index, field in enumerate(header):
        folded.setdefault(field.strip().casefold(), []).append(index)
    found: dict[str, int] = {}
    for column in contract.columns:
        if column.name in exact:
            found[column.name] = exact[column.name]
        elif len(folded.get(column.name.casefold(), [])) == 1:
            found[column.name] = folded[column.name.casefold()][0]
    return found


def unknown(header: list[str], contract: Contract) -> list[str]:
    """Return the fields that are no column of the contract."""
    known = set(match(header, contract).values())
    return [field for index, field in enumerate(header) if index not in known]


def check_columns(header: list[str], contract: Contract) -> None:
    """Compare a file's fields with the contract.

    Raises:
        FileRefused: required columns are missing, unknown ones are forbidden, or there are far too many.
    """
    if len(header) > MAX_FIELDS:
        raise FileRefused(f"has {len(header):,} fields, more than the {MAX_FIELDS:,} that a record may have")
    found, strange = match(header, contract), unknown(header, contract)
    missing = [column.name for column in contract.columns if column.required and column.name not in found]
    if missing and header:
        near = [
            f"{field} (perhaps {close[0]!r})" if (close := difflib.get_close_matches(field, strange, 1)) else field
            for field in missing
        ]
        raise FileRefused(f"lacks the required column{'s' * (len(missing) > 1)} {', '.join(near)}")
    if strange and contract.ingest.columns == "freeze":
        names = ", ".join(map(repr, strange))
        raise FileRefused(f"has columns its contract does not know: {names}; columns: freeze forbids them")


def evolved(contract: Contract, names: Iterable[str]) -> Contract:
    """Return the contract with further columns of text, for the fields of these names.

    Raises:
        FileRefused: they are too many to be columns.
    """
    taken = {column.column for column in contract.columns}
    added: list[Column] = []
    for field in names:
        stem = re.sub(r"[^a-z0-9_]+", "_", field.strip().lower()).strip("_")[:50] or "column"
        stem = f"c_{stem}" if stem[0].isdigit() else stem
        free = (stem, *(f"{stem}_{number}" for number in range(2, len(taken) + 3)))
        column = next(candidate for candidate in free if candidate not in taken)
        taken.add(column)
        added.append(Column(field, column, "string", description="Added by a file; its contract does not know it."))
    if len(added) > MAX_NEW_COLUMNS:
        raise FileRefused(f"has {len(added)} unknown columns, more than the {MAX_NEW_COLUMNS} a file may add")
    return replace(contract, columns=(*contract.columns, *added))


def _text(column: Column, position: int | None, contract: Contract) -> Expression:
    """Return the expression of a column's text: null words are NULL, blanks around anything but text don't count."""
    if position is None:
        return expression("CAST(NULL AS TEXT)")
    text: Expression = exp.column(f"c{position}")
    if not is_text(column):
        text = expression("trim(:text)", text=text)
    text = _without_null_words(text, contract)
    if contract.ingest.csv.decimal != "." and column.logical_type in ("integer", "number"):
        text = expression("replace(:text, :mark, '.')", text=text, mark=contract.ingest.csv.decimal)
    return text


def _without_null_words(text: Expression, contract: Contract) -> Expression:
    for word in contract.ingest.csv.null_words:
        text = expression("nullif(:text, :word)", text=text, word=word)
    return text


def _rescue(header: list[str], known: set[int], members: list[str] | None, contract: Contract) -> Expression:
    strange = [index for index in range(len(header)) if index not in known]
    if not strange or contract.ingest.columns != "rescue":
        return expression("CAST(NULL AS TEXT)")
    fields = [_without_null_words(exp.column(f"c{index}"), contract) for index in strange]
    arguments: list[Expression] = []
    for index, field in zip(strange, fields, strict=True):
        text = expression(members[index]) if members else field
        arguments += [exp.Literal.string(header[index] or f"column {index + 1}"), text]
    some = any_of([expression(":field IS NOT NULL", field=field) for field in fields])
    merged = exp.func("json_merge_patch", exp.Literal.string("{}"), exp.func("json_object", *arguments))
    # Merging into an empty object drops the members that are null.
    return case([(some, exp.cast(merged, "TEXT"))], exp.null())
