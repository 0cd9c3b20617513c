"""Contracts: what is read from a good one, and that every mistake is named with its place and cure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_quality.contract import ContractError, FileRules, load_contract, load_contracts

FOLDER = Path(__file__).parents[1] / "contracts"


@pytest.fixture
def sales() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "sales" / "sales.odcs.yaml").read_text())


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[dict[str, Any]], list[tuple[str, str]]]:
    def read(data: dict[str, Any]) -> list[tuple[str, str]]:
        path = tmp_path / "x.odcs.yaml"
        path.write_text(yaml.safe_dump(data))
        with pytest.raises(ContractError) as error:
            load_contract(path)
        assert all(problem.path == str(path) for problem in error.value.problems)
        return [(problem.where, problem.message) for problem in error.value.problems]

    return read


def ingest(data: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = data["customProperties"][0]["value"]
    return value


def test_shipped_contracts_are_good():
    found = load_contracts(FOLDER)
    assert found.problems == []
    assert len(found) > 0


def test_sales():
    contract = load_contract(FOLDER / "sales" / "sales.odcs.yaml")
    assert (contract.name, contract.table, contract.domain, contract.owner) == (
        "sales",
        "sales",
        "sales",
        "sales-analytics",
    )
    assert contract.owner_email == "sales-analytics@example.com"
    assert contract.key == ("sale_id",)
    assert [column.name for column in contract.columns] == [
        "sale_id", "sale_date", "customer_id", "product_id", "product_category",
        "quantity", "unit_price", "total_amount", "region", "updated_at",
    ]  # fmt: skip
    by_name = {column.name: column for column in contract.columns}
    assert [name for name, column in by_name.items() if column.is_pii] == ["customer_id"]
    assert by_name["quantity"].minimum == 1
    assert by_name["product_category"].accepted[:2] == ("Electronics", "Clothing")
    assert (contract.ingest.write, contract.ingest.order_by, contract.ingest.columns) == (
        "upsert",
        "updated_at",
        "rescue",
    )
    assert contract.freshness is not None
    assert (contract.freshness.column, contract.freshness.seconds) == ("updated_at", 172800)
    rules = {rule.name: rule for rule in contract.quality}
    total = rules["sales_total_is_quantity_times_price"]
    assert total.sql("staging", "sales").startswith('SELECT count(*) FROM "staging"."sales" WHERE')
    assert (total.operator, total.threshold) == ("mustBe", 0)
    assert rules["sales_has_rows"].severity == "critical"
    assert rules["customer_id_mostly_known"].column == "customer_id"


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("doman", lambda c: c.update(doman=1), "did you mean 'domain'?"),
        (
            "schema[0].properties[5].requird",
            lambda c: c["schema"][0]["properties"][5].update(requird=True),
            "'required'",
        ),
        (
            "schema[0].properties[5].logicalTypeOptions.minumum",
            lambda c: c["schema"][0]["properties"][5].update(logicalTypeOptions={"minumum": 1}),
            "did you mean 'minimum'?",
        ),
        (
            "schema[0].quality[0].mustBeGreatrThan",
            lambda c: c["schema"][0]["quality"][0].update(mustBeGreatrThan=1),
            "'mustBeGreaterThan'",
        ),
        ("team.members[0].nmae", lambda c: c["team"]["members"][0].update(nmae="x"), "'name'"),
        (
            "customProperties[0].value.rejects.max_precent",
            lambda c: c["customProperties"][0]["value"]["rejects"].update(max_precent=1),
            "'max_percent'",
        ),
        (
            "customProperties[0].value.write",
            lambda c: c["schema"][0]["properties"][0].pop("primaryKey") and ingest(c).update(write="scd2"),
            "scd2 needs a key",
        ),
        (
            "customProperties[0].value.order_by",
            lambda c: ingest(c).update(write="scd2", order_by="quantity"),
            "'quantity' is of type integer; scd2 takes the start",
        ),
        (
            "customProperties[0].value.file.min_rows",
            lambda c: ingest(c).update(file={"min_rows": 10, "max_rows": 9}),
            "above max_rows",
        ),
        (
            "customProperties[0].value.file.max_rows",
            lambda c: ingest(c).update(file={"max_rows": -1}),
            "a whole number from 0",
        ),
        (
            "customProperties[0].value.csv.comment",
            lambda c: ingest(c).update(csv={"comment": "//"}),
            "one character",
        ),
        (
            "customProperties[0].value.csv.comment",
            lambda c: ingest(c).update(csv={"comment": ";", "delimiter": ";"}),
            "is the delimiter",
        ),
        (
            "schema[0].quality[1]",
            lambda c: c["schema"][0]["quality"][1].update(name="sales_has_rows"),
            "is the second rule named 'sales_has_rows'",
        ),
        (
            "customProperties[0].value.write",
            lambda c: c["customProperties"][0]["value"].update(write="upsrt"),
            "did you mean 'upsert'?",
        ),
        (
            "customProperties[0].value.order_by",
            lambda c: c["customProperties"][0]["value"].update(order_by="updated"),
            "no column",
        ),
        (
            "schema[0].properties[5].logicalType",
            lambda c: c["schema"][0]["properties"][5].update(logicalType="int"),
            "known",
        ),
        (
            "schema[0].properties[5].physicalType",
            lambda c: c["schema"][0]["properties"][5].update(physicalType="text"),
            "can't hold a integer",
        ),
        (
            "schema[0].properties[5].physicalType",
            lambda c: c["schema"][0]["properties"][5].update(physicalType="int); DROP TABLE x"),
            "no type the platform makes",
        ),
        ("domain", lambda c: c.pop("domain"), "is missing"),
        ("schema", lambda c: c["schema"].append(dict(c["schema"][0])), "exactly one entry"),
        ("schema[0].name", lambda c: c["schema"][0].update(name="My Sales"), "no dataset name"),
        ("slaProperties[0].element", lambda c: c["slaProperties"][0].update(element="sales.when"), "names no column"),
        (
            "schema[0].quality[0]",
            lambda c: c["schema"][0]["quality"][0].pop("mustBeGreaterThan"),
            "needs exactly one of mustBe",
        ),
        ("version", lambda c: c.update(version={"a": 1}), "string"),
    ],
)
def test_mistakes_are_named(where, change, message, sales, problems):
    change(sales)
    found = problems(sales)
    assert [place for place, _ in found] == [where]
    assert message in found[0][1]


def test_ingest_options(sales, tmp_path: Path):
    ingest(sales).update(
        write="scd2", columns="evolve", file={"min_rows": 1, "max_rows": 10}, csv={"comment": "#", "decimal": ","}
    )
    path = tmp_path / "x.odcs.yaml"
    path.write_text(yaml.safe_dump(sales))
    options = load_contract(path).ingest
    assert (options.write, options.columns, options.order_by) == ("scd2", "evolve", "updated_at")
    assert options.file == FileRules(min_rows=1, max_rows=10)
    assert (options.csv.comment, options.csv.decimal, options.csv.delimiter) == ("#", ",", None)


def test_all_mistakes_at_once(sales, problems):
    sales["doman"] = 1
    sales["schema"][0]["physicalTyp"] = "table"
    assert [where for where, _ in problems(sales)] == ["doman", "schema[0].physicalTyp"]


def test_broken_contract_does_not_hide_the_good_ones(tmp_path: Path, sales):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "good.odcs.yaml").write_text(yaml.safe_dump(sales))
    (tmp_path / "twice.odcs.yaml").write_text(yaml.safe_dump(sales))
    (tmp_path / "bad.odcs.yaml").write_text("a: [1\nb: 2")
    (tmp_path / "double.odcs.yaml").write_text("id: 1\nid: 2\n")
    (tmp_path / "notes.yaml").write_text("not a contract")
    found = load_contracts(tmp_path)
    assert [contract.name for contract in found] == ["sales"]
    shown = {Path(problem.path).name: problem.message for problem in found.problems}
    assert set(shown) == {"twice.odcs.yaml", "bad.odcs.yaml", "double.odcs.yaml"}
    assert "is already described by" in shown["twice.odcs.yaml"]
    assert "occurs twice" in shown["double.odcs.yaml"]
    with pytest.raises(ContractError, match=r"bad\.odcs\.yaml: line 2"):
        found.raise_for_problems()


def test_import_is_light():
    heavy = "airflow", "duckdb", "pydantic", "pandas", "open_data_contract_standard"
    code = f"import sys, data_quality.contract; sys.exit(str([name for name in {heavy} if name in sys.modules] or ''))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip() == ""


def test_relationships_and_comparisons(sales: dict[str, Any], tmp_path: Path) -> None:
    table = sales["schema"][0]
    table["relationships"] = [
        {"from": ["product_id", "region"], "to": ["offers.product", "offers.region"]},
        {"type": "foreignKey", "from": "sales.region", "to": "regions.name"},
    ]
    table["quality"].append(
        {"name": "volume", "metric": "rowCount", "mustBeBetween": [-5, 50],
         "customProperties": [{"property": "comparedTo", "value": "previous"}]}
    )  # fmt: skip
    path = tmp_path / "x.odcs.yaml"
    path.write_text(yaml.safe_dump(sales))
    contract = load_contract(path)
    told = [(one.name, one.columns, one.to_dataset, one.to_columns, one.severity) for one in contract.references]
    assert told == [
        ("product_id_region_in_offers", ("product_id", "region"), "offers", ("product", "region"), "error"),
        ("region_in_regions", ("region",), "regions", ("name",), "error"),
        ("customer_id_in_customers", ("customer_id",), "customers", ("customer_id",), "warning"),
        ("product_id_in_products", ("product_id",), "products", ("product_id",), "warning"),
    ]
    assert [rule.name for rule in contract.quality if rule.compared] == ["volume"]


@pytest.mark.parametrize(
    ("place", "entry", "where", "said"),
    [
        ("relationships", {"from": "no", "to": "a.b"}, "relationships[0].from", "'no' is no column of the dataset"),
        ("relationships", {"from": "region", "to": "b"}, "relationships[0].to", "write <dataset>.<column>"),
        ("relationships", {"from": "region", "to": ["a.b", "a.c"]}, "relationships[0].to", "one for each column"),
        ("relationships", {"type": "lookup", "from": "region", "to": "a.b"}, "relationships[0].type", "foreignKey"),
        ("relationships", {"from": "region", "to": "a.b", "customProperties": [{"property": "severty", "value": "x"}]},
         "relationships[0].customProperties[0]", "did you mean 'severity'?"),
        ("quality", {"metric": "rowCount", "unit": "percent", "mustBe": 1}, "quality[3].unit", "has no share"),
        ("quality", {"metric": "nullValues", "unit": "share", "mustBe": 1}, "quality[3].unit", "known: rows, percent"),
        ("quality", {"type": "sql", "query": "SELECT max(quantity) FROM ${table}", "unit": "percent", "mustBe": 1},
         "quality[3].unit", "SELECT count(*) FROM ${table} WHERE"),
        ("quality", {"metric": "rowCount", "mustBe": 1, "customProperties": [{"property": "comparedTo", "value": "x"}]},
         "quality[3].customProperties[0].value", "the one known is previous"),
    ],
)  # fmt: skip
def test_mistakes_in_relationships_and_units(
    sales: dict[str, Any], problems: Any, place: str, entry: dict[str, Any], where: str, said: str
) -> None:
    sales["schema"][0].setdefault(place, []).append(entry)
    [(found, message)] = problems(sales)
    assert found == f"schema[0].{where}"
    assert said in message
