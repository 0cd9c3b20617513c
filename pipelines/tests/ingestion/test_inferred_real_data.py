"""Real data by an inferred contract alone: 305 daily files of a shop, whose published figures must come out.

The files are third-party and not in the repository. They are read from `$DP_TEST_DATA/data/online_retail` (default: a
folder `shared` beside the checkout), as published by the UCI Machine Learning Repository ("Online Retail").
"""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data_quality.contract import Contract, load_contract
from pipelines.ingestion import core
from pipelines.ingestion.inference import infer
from pipelines.ingestion.model import FileOutcome

pytestmark = pytest.mark.integration

MONTHS = "SELECT to_char(invoice_date, 'YYYY-MM'), sum(quantity * unit_price) FROM staging.online_retail GROUP BY 1"


@pytest.fixture(scope="module")
def data(repository: Path) -> Path:
    folder = Path(os.environ.get("DP_TEST_DATA", repository.parent / "shared")) / "data" / "online_retail"
    if not folder.is_dir():
        pytest.skip(f"the data set Online Retail is not at {folder}: set DP_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="module")
def files(data: Path) -> list[Path]:
    return sorted((data / "by-day").glob("*.csv.gz"))


@pytest.fixture(scope="module")
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "golden.json").read_text())
    return found


def contract_from(files: list[Path], folder: Path) -> Contract:
    path = folder / "online_retail.odcs.yaml"
    path.write_text(infer(files, domain="retail", dataset="online_retail").text)
    return load_contract(path)


def ingest(files: list[Path], contract: Contract, dsn: str) -> list[FileOutcome]:
    with core.connected(dsn) as connection:
        outcomes = [core.ingest_file(str(path), contract, connection) for path in files]
    assert {outcome.status for outcome in outcomes} == {"succeeded"}, {outcome.error for outcome in outcomes}
    return outcomes


def total(outcomes: list[FileOutcome], name: str) -> int:
    return sum(getattr(outcome, name) for outcome in outcomes)


def test_a_contract_from_all_files_gives_the_published_figures(tmp_path, files, golden, empty_database, rows):
    contract = contract_from(files, tmp_path)
    outcomes = ingest(files, contract, empty_database)
    assert (total(outcomes, "rows_read"), total(outcomes, "rows_inserted")) == (golden["rows"], golden["rows"])
    aggregates = {name: entry["answer"] for name, entry in golden["aggregates"].items()}
    assert {month: round(value, 3) for month, value in rows(MONTHS)} == {
        month: round(Decimal(str(value)), 3) for month, value in aggregates["revenue_by_month"].items()
    }
    countries = "SELECT country, sum(quantity) FROM staging.online_retail GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
    assert dict(rows(countries)) == aggregates["quantity_top10_countries"]
    cancelled = (
        "SELECT to_char(invoice_date, 'YYYY-MM'), count(*) FROM staging.online_retail"
        " WHERE invoice_no LIKE 'C%' GROUP BY 1"
    )
    assert dict(rows(cancelled)) == aggregates["cancellations_by_month"]
    nulls = (
        "SELECT count(*) FILTER (WHERE description IS NULL), count(*) FILTER (WHERE customer_id IS NULL),"
        " count(*) FILTER (WHERE quantity < 0), count(*) FILTER (WHERE unit_price = 0),"
        " count(*) FILTER (WHERE unit_price < 0) FROM staging.online_retail"
    )
    expected = [golden["null_counts"][name] for name in ("Description", "CustomerID")]
    expected += [golden[f"rows_{name}"] for name in ("negative_quantity", "zero_price", "negative_price")]
    assert rows(nulls) == [tuple(expected)]


def test_a_contract_from_the_first_days_is_wide_enough_for_the_year(tmp_path, files, golden, empty_database, rows):
    """Only what the first days give every reason to forbid is rejected: two bookings of bad debt at negative prices."""
    contract = contract_from(files[:5], tmp_path)
    outcomes = ingest(files, contract, empty_database)
    rejected: Counter[str] = Counter()
    for outcome in outcomes:
        rejected.update(outcome.rejects_by_rule)
    assert rejected == {"unit_price: minimum": golden["rows_negative_price"]}
    assert total(outcomes, "rows_read") == golden["rows"]
    assert total(outcomes, "rows_inserted") == golden["rows"] - golden["rows_negative_price"]
    answer = golden["aggregates"]["revenue_by_month"]["answer"]
    apart = {month: round(value - Decimal(str(answer[month])), 3) for month, value in rows(MONTHS)}
    assert {month for month, difference in apart.items() if difference} == {"2011-08"}
