"""The platform's reading of a contract that already follows the standard: what it needs, and what it can keep."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from data_quality.contract.model import (
    Column,
    Contract,
    Freshness,
    QualityRule,
)
from data_quality.contract.options import read_ingest
from data_quality.contract.relations import read_measuring, read_references
from data_quality.contract.strict import OPTIONS, Found, join, unknown

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_PHYSICAL = re.compile(
    r"(?i)text|varchar(\(\d+\))?|char(\(\d+\))?|smallint|integer|int|bigint|real|double precision|boolean|date|time"
    r"|timestamp|timestamptz|timestamp with(out)? time zone|uuid|jsonb|json|(numeric|decimal)\(\d+(, ?\d+)?\)"
)
_FAMILIES = {
    "string": ("text", "varchar", "char", "uuid"),
    "integer": ("smallint", "integer", "int", "bigint", "numeric", "decimal"),
    "number": ("numeric", "decimal", "real", "double precision"),
    "boolean": ("boolean",),
    "date": ("date",),
    "time": ("time", "time without time zone"),
    "timestamp": ("timestamp", "timestamptz", "timestamp with time zone", "timestamp without time zone"),
    "object": ("jsonb", "json"),
    "array": ("jsonb", "json"),
}
_OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
_ARGUMENTS = {
    "nullValues": (),
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
    "duplicateValues": ("properties",),
    "rowCount": (),
}
_ORDERED = (
    ("minimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
    ("minLength", "maxLength"),
)
_SEVERITIES = ("info", "warning", "error", "critical")
_UNITS = {"s": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600, "d": 86400,
          "day": 86400, "w": 604800, "week": 604800}  # fmt: skip


class Reading:
    """One pass over a contract's data. `found` collects the problems; `contract()` is None if there are any."""

    def __init__(self, data: dict[str, Any], path: str, fingerprint: str) -> None:
        self.data, self.path, self.fingerprint = data, path, fingerprint
        self.found: list[Found] = []
        self._rule_names: set[str] = set()

    def problem(self, where: str, message: str) -> None:
        """Note a problem."""
        self.found.append((where, message))

    def contract(self) -> Contract | None:
        """Return the contract, or None with `found` filled."""
        data = self.data
        for key in ("apiVersion", "kind", "id", "version", "status", "domain", "team", "schema"):
            if not data.get(key):
                self.problem(key, "is missing")
        if not str(data.get("apiVersion", "v3.1.0")).startswith("v3."):
            self.problem("apiVersion", f"is {data['apiVersion']!r}; the platform reads v3.1.0")
        schema = data.get("schema") or []
        if len(schema) != 1:
            self.problem("schema", f"must have exactly one entry, one dataset a file; it has {len(schema)}")
        if self.found:
            return None
        table = schema[0]
        name = str(table.get("name") or "")
        if not _NAME.fullmatch(name):
            self.problem("schema[0].name", f"{name!r} is no dataset name: lower-case letters, digits and _, 50 at most")
        columns = self._columns(table.get("properties") or [])
        by_name = {column.name: column.column for column in columns} | {
            column.column: column.column for column in columns
        }
        owner, email = self._owner(data["team"])
        ingest = read_ingest(data.get("customProperties") or [], columns, by_name, self.problem)
        quality = [*self._quality(table, "schema[0]", None), *self._column_quality(table, columns)]
        description = table.get("description") or (data.get("description") or {}).get("purpose") or ""
        contract = Contract(
            name=name,
            table=str(table.get("physicalName") or name),
            id=str(data["id"]),
            version=str(data["version"]),
            status=str(data["status"]),
            domain=str(data["domain"]),
            owner=owner,
            owner_email=email,
            description=" ".join(str(description).split()),
            tags=tuple(dict.fromkeys([*(data.get("tags") or []), *(table.get("tags") or [])])),
            columns=tuple(columns),
            quality=tuple(quality),
            freshness=self._freshness(data.get("slaProperties") or [], by_name),
            ingest=ingest,
            path=self.path,
            fingerprint=self.fingerprint,
            references=tuple(read_references(table, name, by_name, self.problem)),
        )
        return None if self.found else contract

    def _owner(self, team: Any) -> tuple[str, str | None]:
        members = team if isinstance(team, list) else team.get("members") or []
        named = None if isinstance(team, list) else team.get("name")
        owners = [member for member in members if member.get("role") == "owner"] or members
        email = next((member.get("username") for member in owners if "@" in str(member.get("username"))), None)
        owner = named or next((member.get("name") or member.get("username") for member in owners), None)
        if not owner:
            self.problem("team", "names nobody: give it a name, or a member with role owner")
        return str(owner), email

    def _columns(self, properties: list[dict[str, Any]]) -> list[Column]:
        columns: list[Column] = []
        seen: dict[str, str] = {}
        if not properties:
            self.problem("schema[0].properties", "is empty: a dataset has columns")
        for index, entry in enumerate(properties):
            where = f"schema[0].properties[{index}]"
            column = self._column(entry, where)
            for spelling in {column.name.casefold(), column.column.casefold()}:
                if spelling in seen:
                    self.problem(where, f"column {column.name!r} is named like {seen[spelling]!r}")
                seen[spelling] = column.name
            columns.append(column)
        return columns

    def _column(self, entry: dict[str, Any], where: str) -> Column:
        name = str(entry.get("name") or "")
        logical = str(entry.get("logicalType") or "")
        physical = entry.get("physicalType")
        options = entry.get("logicalTypeOptions") or {}
        column = str(entry.get("physicalName") or name)
        self._check_column(entry, name, column, logical, options, where)
        return Column(
            name=name,
            column=column,
            logical_type=logical,
            physical_type=None if physical is None else str(physical).lower(),
            required=bool(entry.get("required") or entry.get("primaryKey")),
            primary_key=bool(entry.get("primaryKey")),
            key_position=int(entry.get("primaryKeyPosition") or 1),
            unique=bool(entry.get("unique")),
            partitioned=bool(entry.get("partitioned")),
            classification=entry.get("classification"),
            description=" ".join(str(entry.get("description") or "").split()),
            tags=tuple(entry.get("tags") or ()),
            minimum=_plain(options.get("minimum")),
            maximum=_plain(options.get("maximum")),
            exclusive_minimum=_plain(options.get("exclusiveMinimum")),
            exclusive_maximum=_plain(options.get("exclusiveMaximum")),
            multiple_of=_plain(options.get("multipleOf")),
            min_length=options.get("minLength"),
            max_length=options.get("maxLength"),
            pattern=options.get("pattern"),
            format=options.get("format"),
            timezone=bool(options.get("timezone")),
            default_timezone=str(options.get("defaultTimezone") or "UTC"),
            accepted=self._accepted(entry, where),
        )

    def _check_column(
        self, entry: dict[str, Any], name: str, column: str, logical: str, options: dict[str, Any], where: str
    ) -> None:
        physical = entry.get("physicalType")
        if not name:
            self.problem(join(where, "name"), "is missing")
        if column.startswith("_") or len(column.encode()) > 63 or "\0" in column:
            self.problem(
                join(where, "name"),
                f"{column!r} can't be a column: no leading _ (the platform's own), 63 bytes at most",
            )
        if entry.get("primaryKey") and entry.get("required") is False:
            self.problem(join(where, "required"), f"{name!r} is part of the key, so it has to be there; write true")
        if logical not in OPTIONS:
            self.problem(join(where, "logicalType"), f"is {logical!r}; known: {', '.join(sorted(OPTIONS))}")
        if physical is not None:
            base = str(physical).lower().partition("(")[0]
            if not _PHYSICAL.fullmatch(str(physical)):
                message = f"{physical!r} is no type the platform makes: text, bigint, numeric(12,2), timestamptz…"
                self.problem(join(where, "physicalType"), message)
            elif base not in _FAMILIES.get(logical, (base,)):
                self.problem(join(where, "physicalType"), f"{physical!r} can't hold a {logical}")
        self._check_options(logical, options, where)

    def _check_options(self, logical: str, options: dict[str, Any], where: str) -> None:
        for key in options:
            if logical in OPTIONS and key not in OPTIONS[logical]:
                self.found.append(unknown(key, OPTIONS[logical], join(where, f"logicalTypeOptions.{key}")))
        if options.get("format") and logical in ("string", "time"):
            known = ("email", "uuid") if logical == "string" else ()
            if options["format"] not in known:
                self.problem(
                    join(where, "logicalTypeOptions.format"), f"{options['format']!r} is not checked here; use pattern"
                )
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
            if bound in options and logical in OPTIONS and bound in OPTIONS[logical]:
                self._bound(options[bound], logical, join(where, f"logicalTypeOptions.{bound}"))
        for low, high in _ORDERED:
            self._check_order(options, logical, low, high, where)
        if "pattern" in options:
            self._pattern(str(options["pattern"]), join(where, "logicalTypeOptions.pattern"))

    def _bound(self, value: Any, logical: str, where: str) -> None:
        try:
            _comparable(value, logical)
        except (ValueError, InvalidOperation):
            self.problem(where, f"{value!r} is no {logical}")

    def _check_order(self, options: dict[str, Any], logical: str, low: str, high: str, where: str) -> None:
        """Report a lower bound above an upper one: no value could keep both."""
        if options.get(low) is None or options.get(high) is None:
            return
        with suppress(ValueError, InvalidOperation, TypeError):  # told where the bounds are looked at themselves
            if _comparable(options[low], logical) > _comparable(options[high], logical):
                message = f"is {options[low]}, above {high}, which is {options[high]}: no value could keep both"
                self.problem(join(where, f"logicalTypeOptions.{low}"), message)

    def _pattern(self, pattern: str, where: str) -> None:
        try:
            re.compile(pattern)
        except re.error as error:
            self.problem(where, f"{pattern!r} is no regular expression: {error}")
        if re.search(r"\(\?[=!<]|\\[1-9]", pattern):
            self.problem(where, f"{pattern!r} looks around or back, which the engine can't")

    def _accepted(self, entry: dict[str, Any], where: str) -> tuple[Any, ...]:
        """Return the accepted values: rule invalidValues with validValues and `mustBe: 0`, or `enum` (ODCS 3.2)."""
        for rule in entry.get("quality") or []:
            values = (rule.get("arguments") or {}).get("validValues")
            if rule.get("metric") == "invalidValues" and values is not None and rule.get("mustBe") == 0:
                if not isinstance(values, list) or not values:
                    self.problem(join(where, "quality"), "validValues must be a list with at least one value")
                    return ()
                return tuple(_plain(value) for value in values)
        return tuple(_plain(item.get("value")) for item in entry.get("enum") or [])

    def _column_quality(self, table: dict[str, Any], columns: list[Column]) -> list[QualityRule]:
        rules: list[QualityRule] = []
        for index, (entry, column) in enumerate(zip(table.get("properties") or [], columns, strict=True)):
            rules += self._quality(entry, f"schema[0].properties[{index}]", column.column)
        return rules

    def _quality(self, holder: dict[str, Any], where: str, column: str | None) -> list[QualityRule]:
        return [
            rule
            for index, entry in enumerate(holder.get("quality") or [])
            if (rule := self._rule(entry, f"{where}.quality[{index}]", column)) is not None
        ]

    def _rule(self, entry: dict[str, Any], where: str, column: str | None) -> QualityRule | None:
        kind = entry.get("type") or "library"
        if kind == "text":
            return None
        if kind not in ("library", "sql"):
            self.problem(join(where, "type"), f"{kind!r} can't be run here: use library or sql")
            return None
        metric, query = str(entry.get("metric") or ""), entry.get("query")
        if kind == "library" and metric not in _ARGUMENTS:
            self.problem(join(where, "metric"), f"is {metric!r}; known: {', '.join(_ARGUMENTS)}")
            return None
        if kind == "sql" and not query:
            self.problem(join(where, "query"), "is missing")
        arguments = entry.get("arguments") or {}
        for key in arguments:
            if kind == "library" and key not in _ARGUMENTS[metric]:
                self.found.append(unknown(key, _ARGUMENTS[metric], join(where, f"arguments.{key}")))
        operators = [operator for operator in _OPERATORS if operator in entry]
        if len(operators) != 1:
            self.problem(where, f"needs exactly one of {', '.join(_OPERATORS)}")
            return None
        severity = entry.get("severity") or "error"
        if severity not in _SEVERITIES:
            self.problem(join(where, "severity"), f"is {severity!r}; known: {', '.join(_SEVERITIES)}")
        name = str(entry.get("name") or "_".join(filter(None, (column, metric or "sql"))))
        if name in self._rule_names:
            self.problem(where, f"is the second rule named {name!r}: give each a name of its own")
        self._rule_names.add(name)
        unit, compared = read_measuring(entry, metric, where, self.problem)
        return QualityRule(
            name=name,
            type="sql" if kind == "sql" else "library",
            metric=metric or None,
            query=query,
            column=column,
            severity=severity,
            dimension=entry.get("dimension"),
            operator=operators[0],
            threshold=entry[operators[0]],
            arguments=arguments,
            unit=unit,
            description=" ".join(str(entry.get("description") or "").split()),
            compared=compared,
        )

    def _freshness(self, slas: list[dict[str, Any]], columns: dict[str, str]) -> Freshness | None:
        for index, sla in enumerate(slas):
            if sla.get("property") not in ("freshness", "latency"):
                continue
            where = f"slaProperties[{index}]"
            element = str(sla.get("element") or "").rsplit(".", 1)[-1]
            unit = str(sla.get("unit") or "").lower()
            seconds = _UNITS.get(unit) or _UNITS.get(unit.rstrip("s"))
            if element not in columns:
                self.problem(join(where, "element"), f"{sla.get('element')!r} names no column of the dataset")
            elif seconds is None or not isinstance(sla.get("value"), int | float):
                self.problem(where, "needs a number as value and a unit (s, m, h, d)")
            else:
                return Freshness(columns[element], int(sla["value"] * seconds))
        return None


def _comparable(value: Any, logical: str) -> Any:
    """Return a bound as a value of the column's type.

    Raises:
        ValueError, InvalidOperation: it is none.
    """
    parse: dict[str, Callable[[str], Any]] = {
        "date": dt.date.fromisoformat,
        "timestamp": dt.datetime.fromisoformat,
        "time": dt.time.fromisoformat,
    }
    return parse.get(logical, Decimal)(str(value))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: YAML reads 2026-01-31 as a date."""
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value
