"""The sample is the same for the same seed, and ingestion makes of it exactly what its manifest says."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pytest

from data_quality.contract import load_contract
from pipelines.ingestion import core
from pipelines.ingestion.generator import Manifest, write_sample

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
    names = [file.name for file in write_sample(tmp_path, days=90, end=END).files]
    assert names == sorted(names)
    assert len(names) == 14


@pytest.mark.integration
def test_ingestion_makes_of_it_what_the_manifest_says(tmp_path, repository, store, empty_database, rows):
    manifest = write_sample(tmp_path, days=90, seed=7, end=END)
    contract = load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")
    for file in manifest.files:
        path = tmp_path / file.name
        outcome = core.ingest_file(str(path), contract, empty_database)
        found = {name: getattr(outcome, name) for name in file.__dataclass_fields__ if hasattr(outcome, name)}
        expected = {name: getattr(file, name) for name in found}
        assert (found, outcome.rejects_by_rule) == (expected, file.rejected_by_rule), outcome.error
    totals = rows("SELECT count(*), count(DISTINCT customer_id), sum(total_amount)::text FROM staging.sales")
    assert totals == [(manifest.totals["rows"], manifest.totals["customers"], manifest.totals["revenue"])]
    by_category = rows("SELECT product_category, sum(total_amount)::text FROM staging.sales GROUP BY 1 ORDER BY 1")
    assert dict(by_category) == manifest.totals["revenue_by_category"]
    ledger = (
        "SELECT bool_and(rows_read = rows_rejected + rows_deduplicated + rows_inserted + rows_updated + rows_unchanged)"
    )
    assert rows(f"{ledger} FROM audit.file_ingestion_log") == [(True,)]
