"""The contract as a file: the standard's YAML, every guess with its reason as a comment beside it."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from data_quality.contract import CsvOptions
from data_quality.contract.personal import words
from pipelines.ingestion.inference.model import Inferred

_WIDTH = 118
_DEFAULT = CsvOptions()


class _Dumper(yaml.SafeDumper):
    """Lists below their key are indented, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def document(
    *,
    domain: str,
    dataset: str,
    owner: str,
    owner_email: str | None,
    columns: list[Inferred],
    order_by: Inferred | None,
    csv: CsvOptions | None,
    kinds: set[str],
    notes: list[str],
) -> str:
    """Return the contract's text."""
    title = " ".join(words(dataset)).capitalize()
    keyed = any(column.key_position for column in columns)
    team: dict[str, Any] = {"name": owner}
    if owner_email:
        team["members"] = [{"username": owner_email, "name": owner, "role": "owner"}]
    head = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{domain}-{dataset}".replace("_", "-"),
        "name": title,
        "version": "1.0.0",
        "status": "draft",
        "domain": domain,
        "description": {"purpose": f"{title}, as inferred from sample files; say here what a row is and who needs it."},
        "tags": [domain],
    }
    table: dict[str, Any] = {
        "name": dataset,
        "physicalName": dataset,
        "logicalType": "object",
        "physicalType": "table",
        "description": f"One row of {title.lower()}.",
        "quality": _table_quality(dataset, columns),
    }
    ingest: dict[str, Any] = {"format": "auto", "write": "upsert" if keyed else "append"}
    if order_by:
        ingest["order_by"] = order_by.column
    ingest |= {"columns": "rescue", "rejects": {"max_percent": 5, "max_rows": 10_000}}
    if csv:
        ingest["csv"] = _csv(csv)
    seen = ", ".join(sorted(kinds))
    parts = [
        _comment(
            "Inferred from sample files. Every guess has its reason beside it: keep what is true, mend the rest.", 0
        ),
        *(_comment(f"- {note}", 0) for note in notes),
        _yaml(head),
        "",
        *([] if owner_email else [_comment("Who answers for the data? An address of theirs belongs here.", 0)]),
        _yaml({"team": team}),
        "",
        _yaml({"schema": [table]}),
        "    properties:",
        *(line for column in columns for line in _property(column)),
        "",
        "customProperties:",
        "  - property: ingest",
        "    value:",
        _comment(f"auto: the content decides; the files were {seen}", 6),
        *([_comment("the dialect as it was found; what is left out is found out from each file", 6)] if csv else []),
        textwrap.indent(_yaml(ingest), " " * 6),
    ]
    return "\n".join(parts) + "\n"


def _table_quality(dataset: str, columns: list[Inferred]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {
            "name": f"{dataset}_has_rows",
            "type": "library",
            "metric": "rowCount",
            "mustBeGreaterThan": 0,
            "severity": "error",
            "dimension": "completeness",
        }
    ]
    key = [column.column for column in sorted(columns, key=lambda column: column.key_position) if column.key_position]
    if key:
        rules.append(
            {
                "name": f"{dataset}_key_unique",
                "type": "library",
                "metric": "duplicateValues",
                "arguments": {"properties": key},
                "mustBe": 0,
                "severity": "critical",
                "dimension": "uniqueness",
            }
        )
    return rules


def _property(column: Inferred) -> list[str]:
    entry: dict[str, Any] = {"name": column.name}
    if column.column != column.name:
        entry["physicalName"] = column.column
    entry |= {"logicalType": column.guess.logical, "physicalType": column.guess.physical}
    if column.key_position:
        entry |= {"primaryKey": True, "primaryKeyPosition": column.key_position}
    if column.rules.required or column.key_position:
        entry["required"] = True
    if column.personal:
        entry |= {"classification": "pii", "tags": list(dict.fromkeys(["pii", column.personal.kind]))}
    if options := {**column.guess.options, **column.rules.options}:
        entry["logicalTypeOptions"] = options
    if column.rules.quality:
        entry["quality"] = column.rules.quality
    told = "; ".join([*column.why, *([f"in doubt: {column.guess.doubt}"] if column.guess.doubt else [])])
    return [_comment(told, 6), textwrap.indent(_yaml([entry]), " " * 6)]


def _csv(csv: CsvOptions) -> dict[str, Any]:
    """Return what is not the default, and the delimiter wherever all files have the same."""
    options = {name: getattr(csv, name) for name in _DEFAULT.__dataclass_fields__}
    told = {name: value for name, value in options.items() if value != getattr(_DEFAULT, name)}
    if "null_words" in told:
        told["null_words"] = list(csv.null_words)
    return told


def _comment(text: str, indent: int) -> str:
    prefix = " " * indent + "# "
    body = text.encode("unicode_escape").decode("ascii") if any(ord(c) < 32 for c in text) else text
    return textwrap.fill(body, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)


def _yaml(value: Any) -> str:
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
    ).rstrip("\n")
