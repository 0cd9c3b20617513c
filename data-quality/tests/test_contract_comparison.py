"""Every kind of change between two states of a contract, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_quality.contract import Contract, load_contract
from data_quality.contract.compared_columns import holds
from data_quality.contract.comparison import compare, compare_all, version_step

BASE = """
apiVersion: v3.1.0
kind: DataContract
id: shop-orders
name: Orders
version: 1.2.3
status: active
domain: shop
team:
  name: shop
  members: [{username: shop@example.com, role: owner}]
schema:
  - name: orders
    physicalName: orders
    logicalType: object
    description: One row an order.
    quality:
      - {name: has_rows, type: library, metric: rowCount, mustBeGreaterThan: 0, severity: error}
    properties:
      - {name: order_id, logicalType: string, primaryKey: true, required: true, description: Its number.}
      - {name: ordered_at, logicalType: timestamp, required: true}
      - {name: day, logicalType: date, partitioned: true}
      - {name: amount, logicalType: number, physicalType: "numeric(12,2)", logicalTypeOptions: {minimum: 0}}
      - {name: note, logicalType: string, logicalTypeOptions: {maxLength: 40, pattern: "[a-z]+"}}
      - {name: email, logicalType: string, classification: pii}
      - name: state
        logicalType: string
        quality:
          - name: state_accepted
            metric: invalidValues
            arguments: {validValues: [open, done]}
            mustBe: 0
slaProperties:
  - {property: freshness, value: 24, unit: h, element: orders.ordered_at}
customProperties:
  - property: ingest
    value:
      format: auto
      write: upsert
      order_by: ordered_at
      columns: rescue
      rejects: {max_percent: 5, max_rows: 1000}
      csv: {decimal: "."}
