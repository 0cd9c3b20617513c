"""Real data by an inferred contract alone: 305 daily files of a shop, dropped into the bucket of the running platform.

The files are third-party and not in the repository. They are read from `$DP_TEST_DATA/data/online_retail` (default: a
folder `shared` beside the checkout), as published by the UCI Machine Learning Repository ("Online Retail").
"""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 600


@pytest.fixture(scope="session")
def data(repository: Path) -> Path:
    folder = Path(os.environ.get("DP_TEST_DATA", repository.parent / "shared")) / "data" / "online_retail"
    if not folder.is_dir():
        pytest.skip(f"the data set Online Retail is not at {folder}: set DP_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def loaded(platform: Any, data: Path) -> list[tuple[Any, ...]]:
    """Infer the contract, put the files, and wait until the ledger has them all. Returns the ledger's rows."""
    files = sorted((data / "by-day").glob("*.csv.gz"))
    assert len(files) == 305
    options = ("--domain", "retail", "--dataset", "online_retail", "--owner", "retail-analytics")
    inferred = platform.dp("contract", "infer", *map(str, files), *options)
    assert inferred.returncode == 0, inferred.stderr
    for path in files:
        platform.s3.upload_file(str(path), "raw", f"online_retail/incoming/{path.name}")
    query = """
        SELECT status, rows_read, rows_rejected, rows_deduplicated, rows_inserted, rows_updated, rows_unchanged
        FROM audit.file_ingestion_log WHERE dataset = 'online_retail'
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(rows := platform.rows(query)) < len(files):
        assert time.monotonic() < deadline, f"{len(rows)} of {len(files)} files were taken in"
        time.sleep(2)
    return list(rows)


@pytest.fixture(scope="session")
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "golden.json").read_text())
    return found


def test_every_row_is_accounted_for(loaded: list[tuple[Any, ...]], golden: dict[str, Any]) -> None:
    assert {row[0] for row in loaded} == {"succeeded"}
    read, rejected, deduplicated, inserted, updated, unchanged = (sum(row[n] for row in loaded) for n in range(1, 7))
    assert (read, inserted) == (golden["rows"], golden["rows"])
    assert (rejected, deduplicated, updated, unchanged) == (0, 0, 0, 0)


def test_the_figures_are_the_published_ones(
    platform: Any, loaded: list[tuple[Any, ...]], golden: dict[str, Any]
) -> None:
    months = platform.rows(
        "SELECT to_char(invoice_date, 'YYYY-MM'), sum(quantity * unit_price) FROM staging.online_retail GROUP BY 1"
    )
    answer = golden["aggregates"]["revenue_by_month"]["answer"]
    assert {month: round(value, 3) for month, value in months} == {
        month: round(Decimal(str(value)), 3) for month, value in answer.items()
    }
    countries = platform.rows(
        "SELECT country, sum(quantity) FROM staging.online_retail GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
    )
    assert dict(countries) == golden["aggregates"]["quantity_top10_countries"]["answer"]
    cancelled = platform.rows(
        "SELECT to_char(invoice_date, 'YYYY-MM'), count(*) FROM staging.online_retail"
        " WHERE invoice_no LIKE 'C%' GROUP BY 1"
    )
    assert dict(cancelled) == golden["aggregates"]["cancellations_by_month"]["answer"]
    nulls = platform.rows(
        "SELECT count(*) FILTER (WHERE description IS NULL), count(*) FILTER (WHERE customer_id IS NULL),"
        " count(*) FILTER (WHERE quantity < 0), count(*) FILTER (WHERE unit_price = 0)"
        " FROM staging.online_retail"
    )
    expected = golden["null_counts"]
    assert nulls == [
        (expected["Description"], expected["CustomerID"], golden["rows_negative_quantity"], golden["rows_zero_price"])
    ]


def test_the_dropped_contract_is_in_the_catalog(platform: Any, loaded: list[tuple[Any, ...]]) -> None:
    import httpx

    with httpx.Client(base_url=platform.settings.metadata_url) as http:
        found = http.get("/datasets", params={"q": "staging.online_retail"}).json()["items"]
    table = next(item for item in found if item["name"] == "warehouse.staging.online_retail")
    assert {column["name"] for column in table["schema"]} >= {"invoice_no", "unit_price", "customer_id"}
    assert "retail-analytics" in table["owner"]
