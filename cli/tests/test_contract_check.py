"""`dp contract check` and `dp contract docs`: against a revision and a folder, without any service."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dataplatform_cli.main import app


@pytest.fixture
def contracts(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]) -> Path:
    """The shipped contracts in a git repository of their own, committed as v1; the metadata service is away."""
    folder = tmp_path / "team" / "contracts"
    shutil.copytree(repository / "data-quality" / "contracts", folder)
    monkeypatch.setenv("CONTRACTS_DIR", str(folder))
    monkeypatch.setenv("METADATA_PORT", str(free_port()))
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"], ["tag", "v1"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", "-C", str(folder.parent), *identity, *command], check=True)  # noqa: S607
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", *arguments])


def edit(path: Path, old: str, new: str) -> int:
    """Replace a text in a file; return the line it is in."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def check(against: str = "v1") -> tuple[int, dict[str, Any]]:
    done = run("check", "--against", against, "--json")
    return done.exit_code, json.loads(done.stdout)


def test_nothing_changed(contracts: Path) -> None:
    assert check() == (0, {"ok": True, "against": "v1", "contracts": [], "problems": []})


def test_a_breaking_change_names_line_version_readers_and_owners(contracts: Path) -> None:
    file = contracts / "sales" / "sales.odcs.yaml"
    line = edit(file, "physicalType: numeric(14,2)", "physicalType: numeric(9,2)")
    code, told = check()
    (sales,) = told["contracts"]
    (change,) = sales["changes"]
    assert (code, told["ok"], sales["dataset"], sales["ok"]) == (1, False, "sales", False)
    assert (change["kind"], change["severity"], change["column"]) == ("type_narrowed", "breaking", "total_amount")
    assert change["line"] == line
    assert sales["version"]["needed"] == "major"
    assert sales["version"]["proposed"] == "2.0.0"
    below = sales["downstream"]
    assert below["source"] == "dbt project"
    named = {(item["kind"], item["name"]): (item["owner"], item["certain"]) for item in below["items"]}
    assert named["model", "fct_sales"] == ("sales-analytics", True)
    assert named["model", "agg_revenue_daily"] == ("sales-analytics", True)
    assert named["dashboard", "sales"] == ("sales-analytics", True)
    assert named["model", "fct_campaign_performance"][0] == "marketing-analytics"
    assert below["owners"] == ["marketing-analytics", "sales-analytics"]

    spoken = run("check", "--against", "v1")
    assert spoken.exit_code == 1
    for said in (f"sales.odcs.yaml:{line}:", "numeric(14,2) became numeric(9,2)", "2.0.0", "dashboard sales"):
        assert said in spoken.output

    edit(file, "version: 1.0.0", "version: 2.0.0")
    code, told = check()
    assert (code, told["ok"], told["contracts"][0]["version"]["raised"]) == (0, True, True)


def test_a_contract_that_others_refer_to_names_them(contracts: Path) -> None:
    shutil.rmtree(contracts / "marketing")
    edit(contracts / "sales" / "customers.odcs.yaml", "name: customer_id", "name: customer_number")
    code, told = check()
    by_name = {item["dataset"]: item for item in told["contracts"]}
    assert code == 1
    assert by_name["campaigns"]["changes"][0]["kind"] == "dataset_removed"
    assert {"kind": "model", "name": "fct_campaign_performance", "owner": "marketing-analytics", "certain": True} in (
        by_name["campaigns"]["downstream"]["items"]
    )
    referring = {item["name"] for item in by_name["customers"]["downstream"]["items"] if item["kind"] == "contract"}
    assert referring == {"orders", "sales"}


def test_a_warning_and_a_new_dataset_break_nothing(contracts: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(contracts, before)
    (before / "marketing" / "campaigns.odcs.yaml").unlink()
    edit(contracts / "sales" / "sales.odcs.yaml", "Toys, Groceries]", "Toys, Groceries, Books]")
    code, told = check(str(before))
    assert (code, told["ok"]) == (0, True)
    assert [item["changes"][0]["kind"] for item in told["contracts"]] == ["dataset_added", "values_grown"]
    assert "1.1.0" in run("check", "--against", str(before)).output


@pytest.mark.parametrize("against", [(), ("--against", "no-such-tag"), ("--against", "-x")])
def test_what_can_not_be_compared_with_is_a_usage_error(contracts: Path, against: tuple[str, ...]) -> None:
    assert run("check", *against).exit_code == 2


def test_a_broken_contract_is_no_removed_dataset(contracts: Path) -> None:
    edit(contracts / "sales" / "sales.odcs.yaml", "logicalType: integer", "logicalType: entire")
    code, told = check()
    assert (code, told["contracts"]) == (1, [])
    assert "entire" in told["problems"][0]


def test_pages_are_written_once_and_go_with_their_contract(contracts: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    assert run("docs", "--output", str(pages)).exit_code == 0
    (pages / "notes.md").write_text("mine\n")
    text = (pages / "sales.md").read_text()
    for said in (
        "numeric(14,2)",
        "≥ 1",
        "**personal data**",
        "2 days, told by `updated_at`",
        "[customers](customers.md)",
    ):
        assert said in text
    (contracts / "marketing" / "campaigns.odcs.yaml").unlink()
    assert json.loads(run("docs", "--output", str(pages), "--json").stdout)["changed"] == ["campaigns.md", "README.md"]
    assert json.loads(run("docs", "--output", str(pages), "--json").stdout)["changed"] == []
    assert (pages / "notes.md").exists()
