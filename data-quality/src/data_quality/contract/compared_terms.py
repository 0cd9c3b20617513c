"""What changed in what a contract says of its dataset as a whole. See `comparison`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from data_quality.contract.changes import Change, Severity
from data_quality.contract.model import Contract, CsvOptions, QualityRule

_INGEST = "customProperties"
_RULE = "schema[0].quality"
_URGENCY = ("info", "warning", "warn", "error", "critical")
_LIFE = ("proposed", "draft", "active", "deprecated", "retired")


def compare_terms(old: Contract, new: Contract) -> Iterator[Change]:
    """Yield what changed apart from the columns."""
    yield from _names(old, new)
    yield from _life(old, new)
    yield from _freshness(old, new)
    yield from _writing(old, new)
    yield from _files(old, new)
    yield from _rules(old, new)
    yield from _references(old, new)


def _names(old: Contract, new: Contract) -> Iterator[Change]:
    if old.name != new.name:
        message = f"dataset {old.name} is called {new.name} now: files go to another folder, another DAG takes them in"
        yield Change("dataset_renamed", "breaking", message, "tell who delivers", None, "schema[0].name")
    if old.table != new.table:
        message = f"the table {old.table} is called {new.table} now: what reads it finds no new rows"
        cure = f"keep physicalName: {old.table}"
        yield Change("table_renamed", "breaking", message, cure, None, "schema[0].physicalName")
    if old.domain != new.domain:
        message = f"moved from the domain {old.domain} to {new.domain}: dbt's source has another name"
        cure = f"change source('{old.domain}', …) in the models that read it"
        yield Change("domain_changed", "breaking", message, cure, None, "domain")


def _life(old: Contract, new: Contract) -> Iterator[Change]:
    if old.status != new.status:
        later = _place(_LIFE, new.status) > _place(_LIFE, old.status)
        severity: Severity = "breaking" if new.status == "retired" else "warning"
        if not later or new.status not in ("deprecated", "retired"):
            severity = "info"
        cure = "tell who reads it what to read instead" if severity != "info" else ""
        yield Change("status_changed", severity, f"was {old.status} and is {new.status}", cure, None, "status")
    if (old.owner, old.owner_email) != (new.owner, new.owner_email):
        message = f"belonged to {old.owner} ({old.owner_email}) and belongs to {new.owner} ({new.owner_email})"
        yield Change("owner_changed", "info", message, "", None, "team")
    if (old.description, set(old.tags)) != (new.description, set(new.tags)):
        yield Change("description_changed", "info", "the dataset is described in other words", "", None, "description")


def _freshness(old: Contract, new: Contract) -> Iterator[Change]:
    was, now, where = old.freshness, new.freshness, "slaProperties"
    if was == now:
        return
    if was is None:
        yield Change("freshness_added", "info", f"promises to be at most {_hours(now)} old", "", None, where)
    elif now is None:
        message = f"promised to be at most {_hours(was)} old, and promises nothing now"
        yield Change("freshness_removed", "breaking", message, "agree with who reads it", None, where)
    elif now.column != was.column:
        message = f"its age was told by {was.column} and is by {now.column}"
        yield Change("freshness_changed", "breaking", message, "agree with who reads it", None, where)
    elif now.seconds > was.seconds:
        message = f"may be {_hours(now)} old, and was {_hours(was)} at most"
        yield Change("freshness_loosened", "breaking", message, "agree with who reads it", None, where)
    else:
        message = f"is {_hours(now)} old at most, and was {_hours(was)}"
        yield Change("freshness_tightened", "info", message, "", None, where)


def _hours(freshness: Any) -> str:
    return f"{freshness.seconds / 3600:g} h"


def _writing(old: Contract, new: Contract) -> Iterator[Change]:
    was, now = old.ingest, new.ingest
    if was.write != now.write:
        message = f"was written by {was.write} and is by {now.write}: the same files make other rows"
        yield Change("write_mode_changed", "breaking", message, "make a dataset of its own for it", None, _INGEST)
    if was.order_by != now.order_by:
        message = f"the newer row was told by {was.order_by or 'nothing'} and is by {now.order_by or 'nothing'}"
        yield Change("order_changed", "warning", message, "other rows win where a key repeats", None, _INGEST)
    if was.columns != now.columns:
        message = f"columns that the contract does not know: {was.columns} became {now.columns}"
        if now.columns == "freeze":
            cure = "every delivery has to be without them first"
            yield Change("columns_frozen", "breaking", f"{message}: files with such a column fail", cure, None, _INGEST)
        elif was.columns in ("evolve", "rescue"):
            cure = "readers find their values elsewhere, or not at all"
            yield Change("column_policy_changed", "warning", message, cure, None, _INGEST)
        else:
            yield Change("column_policy_changed", "info", message, "", None, _INGEST)
    yield from _rejects(old, new)


def _rejects(old: Contract, new: Contract) -> Iterator[Change]:
    was, now = old.ingest.rejects, new.ingest.rejects
    for name, before, after, unit in (
        ("max_percent", was.max_percent, now.max_percent, " %"),
        ("max_rows", was.max_rows, now.max_rows, " rows"),
    ):
        message = f"rejects.{name} was {before:,}{unit} and is {after:,}{unit}"
        if after > before:
            message += ": readers get tables with more rows missing"
            yield Change("rejects_loosened", "breaking", message, "mend the files instead", None, _INGEST)
        elif after < before:
            cure = "files that came through may fail now"
            yield Change("rejects_tightened", "warning", message, cure, None, _INGEST)


def _files(old: Contract, new: Contract) -> Iterator[Change]:
    was, now = old.ingest, new.ingest
    if was.format != now.format:
        message = f"the format of files was {was.format} and is {now.format}"
        if now.format == "auto":
            yield Change("format_loosened", "info", message, "", None, _INGEST)
        else:
            cure = "agree on a day with who delivers"
            yield Change("file_format_changed", "breaking", f"{message}: others fail", cure, None, _INGEST)
    for name, tighter in (("min_rows", 1), ("max_rows", -1)):
        before, after = getattr(was.file, name), getattr(now.file, name)
        if before == after:
            continue
        message = f"file.{name} was {_limit(before)} and is {_limit(after)}"
        if after is not None and (before is None or (after - before) * tighter > 0):
            message += ": files that came through may fail"
            yield Change("file_size_tightened", "breaking", message, "look at what came lately", None, _INGEST)
        else:
            yield Change("file_size_loosened", "info", message, "", None, _INGEST)
    if was.csv != now.csv:
        names = [field.name for field in fields(CsvOptions)]
        changed = [name for name in names if getattr(was.csv, name) != getattr(now.csv, name)]
        told = ", ".join(f"{name} {getattr(was.csv, name)!r} → {getattr(now.csv, name)!r}" for name in changed)
        found_out = all(getattr(now.csv, name) is None for name in changed)
        severity: Severity = "info" if found_out else "breaking"
        cure = "" if found_out else "agree on a day with who delivers"
        yield Change("csv_changed", severity, f"CSV files are read in another way: {told}", cure, None, _INGEST)


def _limit(value: int | None) -> str:
    return "not limited" if value is None else f"{value:,}"


def _rules(old: Contract, new: Contract) -> Iterator[Change]:
    """What a list of accepted values rejects is looked at with the columns, though it is written as a rule."""
    before, after = ({rule.name: rule for rule in contract.quality} for contract in (old, new))
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        column = (now or was).column  # type: ignore[union-attr]
        if was is None and now is not None:
            message = f"rule {name} is new ({now.severity})"
            cure = "see that it holds before it blocks" if _place(_URGENCY, now.severity) > 2 else ""
            yield Change("rule_added", "warning" if cure else "info", message, cure, column, _RULE)
        elif now is None:
            cure = "readers lean on what it promised"
            yield Change("rule_removed", "warning", f"rule {name} is gone", cure, column, _RULE)
        elif was is not None:
            yield from _rule(was, now)


def _rule(was: QualityRule, now: QualityRule) -> Iterator[Change]:
    if was.severity != now.severity:
        lowered = _place(_URGENCY, now.severity) < _place(_URGENCY, was.severity)
        message = f"rule {now.name} was of severity {was.severity} and is of {now.severity}"
        kind = "severity_lowered" if lowered else "severity_raised"
        yield Change(kind, "warning", message, "it blocks other rows than it did", now.column, _RULE)
    named = ("type", "metric", "query", "operator", "threshold", "unit", "compared", "arguments", "column")
    changed = [name for name in named if getattr(was, name) != getattr(now, name)]
    if changed == ["arguments"] and now.metric == "invalidValues" and "validValues" in now.arguments:
        return
    if changed:
        told = ", ".join(f"{name} {getattr(was, name)!r} → {getattr(now, name)!r}" for name in changed)
        yield Change("rule_changed", "warning", f"rule {now.name}: {told}", "", now.column, _RULE)


def _references(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({item.name: item for item in contract.references} for contract in (old, new))
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        at = now or was
        assert at is not None  # noqa: S101  one of the two has the name
        words = "is new" if was is None else "is gone" if now is None else "changed"
        message = f"the relationship {name} ({', '.join(at.columns)} → {at.to_dataset}) {words}"
        yield Change("relationship_changed", "warning", message, "", at.columns[0], "schema[0].relationships")


def _place(order: tuple[str, ...], word: str) -> int:
    return order.index(word) if word in order else 0
