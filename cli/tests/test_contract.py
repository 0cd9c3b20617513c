"""`dp contract`: what is printed, written and returned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from data_quality.contract import load_contract
from dataplatform_cli.main import app
from dataplatform_cli.settings import StackSettings

ROWS = "account_id,email,amount\n" + "".join(f"{number},a{number}@example.com,{number}.5\n" for number in range(150))


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of contracts, the platform's for this test."""
    folder = tmp_path / "contracts"
    folder.mkdir()
    monkeypatch.setenv("CONTRACTS_DIR", str(folder))
    return folder


@pytest.fixture
def sample(tmp_path: Path) -> str:
    path = tmp_path / "sample.csv"
    path.write_text(ROWS)
    return str(path)


def contract(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", *arguments])


def infer(*arguments: str) -> Result:
    return contract("infer", *arguments, "--domain", "shop", "--dataset", "accounts")


def test_infer_writes_a_contract_that_lints(contracts: Path, sample: str) -> None:
    done = infer(sample, "--owner", "shop-team", "--email", "shop@example.com")
    assert done.exit_code == 0, done.output
    path = contracts / "shop" / "accounts.odcs.yaml"
    read = load_contract(path)
    assert (read.key, read.owner, read.owner_email) == (("account_id",), "shop-team", "shop@example.com")
    assert [column.name for column in read.columns if column.is_pii] == ["email"]
    for said in ("personal data by its name", "unique in all 150 rows", "no row is rejected", "dp contract lint"):
        assert said in done.output
    linted = contract("lint", "--json")
    assert linted.exit_code == 0
    found = json.loads(linted.stdout)
    assert found["ok"] is True
    assert {item["level"] for item in found["findings"]} == {"warning"}


def test_infer_overwrites_only_when_told_to(contracts: Path, sample: str) -> None:
    path = contracts / "shop" / "accounts.odcs.yaml"
    path.parent.mkdir()
    path.write_text("mine")
    refused = infer(sample)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert path.read_text() == "mine"
    assert infer(sample, "--force").exit_code == 0
    assert load_contract(path).name == "accounts"


def test_infer_refuses_a_dataset_that_is_described_already(contracts: Path, sample: str) -> None:
    assert infer(sample).exit_code == 0
    done = contract("infer", sample, "--domain", "other", "--dataset", "accounts")
    assert done.exit_code == 1
    assert "is described by" in done.stderr


def test_infer_to_standard_output(contracts: Path, sample: str, tmp_path: Path) -> None:
    done = infer(sample, "--output", "-")
    assert done.exit_code == 0
    target = tmp_path / "accounts.odcs.yaml"
    target.write_text(done.stdout)
    assert load_contract(target).name == "accounts"
    assert list(contracts.rglob("*.yaml")) == []


def test_infer_as_json(contracts: Path, sample: str) -> None:
    told = json.loads(infer(sample, "--json").stdout)
    assert told["path"] == str(contracts / "shop" / "accounts.odcs.yaml")
    assert (told["rows"], told["rejected"]) == (150, 0)
    assert {column["name"]: column["pii"] for column in told["columns"]}["email"] == "email"
    assert all(column["why"] for column in told["columns"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.csv",), "there is no file nowhere.csv"),
        (("SAMPLE", "--key", "x"), "there is no such column"),
        (("SAMPLE", "--dataset", "My Set"), "'My Set' is no name"),
    ],
)
def test_infer_says_what_it_lacks(arguments: tuple[str, ...], said: str, contracts: Path, sample: str) -> None:
    given = [sample if argument == "SAMPLE" else argument for argument in arguments]
    done = contract("infer", "--domain", "shop", "--dataset", "accounts", *given)
    assert done.exit_code == 1
    assert said in done.stderr


def test_lint_fails_on_errors_and_names_their_line(contracts: Path, sample: str) -> None:
    infer(sample)
    path = contracts / "shop" / "accounts.odcs.yaml"
    path.write_text(path.read_text().replace("domain: shop", "doman: shop"))
    done = contract("lint", str(path))
    assert done.exit_code == 1
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if text.startswith("doman"))
    assert f"{path}:{line}: doman: unknown key 'doman'" in done.stdout.replace("\n", "")
    assert "did you mean 'domain'?" in done.stdout


@pytest.mark.integration
def test_sync_brings_contracts_into_effect(
    postgres: StackSettings, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str
) -> None:
    root = tmp_path / "root"
    for folder in ("transformations", "data-quality/contracts"):
        shutil.copytree(repository / folder, root / folder, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copy(repository / ".env.example", root)
    for name, value in {
        "DP_ROOT": str(root),
        "DP_HOME": str(tmp_path / "home"),
        "POSTGRES_PORT": str(postgres.postgres_port),
        "METADATA_PORT": "9",  # nobody there: the catalog is told later
    }.items():
        monkeypatch.setenv(name, value)
    sources = root / "transformations" / "models" / "staging" / "_sources.yml"
    before = sources.read_text()
    assert infer(sample).exit_code == 0
    done = contract("sync", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sources_written"] is True
    assert {item["dataset"]: item["action"] for item in told["datasets"]}["accounts"] == "waiting"
    assert sources.read_text() != before
    assert "accounts" in sources.read_text()
    with psycopg.connect(postgres.dsn("loader")) as connection:
        assert connection.execute("SELECT count(*) FROM staging.accounts").fetchone() == (0,)

    # A broken file is told of, and takes nobody's source away.
    (root / "data-quality" / "contracts" / "shop" / "accounts.odcs.yaml").write_text("a: [1")
    written = sources.read_text()
    done = contract("sync")
    assert done.exit_code == 1
    assert "accounts.odcs.yaml" in done.stderr.replace("\n", "")
    assert sources.read_text() == written
    with psycopg.connect(postgres.dsn("loader"), autocommit=True) as connection:
        for table in ("accounts", "customers", "products", "sales", "orders", "campaigns"):
            connection.execute(f"DROP TABLE staging.{table}")  # type: ignore[call-overload]
        connection.execute("DROP TABLE audit.contracts, audit.rejected_rows, audit.file_ingestion_log CASCADE")
