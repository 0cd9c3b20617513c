"""Queries that only count a table's rows under a condition: they need no scan of their own."""

from __future__ import annotations


def condition_of(query: str, schema: str, table: str) -> str | None:
    """Return the condition of `SELECT count(*) FROM <schema>.<table> WHERE <condition>`, as written.

    None for everything else, however near: an alias, a join, a subquery, a second statement. Its own text decides
    then. The condition is cut out of the query and not written anew.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import SqlglotError

    if "where" not in query.lower():
        return None
    try:
        parsed = sqlglot.parse(query, read="postgres")
        tokens = Postgres().tokenize(query)
    except SqlglotError:
        return None
    select = parsed[0] if len(parsed) == 1 else None
    if not isinstance(select, exp.Select):
        return None
    given = {name for name, value in select.args.items() if value}
    # Newer versions of sqlglot call the clause `from_`.
    source = select.args.get("from_") or select.args.get("from")
    if given not in ({"expressions", "from_", "where"}, {"expressions", "from", "where"}) or not source:
        return None
    read = source.this
    counted = select.expressions[0] if len(select.expressions) == 1 else None
    if not isinstance(counted, exp.Count) or not isinstance(counted.this, exp.Star) or counted.args.get("expressions"):
        return None
    if not isinstance(read, exp.Table) or {name for name, value in read.args.items() if value} != {"this", "db"}:
        return None
    if (_name(read.args["db"]), _name(read.this)) != (schema, table):
        return None
    if select.args["where"].find(exp.Query, exp.AggFunc, exp.Window):
        return None
    texts = [query[token.start : token.end + 1].lower() for token in tokens]
    start = texts.index("where") + 1
    end = len(tokens) - (texts[-1] == ";")
    # A comment at a line's end must not reach what follows.
    return f"(\n{query[tokens[start].start : tokens[end - 1].end + 1]}\n)"


def _name(identifier: object) -> str | None:
    """Return what Postgres calls a table or schema: unquoted names are lower case."""
    from sqlglot import exp

    if not isinstance(identifier, exp.Identifier):
        return None
    return identifier.name if identifier.args.get("quoted") else identifier.name.lower()
