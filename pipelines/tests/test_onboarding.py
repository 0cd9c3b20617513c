"""A contract dropped into its folder, and nothing else done: table, catalog entry, DAG, dbt source, checks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from data_quality.contract import load_contract, load_contracts
from dataplatform_cli.settings import StackSettings
from pipelines import sources
from pipelines.ingestion.inference import infer

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

    from pipelines.ingestion.objects import ObjectStore
    from pipelines.tests.conftest import MetadataService, Run

ROWS = "MemberNo,E-Mail,Joined,Fee\n" + "".join(
    f"M{number:04d},m{number}@example.com,2026-01-{number % 28 + 1:02d},{number}.50\n" for number in range(150)
)
Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def members(contracts: Path, tmp_path: Path) -> Iterator[Path]:
    """An inferred contract among the shipped ones."""
    sample = tmp_path / "members.csv"
    sample.write_text(ROWS)
    path = contracts / "members.odcs.yaml"
    path.write_text(infer([sample], domain="club", dataset="members", owner="club-office").text)
    yield path
    path.unlink(missing_ok=True)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    data = yaml.safe_load(path.read_text())
    edit(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


@pytest.mark.integration
def test_a_dropped_contract_comes_into_effect(
    clean_warehouse: None,
    members: Path,
    dag_bag: DagBag,
    run: Callable[[DAG], Run],
    query: Query,
    metadata: MetadataService,
    airflow: StackSettings,
    store: ObjectStore,
) -> None:
    from pipelines.factory import ingest_dags

    sync = dag_bag.dags["maintain__contracts"]
    done = run(sync)
    assert done.state == "success"
    assert done.result("sync") == {"new": 6}
    columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'members'"
    assert {("member_no", "text"), ("fee", "numeric"), ("joined", "date")} <= set(query(columns))

    warehouse = f"postgres://127.0.0.1:{airflow.postgres_port}"
    places = [("s3://raw", "members"), ("s3://staging", "members"), (warehouse, "warehouse.staging.members")]

    def catalog() -> list[dict[str, Any]]:
        return [metadata.dataset(namespace, name) for namespace, name in places]

    def tagged(entry: dict[str, Any]) -> dict[str, list[str]]:
        return {column["name"]: column["tags"] for column in entry["schema"] if column["tags"]}

    entered = catalog()
    for entry in entered:
        assert (entry["owner"], entry["domain"], "club" in entry["tags"]) == ("club-office", "club", True)
    # Files spell a column otherwise than the table; the mark is at the column in both.
    assert [tagged(entry) for entry in entered] == [
        {"E-Mail": ["pii", "email"]},
        {"e_mail": ["pii", "email"]},
        {"e_mail": ["pii", "email"]},
    ]

    # A first file changes nothing of it.
    store.client.put_object(Bucket="raw", Key="members/incoming/a.csv", Body=ROWS.encode())
    ingest = next(dag for dag in ingest_dags(members.parent) if dag.dag_id == "ingest__members")
    assert run(ingest).state == "success"
    assert query("SELECT count(*) FROM staging.members") == [(150,)]
    assert [tagged(entry) for entry in catalog()] == [tagged(entry) for entry in entered]

    assert run(sync).result("sync") == {"unchanged": 6}
    change(
        members,
        lambda data: data["schema"][0]["properties"].append(
            {"name": "club", "logicalType": "string", "description": "Which club."}
        ),
    )
    assert run(sync).result("sync") == {"unchanged": 5, "changed": 1}
    assert ("club", "text") in query(columns)
    assert catalog()[2]["schema"][4]["description"] == "Which club."

    change(
        members, lambda data: data["schema"][0]["properties"][3].update(physicalType="integer", logicalType="integer")
    )
    assert run(sync).state == "failed"
    assert query("SELECT count(*) FROM audit.contracts WHERE removed_at IS NULL") == [(6,)]

    text = members.read_text()
    members.write_text(text.replace("domain:", "doman:"))  # broken is not removed
    assert run(sync).result("sync") == {"unchanged": 5}
    members.unlink()
    assert run(sync).result("sync") == {"unchanged": 5, "removed": 1}
    assert query("SELECT count(*) FROM staging.members") == [(150,)]


@pytest.mark.integration
def test_the_catalog_is_told_later_where_the_service_is_away(
    clean_warehouse: None, dag_bag: DagBag, run: Callable[[DAG], Run], query: Query, metadata: MetadataService
) -> None:
    sync = dag_bag.dags["maintain__contracts"]
    query("DROP TABLE IF EXISTS audit.contracts")
    metadata.stop()
    try:
        assert run(sync).result("sync") == {"waiting": 5}
    finally:
        metadata.start()
    assert query("SELECT to_regclass('staging.customers') IS NOT NULL") == [(True,)]
    assert run(sync).result("sync") == {"new": 5}
    assert metadata.get("/datasets", q="staging.customers")["items"][0]["owner"] == "customer-care"


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A copy of the dbt project."""
    copy = tmp_path / "transformations"
    shutil.copytree(repository / "transformations", copy, ignore=shutil.ignore_patterns("target", "logs"))
    return copy


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A copy of the contracts."""
    copy = tmp_path / "contracts"
    shutil.copytree(repository / "data-quality" / "contracts", copy)
    return copy


def test_sources_are_written_once(project: Path, folder: Path) -> None:
    contracts = load_contracts(folder)
    assert not sources.write_sources(contracts, project)
    (project / sources.FILE).write_text("version: 2\n")
    assert sources.write_sources(contracts, project)
    assert (project / sources.FILE).read_text() == sources.dbt_sources(contracts)
    assert [path.name for path in (project / sources.FILE).parent.glob(".*")] == []


def test_a_build_with_other_contracts_is_of_a_copy(project: Path, folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert sources.current_project(load_contracts(folder), project, work) == project
    before = (project / sources.FILE).read_text()
    (folder / "marketing" / "campaigns.odcs.yaml").unlink()
    copy = sources.current_project(load_contracts(folder), project, work)
    assert copy != project
    assert "marketing" not in (copy / sources.FILE).read_text()
    assert (copy / "dbt_project.yml").exists()
    assert (project / sources.FILE).read_text() == before
    # A broken contract is no removed one: the sources stay as they last were.
    (folder / "sales" / "sales.odcs.yaml").write_text("a: [1\n")
    again = sources.current_project(load_contracts(folder), project, work)
    assert "stg" not in (again / sources.FILE).read_text()
    assert yaml.safe_load((again / sources.FILE).read_text())["sources"][0]["tables"][-1]["name"] == "sales"


def test_sources_say_what_the_contract_does(folder: Path) -> None:
    path = folder / "sales" / "customers.odcs.yaml"

    def table() -> dict[str, Any]:
        (source,) = yaml.safe_load(sources.dbt_sources([load_contract(path)]))["sources"]
        assert (source["name"], source["schema"]) == ("sales_east", "staging")
        found: dict[str, Any] = source["tables"][0]
        return found

    change(path, lambda data: data.update(domain="Sales & East"))
    made = table()
    assert made["freshness"] == {"warn_after": {"count": 1440, "period": "hour"}}
    assert made["loaded_at_field"] == "updated_at"
    key, name, *_ = made["columns"]
    assert key["config"] == {"tags": ["pii"]}
    assert "data_tests" not in name
    # A history has several rows of a key; what looks like a template in a description is none.
    change(path, lambda data: data["customProperties"][0]["value"].update(write="scd2"))
    change(path, lambda data: data["schema"][0]["properties"][1].update(description="Use {{ name }}."))
    key, name, *_ = table()["columns"]
    assert name["description"] == "{% raw %}Use {{ name }}.{% endraw %}"


def test_a_build_waits_only_for_tables_that_models_read(project: Path) -> None:
    read = sources.read_tables(project)
    assert read == ["campaigns", "customers", "orders", "products", "sales"]
    (project / "models" / "staging" / "stg_marketing__campaigns.sql").unlink()
    assert "campaigns" not in sources.read_tables(project)
