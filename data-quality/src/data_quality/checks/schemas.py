"""SQL written for one schema, read from another: the gate runs the checks of `curated` on the candidates beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from data_quality.checks.model import Check, quoted
from data_quality.checks.rules import ForeignKey, Metric, Query, Rule


class UnreadableSqlError(ValueError):
    """A text is not made of SQL's words, such as one with a string that doesn't end."""


def in_schemas(check: Check, schemas: Mapping[str, str]) -> Check:
    """Return a check that reads other schemas than it is written for.

    Raises:
        UnreadableSqlError: its SQL can't be taken apart.
    """
    if not schemas:
        return check
    return replace(check, schema=schemas.get(check.schema, check.schema), rule=_rule(check.rule, schemas))


def _rule(rule: Rule, schemas: Mapping[str, str]) -> Rule:
    if isinstance(rule, ForeignKey):
        return replace(rule, to_schema=schemas.get(rule.to_schema, rule.to_schema))
    if isinstance(rule, Metric | Query):
        failing = rule.failing and sql_in_schemas(rule.failing, schemas)
        if isinstance(rule, Metric):
            return Metric(sql_in_schemas(rule.expression, schemas), failing)
        return Query(sql_in_schemas(rule.sql, schemas), failing)
    return rule


def sql_in_schemas(text: str, schemas: Mapping[str, str]) -> str:
    """Return SQL with the names of schemas replaced where they stand before a dot; everything else stays as written.

    Strings and comments are left alone, so `to_regclass('curated.x')` keeps meaning what it says.

    Args:
        text: Postgres' SQL.
        schemas: The schema to read by the schema that is written.

    Raises:
        UnreadableSqlError: the text can't be taken apart.
    """
    from sqlglot import TokenType
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import SqlglotError

    try:
        tokens = Postgres().tokenize(text)
    except SqlglotError as error:
        raise UnreadableSqlError(f"can't be read as SQL: {error}") from error
    for name, after in reversed(list(pairwise(tokens))):
        if after.token_type != TokenType.DOT:
            continue
        # Unquoted names are lower case to Postgres, quoted ones are as they stand.
        is_quoted = name.token_type == TokenType.IDENTIFIER
        written = name.text if is_quoted else text[name.start : name.end + 1].lower()
        if written in schemas:
            text = text[: name.start] + quoted(schemas[written]) + text[name.end + 1 :]
    return text