"""
B, W, I = "breaking", "warning", "info"  # noqa: E741
NOTE = '{name: note, logicalType: string, logicalTypeOptions: {maxLength: 40, pattern: "[a-z]+"}}'
AMOUNT = 'amount, logicalType: number, physicalType: "numeric(12,2)"'

# what is replaced, by what, the changes that makes, and those of the way back
CASES: dict[str, tuple[str, str, set[tuple[str, str]], set[tuple[str, str]]]] = {
    "column gone": (f"      - {NOTE}\n", "", {("column_removed", B)}, {("column_added", I)}),
    "column renamed in files and warehouse": (
        *("{name: note,", "{name: remark,"),
        {("column_renamed", B), ("file_column_renamed", B)},
        {("column_renamed", B), ("file_column_renamed", B)},
    ),
    "column renamed in the warehouse": (
        *("{name: note,", "{name: note, physicalName: remark,"),
        {("column_renamed", B)},
        {("column_renamed", B)},
    ),
    "column renamed in files": (
        *("{name: note,", "{name: remark, physicalName: note,"),
        {("file_column_renamed", B)},
        {("file_column_renamed", B)},
    ),
    "required column": (
        *(f"      - {NOTE}\n", f"      - {NOTE}\n      - {{name: shop, logicalType: string, required: true}}\n"),
        {("required_column_added", B)},
        {("column_removed", B)},
    ),
    "fewer digits": (
        *(AMOUNT, 'amount, logicalType: number, physicalType: "numeric(10,2)"'),
        {("type_narrowed", B)},
        {("type_widened", W)},
    ),
    "another type": (
        *("day, logicalType: date", "day, logicalType: timestamp"),
        {("type_changed", B)},
        {("type_changed", B)},
    ),
    "another time zone": (
        *("ordered_at, logicalType: timestamp", "ordered_at, logicalType: timestamp, physicalType: timestamptz"),
        {("type_changed", B)},
        {("type_changed", B)},
    ),
    "required": (
        *("{name: day, logicalType: date,", "{name: day, logicalType: date, required: true,"),
        {("required_added", B)},
        {("required_removed", W)},
    ),
    "unique": (
        *("{name: note,", "{name: note, unique: true,"),
        {("unique_added", B)},
        {("unique_removed", W)},
    ),
    "key": (
        *("{name: day, logicalType: date,", "{name: day, logicalType: date, primaryKey: true, primaryKeyPosition: 2,"),
        {("key_changed", B), ("required_added", B)},
        {("key_changed", B), ("required_removed", W)},
    ),
    "partition": (", partitioned: true", "", {("partition_changed", W)}, {("partition_changed", W)}),
    "a list of values": ("[open, done]", "[open]", {("values_shrunk", B)}, {("values_grown", W)}),
    "other values": (
        *("[open, done]", "[open, closed]"),
        {("values_shrunk", B), ("values_grown", W)},
        {("values_shrunk", B), ("values_grown", W)},
    ),
    "range": ("minimum: 0", "minimum: 1", {("range_tightened", B)}, {("range_loosened", I)}),
    "upper limit": ("minimum: 0", "minimum: 0, maximum: 9", {("range_tightened", B)}, {("range_loosened", I)}),
    "length": ("maxLength: 40", "maxLength: 30", {("length_tightened", B)}, {("length_loosened", I)}),
    "pattern": ('"[a-z]+"', '"[a-c]+"', {("pattern_tightened", B)}, {("pattern_tightened", B)}),
    "no pattern": (', pattern: "[a-z]+"', "", {("pattern_removed", I)}, {("pattern_tightened", B)}),
    "classification": (
        *("classification: pii", "classification: internal"),
        {("classification_lowered", B)},
        {("classification_raised", I)},
    ),
    "freshness": ("value: 24", "value: 48", {("freshness_loosened", B)}, {("freshness_tightened", I)}),
    "freshness of another column": (
        *("element: orders.ordered_at", "element: orders.day"),
        {("freshness_changed", B)},
        {("freshness_changed", B)},
    ),
    "no freshness": (
        "property: freshness",
        "property: frequency",
        {("freshness_removed", B)},
        {("freshness_added", I)},
    ),
    "rejected rows": ("max_rows: 1000", "max_rows: 9000", {("rejects_loosened", B)}, {("rejects_tightened", W)}),
    "rejected share": ("max_percent: 5", "max_percent: 10", {("rejects_loosened", B)}, {("rejects_tightened", W)}),
    "write mode": ("write: upsert", "write: scd2", {("write_mode_changed", B)}, {("write_mode_changed", B)}),
    "which row wins": ("      order_by: ordered_at\n", "", {("order_changed", W)}, {("order_changed", W)}),
    "columns frozen": ("columns: rescue", "columns: freeze", {("columns_frozen", B)}, {("column_policy_changed", I)}),
    "columns discarded": (
        *("columns: rescue", "columns: discard"),
        {("column_policy_changed", W)},
        {("column_policy_changed", I)},
    ),
    "format": ("format: auto", "format: csv", {("file_format_changed", B)}, {("format_loosened", I)}),
    "CSV dialect": ('decimal: "."', 'decimal: ","', {("csv_changed", B)}, {("csv_changed", B)}),
    "CSV delimiter left to be found out": (
        *('decimal: "."', 'decimal: ".", delimiter: ";"'),
        {("csv_changed", B)},
        {("csv_changed", I)},
    ),
    "rows of a file": (
        *("      csv:", "      file: {min_rows: 5}\n      csv:"),
        {("file_size_tightened", B)},
        {("file_size_loosened", I)},
    ),
    "table": ("physicalName: orders", "physicalName: orders2", {("table_renamed", B)}, {("table_renamed", B)}),
    "domain": ("domain: shop", "domain: web", {("domain_changed", B)}, {("domain_changed", B)}),
    "deprecated": ("status: active", "status: deprecated", {("status_changed", W)}, {("status_changed", I)}),
    "retired": ("status: active", "status: retired", {("status_changed", B)}, {("status_changed", I)}),
    "owner": ("  name: shop\n", "  name: web-shop\n", {("owner_changed", I)}, {("owner_changed", I)}),
    "words": ("Its number.", "Its own number.", {("description_changed", I)}, {("description_changed", I)}),
    "words of the whole": (
        "One row an order.",
        "An order.",
        {("description_changed", I)},
        {("description_changed", I)},
    ),
    "rule": (
        *("mustBeGreaterThan: 0", "mustBeGreaterThan: 5"),
        {("rule_changed", W)},
        {("rule_changed", W)},
    ),
    "rule gone": (
        *("    quality:\n      - {name: has_rows,", "    quality:\n      - {name: has_many_rows,"),
        {("rule_removed", W), ("rule_added", W)},
        {("rule_removed", W), ("rule_added", W)},
    ),
    "severity": ("severity: error", "severity: warning", {("severity_lowered", W)}, {("severity_raised", W)}),
    "only the version": ("version: 1.2.3", "version: 1.3.0", set(), {("version_lowered", W)}),
}


@pytest.fixture
def contract(tmp_path: Path) -> object:
    def load(text: str, name: str) -> Contract:
        path = tmp_path / f"{name}.odcs.yaml"
        path.write_text(text)
        return load_contract(path)

    return load


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_told_in_both_directions(contract: object, case: str) -> None:
    replaced, by, forward, backward = CASES[case]
    assert BASE.count(replaced) == 1, "the case says what it replaces"
    old, new = contract(BASE, "old"), contract(BASE.replace(replaced, by), "new")  # type: ignore[operator]
    assert {(item.kind, item.severity) for item in compare(old, new)} == forward
    assert {(item.kind, item.severity) for item in compare(new, old)} == backward
    assert all(item.cure for item in compare(old, new) if item.severity == B)
    assert compare(old, old) == []


@pytest.mark.parametrize(
    ("wide", "narrow", "yes", "back"),
    [
        ("bigint", "integer", True, False),
        ("numeric(19,0)", "bigint", True, False),
        ("numeric(12,2)", "integer", True, False),
        ("numeric(11,2)", "integer", False, False),
        ("numeric(14,4)", "numeric(12,2)", True, False),
        ("numeric(14,4)", "numeric(13,2)", False, False),
        ("double precision", "real", True, False),
        ("double precision", "bigint", False, False),
        ("text", "character varying(10)", True, False),
        ("character varying(20)", "character varying(10)", True, False),
        ("character varying", "character(3)", True, False),
        ("text", "uuid", True, False),
        ("timestamp with time zone", "date", False, False),
    ],
)
def test_a_type_holds_another(wide: str, narrow: str, yes: bool, back: bool) -> None:
    assert (holds(wide, narrow), holds(narrow, wide)) == (yes, back)


@pytest.mark.parametrize(
    ("replaced", "by", "version", "needed", "breaks", "proposed"),
    [
        ("maxLength: 40", "maxLength: 30", "1.2.3", "major", True, "2.0.0"),
        ("maxLength: 40", "maxLength: 30", "1.9.0", "major", True, "2.0.0"),
        ("maxLength: 40", "maxLength: 30", "2.0.0", "major", False, "2.0.0"),
        ("maxLength: 40", "maxLength: 30", "0.9.0", "major", True, "2.0.0"),
        ("maxLength: 40", "maxLength: 30", "next", "major", True, "2.0.0"),
        ("[open, done]", "[open, done, lost]", "1.2.4", "minor", False, "1.3.0"),
        ("Its number.", "A number.", "1.2.3", "patch", False, "1.2.4"),
    ],
)
def test_a_breaking_change_needs_a_major_version(
    contract: object, replaced: str, by: str, version: str, needed: str, breaks: bool, proposed: str
) -> None:
    changed = BASE.replace(replaced, by).replace("version: 1.2.3", f"version: {version}")
    old, new = contract(BASE, "old"), contract(changed, "new")  # type: ignore[operator]
    (found,) = compare_all([old], [new])
    assert (found.needed, found.breaks, found.proposed_version) == (needed, breaks, proposed)
    assert found.is_raised == (version == "2.0.0")


def test_a_dataset_goes_or_comes_or_is_renamed(contract: object) -> None:
    old = contract(BASE, "old")  # type: ignore[operator]
    (gone,), (come,) = compare_all([old], []), compare_all([], [old])
    assert (gone.changes[0].kind, gone.breaks) == ("dataset_removed", True)
    assert (come.changes[0].kind, come.breaks, come.needed) == ("dataset_added", False, "none")
    leaving = contract(BASE.replace("status: active", "status: deprecated"), "leaving")  # type: ignore[operator]
    (announced,) = compare_all([leaving], [])
    assert (announced.changes[0].severity, announced.breaks) == ("warning", False)
    renamed = contract(BASE.replace("- name: orders", "- name: sold"), "renamed")  # type: ignore[operator]
    (found,) = compare_all([old], [renamed])
    assert {item.kind for item in found.changes} == {"dataset_renamed"}
    assert found.breaks


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("1.0.0", "1.0.0", "none"),
        ("1.0.0", "1.0.1", "patch"),
        ("1.0.9", "1.1.0", "minor"),
        ("1.9.9", "2.0.0", "major"),
        ("2.0.0", "1.9.9", "lowered"),
        ("v1.0", "v2.0", "major"),
        ("one", "2.0.0", "unclear"),
    ],
)
def test_a_version_is_raised_by_a_step(old: str, new: str, step: str) -> None:
    assert version_step(old, new) == step
