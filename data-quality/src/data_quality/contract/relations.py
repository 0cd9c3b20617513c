"""What a contract says about others: relationships to other datasets, and rules compared with the run before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from data_quality.contract.model import Reference
from data_quality.contract.strict import join, unknown

SEVERITIES = ("info", "warning", "error", "critical")
Report = Callable[[str, str], None]  # where in the file, message


def read_references(
    table: dict[str, Any], dataset: str, columns: Mapping[str, str], report: Report
) -> Iterator[Reference]:
    """Yield the foreign keys that a schema entry and its columns declare.

    Args:
        table: The schema entry.
        dataset: Its name.
        columns: The warehouse name of every name that a column goes by.
        report: Takes what is wrong.
    """
    for index, entry in enumerate(table.get("relationships") or []):
        yield from _reference(entry, None, dataset, columns, f"schema[0].relationships[{index}]", report)
    for number, column in enumerate(table.get("properties") or []):
        for index, entry in enumerate(column.get("relationships") or []):
            where = f"schema[0].properties[{number}].relationships[{index}]"
            yield from _reference(entry, str(column.get("name")), dataset, columns, where, report)


def _reference(
    entry: dict[str, Any], column: str | None, dataset: str, columns: Mapping[str, str], where: str, report: Report
) -> Iterator[Reference]:
    if (entry.get("type") or "foreignKey") != "foreignKey":
        report(join(where, "type"), f"is {entry['type']!r}; the one known is foreignKey")
        return
    given = [column] if column else _listed(entry.get("from"))
    sources = [(str(name).removeprefix(f"{dataset}.")) for name in given]
    targets = [str(name).rpartition(".") for name in _listed(entry.get("to"))]
    for name in sources:
        if name not in columns:
            report(join(where, "from"), f"{name!r} is no column of the dataset")
            return
    datasets = {target[0] for target in targets}
    if len(sources) != len(targets) or len(datasets) != 1 or not all(datasets) or "/" in str(entry.get("to")):
        report(
            join(where, "to"), f"is {entry.get('to')!r}; write <dataset>.<column>, one for each column it starts from"
        )
        return
    (to_dataset,) = datasets
    named = tuple(columns[name] for name in sources)
    name, severity = f"{'_'.join(named)}_in_{to_dataset}", "error"
    for index, custom in enumerate(entry.get("customProperties") or []):
        place = join(where, f"customProperties[{index}]")
        if custom.get("property") != "severity":
            report(*unknown(custom.get("property"), ["severity"], place))
        elif custom.get("value") not in SEVERITIES:
            report(place, f"is {custom.get('value')!r}; known: {', '.join(SEVERITIES)}")
        severity = custom.get("value")
    yield Reference(name, named, to_dataset, tuple(target[2] for target in targets), severity)


def read_measuring(
    entry: dict[str, Any], metric: str, where: str, report: Report
) -> tuple[Literal["rows", "percent"], bool]:
    """Return the unit of a rule, and whether its threshold is for the change since the last passed run.

    Args:
        entry: The rule.
        metric: Its metric.
        where: Where it stands.
        report: Takes what is wrong.
    """
    compared = False
    for index, custom in enumerate(entry.get("customProperties") or []):
        place = join(where, f"customProperties[{index}]")
        if custom.get("property") != "comparedTo":
            report(*unknown(custom.get("property"), ["comparedTo"], place))
        elif custom.get("value") != "previous":
            report(join(place, "value"), f"is {custom.get('value')!r}; the one known is previous")
        compared = True
    unit = entry.get("unit") or "rows"
    if unit not in ("rows", "percent"):
        report(join(where, "unit"), f"is {unit!r}; known: rows, percent")
    elif unit == "percent" and metric == "rowCount":
        report(join(where, "unit"), "rowCount has no share of the rows; compare it with the previous run")
    elif unit == "percent" and entry.get("type") == "sql" and not _counts_rows(str(entry.get("query"))):
        message = "percent is for a query that counts rows: SELECT count(*) FROM ${table} WHERE …"
        report(join(where, "unit"), message)
    return ("percent" if unit == "percent" else "rows"), compared


def _counts_rows(query: str) -> bool:
    from data_quality.runners.folding import condition_of

    filled = query.replace("${table}", "checked.rows").replace("${column}", '"column"')
    return condition_of(filled, "checked", "rows") is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
