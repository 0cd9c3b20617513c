"""`lint` names what is wrong with a contract, where it stands in the file, and what helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_quality.contract.lint import Finding, lint

FOLDER = Path(__file__).parents[1] / "contracts"


@pytest.fixture
def sales() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "sales" / "sales.odcs.yaml").read_text())


@pytest.fixture
def linted(tmp_path: Path) -> Callable[[dict[str, Any]], list[Finding]]:
    def write(data: dict[str, Any]) -> list[Finding]:
        path = tmp_path / "sales.odcs.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return lint([path])

    return write


def test_shipped_contracts_have_nothing_to_mend():
    assert lint([FOLDER]) == []


@pytest.mark.parametrize(
    ("level", "where", "change", "message"),
    [
        ("error", "doman", lambda c: c.update(doman=1), "unknown key 'doman'"),
        (
            "error",
            "schema[0].properties[5].logicalTypeOptions.minimum",
            lambda c: column(c, 5).update(logicalTypeOptions={"minimum": 9, "maximum": 1}),
            "above maximum",
        ),
        (
            "error",
            "schema[0].properties[3].logicalTypeOptions.minLength",
            lambda c: column(c, 3).update(logicalTypeOptions={"minLength": 9, "maxLength": 1}),
            "above maxLength",
        ),
        (
            "error",
            "schema[0].properties[1].logicalTypeOptions.exclusiveMinimum",
            lambda c: column(c, 1).update(
                logicalTypeOptions={"exclusiveMinimum": "2026-02-01", "exclusiveMaximum": "2026-01-01"}
            ),
            "no value could keep both",
        ),
        (
            "error",
            "schema[0].properties[0].logicalTypeOptions.pattern",
            lambda c: column(c, 0).update(logicalTypeOptions={"pattern": "(a"}),
            "no regular expression",
        ),
        (
            "error",
            "schema[0].properties[0].logicalTypeOptions.pattern",
            lambda c: column(c, 0).update(logicalTypeOptions={"pattern": "a{2000}"}),
            "can't be used by the engine",
        ),
        (
            "error",
            "schema[0].properties[0].required",
            lambda c: column(c, 0).update(required=False),
            "is part of the key",
        ),
        (
            "error",
            "schema[0].properties[5].quality",
            lambda c: column(c, 5).update(
                quality=[{"metric": "invalidValues", "arguments": {"validValues": ["one", 2]}, "mustBe": 0}]
            ),
            "lists 'one', which a column of type integer can't hold",
        ),
        (
            "error",
            "schema[0].quality[1]",
            lambda c: c["schema"][0]["quality"][1].update(name="sales_has_rows"),
            "second",
        ),
        (
            "warning",
            "schema[0].properties[8]",
            lambda c: column(c, 8).pop("description"),
            "'region' has no description",
        ),
        ("warning", "team", lambda c: c["team"].pop("members"), "nobody can be reached"),
        ("warning", "version", lambda c: c.update(version="one"), "is 'one'"),
        ("warning", "status", lambda c: c.update(status="on"), "is 'on'"),
        (
            "warning",
            "customProperties",
            lambda c: c["customProperties"][0]["value"].pop("order_by"),
            "upsert without order_by",
        ),
        (
            "warning",
            "schema[0].properties[2]",
            lambda c: [column(c, 2).pop("classification"), column(c, 2).pop("tags")],
            "'customer_id' looks like personal data (person_id)",
        ),
        (
            "warning",
            "schema[0].properties[2].classification",
            lambda c: column(c, 2).update(classification="secretive"),
            "is 'secretive'",
        ),
        (
            "warning",
            "schema[0].quality",
            lambda c: c["schema"][0]["quality"][2].update(query="SELECT 0"),
            "does not read ${table}",
        ),
    ],
)
def test_findings(level, where, change, message, sales, linted):
    change(sales)
    [finding] = linted(sales)
    assert (finding.level, finding.where) == (level, where)
    assert message in finding.message
    assert finding.suggestion or level == "error"


def column(data: dict[str, Any], position: int) -> dict[str, Any]:
    found: dict[str, Any] = data["schema"][0]["properties"][position]
    return found


def test_findings_name_their_line(sales, tmp_path: Path):
    text = (FOLDER / "sales" / "sales.odcs.yaml").read_text().replace("required: true", "requird: true", 1)
    path = tmp_path / "sales.odcs.yaml"
    path.write_text(text)
    [finding] = lint([path])
    assert text.splitlines()[finding.line - 1].strip() == "requird: true"
    path.write_text("a: [1\nb: 2")
    assert lint([path])[0].line == 2
    path.write_bytes(b"\xff\xfe\xff")
    assert [found.level for found in lint([path])] == ["error"]


def test_a_dataset_without_key_says_what_that_means(sales, linted):
    for name in ("primaryKey", "primaryKeyPosition"):
        column(sales, 0).pop(name)
    sales["customProperties"][0]["value"].update(write="append")
    [finding] = linted(sales)
    assert "there is no key" in finding.message


def test_a_folder_is_looked_at_as_a_whole(sales, tmp_path: Path):
    (tmp_path / "sales.odcs.yaml").write_text(yaml.safe_dump(sales, sort_keys=False))
    sales["schema"][0]["name"] = "other"
    (tmp_path / "t_other.odcs.yaml").write_text(yaml.safe_dump(sales, sort_keys=False))
    (tmp_path / "notes.yaml").write_text("a: 1")
    found = {Path(finding.path).name: finding for finding in lint([tmp_path])}
    assert set(found) == {"t_other.odcs.yaml", "notes.yaml"}
    assert "is already that of" in found["t_other.odcs.yaml"].message
    assert found["notes.yaml"].level == "warning"
