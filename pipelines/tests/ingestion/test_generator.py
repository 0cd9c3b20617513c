"""The sample is the same for the same seed, and ingestion makes of it exactly what its manifest says."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pytest

from data_quality.contract import Contract, load_contracts
from pipelines.ingestion import core
from pipelines.ingestion.generator import DATASETS, Manifest, write_sample

END = dt.date(2026, 6, 30)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_same_seed_same_files(tmp_path: Path):
    first = write_sample(tmp_path / "a", days=20, seed=3, end=END)
    second = write_sample(tmp_path / "b", days=20, seed=3, end=END)
    assert first == second == Manifest.read(tmp_path / "a" / "manifest.json")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert write_sample(tmp_path / "c", days=20, seed=4, end=END) != first


def test_names_sort_in_order_of_ingestion(tmp_path: Path):
    manifest = write_sample(tmp_path, days=90, end=END)
    for dataset in DATASETS:
        names = [file.name for file in manifest.of(dataset)]
        assert names == sorted(names)
    assert {dataset: len(manifest.of(dataset)) for dataset in DATASETS} == {
        "customers": 3, "products": 2, "sales": 14, "orders": 7, "campaigns": 2,
    }  # fmt: skip
    assert sum(len(manifest.of(dataset)) for dataset in DATASETS) == len(manifest.files)


def test_every_format_and_packing_is_there(tmp_path: Path):
    write_sample(tmp_path, days=90, end=END)
    endings = {path.name.split(".", 1)[1] for path in tmp_path.iterdir()}
    assert {"csv", "csv.gz", "json", "ndjson.gz", "ndjson.zst", "parquet"} <= endings


@pytest.fixture(scope="module")
def contracts(repository: Path) -> dict[str, Contract]:
    return {contract.name: contract for contract in load_contracts(repository / "data-quality/contracts")}


@pytest.mark.integration
@pytest.mark.parametrize("days", [90, 1])
def test_ingestion_makes_of_it_what_the_manifest_says(days, tmp_path, contracts, empty_database, rows):
    manifest = write_sample(tmp_path, days=days, seed=7, end=END)
    for file in manifest.files:
        outcome = core.ingest_file(str(tmp_path / file.name), contracts[file.dataset], empty_database)
        found = {name: getattr(outcome, name) for name in file.__dataclass_fields__ if hasattr(outcome, name)}
        expected = {name: getattr(file, name) for name in found}
        assert (found, outcome.rejects_by_rule) == (expected, file.rejected_by_rule), f"{file.name}: {outcome.error}"
    totals = rows("SELECT count(*), count(DISTINCT customer_id), sum(total_amount)::text FROM staging.sales")
    assert totals == [(manifest.totals["rows"], manifest.totals["customers"], manifest.totals["revenue"])]
    by_category = rows("SELECT product_category, sum(total_amount)::text FROM staging.sales GROUP BY 1 ORDER BY 1")
    assert manifest.totals["revenue_by_category"].items() >= dict(by_category).items()
    assert {dataset: rows(f"SELECT count(*) FROM staging.{dataset}")[0][0] for dataset in DATASETS} == manifest.tables
    ledger = (
        "SELECT bool_and(rows_read = rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged)"
    )
    assert rows(f"{ledger} FROM audit.file_ingestion_log") == [(True,)]
    for dataset, column, parent in (
        ("sales", "customer_id", "customers"),
        ("sales", "product_id", "products"),
        ("orders", "customer_id", "customers"),
    ):
        orphans = (
            f"SELECT count(*) FROM staging.{dataset} AS c WHERE {column} IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM staging.{parent} AS p WHERE p.{column} = c.{column})"
        )
        assert rows(orphans) == [(0,)], f"{dataset}.{column} names what {parent} does not have"
    assert rows(
        "SELECT count(*) FROM staging.sales AS s JOIN staging.products AS p USING (product_id)"
        " WHERE s.product_category <> p.category"
    ) == [(0,)]
