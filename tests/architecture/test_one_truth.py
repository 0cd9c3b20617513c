"""The contract, dbt and the settings say the same of the same thing; of dashboards, see test_dashboards.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from data_quality.contract import load_contracts
from data_quality.contract.pages import pages
from dataplatform_cli.settings import StackSettings
from pipelines.ingestion.columns import postgres_type
from pipelines.sources import FILE, dbt_sources

DBT_TYPES = {"timestamp with time zone": "timestamptz"}


def dbt_nodes(repository: Path, kind: str) -> dict[str, dict[str, Any]]:
    nodes = {}
    for path in sorted((repository / "transformations" / "models").rglob("*.yml")):
        for node in (yaml.safe_load(path.read_text()) or {}).get(kind, ()):
            nodes[node["name"]] = node
    return nodes


def test_dbt_sources_are_made_of_the_contracts(repository: Path) -> None:
    contracts = load_contracts(repository / "data-quality" / "contracts")
    written = (repository / "transformations" / FILE).read_text()
    assert written == dbt_sources(contracts), "`dp contract sync` writes them anew"


def test_pages_of_contracts_are_made_of_the_contracts(repository: Path) -> None:
    wanted = pages(load_contracts(repository / "data-quality" / "contracts"))
    folder = repository / "docs" / "contracts"
    written = {path.name: path.read_text() for path in folder.glob("*.md")}
    assert written == wanted, "`dp contract docs` writes them anew"


def test_dbt_sources_have_the_columns_of_their_contracts(repository: Path) -> None:
    contracts = {contract.table: contract for contract in load_contracts(repository / "data-quality" / "contracts")}
    sources = dbt_nodes(repository, "sources")
    tables = [table for name, source in sources.items() if name != "audit" for table in source["tables"]]
    assert tables
    for table in tables:
        contract = contracts[table["name"]]
        assert [column["name"] for column in table["columns"]] == [column.column for column in contract.columns]
        for declared, column in zip(table["columns"], contract.columns, strict=True):
            kind = DBT_TYPES.get(postgres_type(column), postgres_type(column))
            assert declared["data_type"] == kind, f"{table['name']}.{column.column}"
            tagged = "pii" in declared.get("config", {}).get("tags", [])
            assert tagged == column.is_pii, f"{table['name']}.{column.column} is PII in one place only"


def test_every_model_and_column_is_described(repository: Path) -> None:
    models = dbt_nodes(repository, "models")
    written = {path.stem for path in (repository / "transformations" / "models").rglob("*.sql")}
    assert written == set(models)
    for name, model in models.items():
        assert model.get("description"), name
        assert all(column.get("description") for column in model["columns"]), name


def test_env_example_documents_every_setting(repository: Path) -> None:
    lines = (repository / ".env.example").read_text().splitlines()
    documented = {line.partition("=")[0] for line in lines if re.match(r"[A-Z_]+=", line)}
    assert documented == {name.upper() for name in StackSettings.model_fields}
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_]+=", line):
            block = lines[max(0, number - 3) : number]
            assert any(text.startswith("#") for text in block), f"{line} is not explained"


def test_env_example_holds_the_defaults(repository: Path) -> None:
    defaults = StackSettings(_env_file=None)  # type: ignore[call-arg]
    for line in (repository / ".env.example").read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and value and not line.startswith("#"):
            default = getattr(defaults, name.lower())
            plain = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
            assert (plain.lower() if isinstance(default, bool) else plain) == value, name


def test_no_lock_names_a_download_address(repository: Path) -> None:
    locks = [*(repository / "requirements").glob("*.txt"), repository / "infrastructure/superset/requirements.txt"]
    assert len(locks) > 3
    for lock in locks:
        assert "://" not in lock.read_text(), lock
