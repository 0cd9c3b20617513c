"""The events name datasets by the rules and carry what the contract and the outcomes say."""

from __future__ import annotations

import json

from openlineage.client.serde import Serde

from data_quality.contract import load_contract
from pipelines.ingestion.lineage import lineage_event
from pipelines.ingestion.model import FileOutcome

RUN = "01890000-0000-7000-8000-000000000000"


def event(state, repository, outcomes):
    contract = load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")
    made = lineage_event(
        state,
        contract,
        outcomes,
        run_id=RUN,
        job="ingest__sales.load",
        job_namespace="dataplatform",
        warehouse_namespace="postgres://db:5432",
    )
    return json.loads(Serde.to_json(made))


def test_complete_names_datasets_rows_and_columns(repository):
    files = [
        FileOutcome("s3://raw/sales/incoming/a.csv", "sales", "succeeded", rows_read=10, rows_rejected=1,
                    rows_inserted=6, rows_updated=2, rows_unchanged=1, size=100),
        FileOutcome("s3://raw/sales/incoming/b.csv", "sales", "failed", "validation", "is an HTML page", size=5),
    ]  # fmt: skip
    made = event("COMPLETE", repository, files)
    [raw], [staged, table] = made["inputs"], made["outputs"]
    assert (raw["namespace"], raw["name"]) == ("s3://raw", "sales")
    assert (staged["namespace"], staged["name"]) == ("s3://staging", "sales")
    assert (table["namespace"], table["name"]) == ("postgres://db:5432", "warehouse.staging.sales")
    assert raw["inputFacets"]["subset"]["inputCondition"]["locations"] == [file.path for file in files]
    assert raw["inputFacets"]["inputStatistics"]["rowCount"] == 10
    assert staged["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assert table["outputFacets"]["outputStatistics"]["rowCount"] == 8
    lineage = table["facets"]["columnLineage"]["fields"]["unit_price"]["inputFields"][0]
    assert (lineage["namespace"], lineage["name"], lineage["field"]) == ("s3://raw", "sales", "unit_price")
    assert {"name": "sale_date", "type": "date"}.items() <= table["facets"]["schema"]["fields"][1].items()
    pii = [tag["field"] for tag in table["facets"]["tags"]["tags"] if tag["key"] == "pii"]
    assert pii == ["customer_id"]
    assert table["facets"]["ownership"]["owners"][0]["name"] == "sales-analytics"
    assert made["run"]["runId"] == RUN


def test_fail_says_why(repository):
    bad = FileOutcome("s3://raw/sales/incoming/b.csv", "sales", "failed", "validation", "is an HTML page")
    made = event("FAIL", repository, [bad])
    assert "is an HTML page" in made["run"]["facets"]["errorMessage"]["message"]
    assert event("START", repository, [])["eventType"] == "START"
