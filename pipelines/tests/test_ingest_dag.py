"""`ingest__sales` from the bucket to the table, by Airflow: rows, ledger, object moves, branches, asset events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from data_quality.contract import load_contract
from dataplatform_cli.settings import StackSettings
from pipelines.ingestion import core
from pipelines.ingestion.generator import write_sample
from pipelines.ingestion.objects import ObjectStore

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

    from pipelines.tests.conftest import Run

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean_warehouse")]

HEADER = "sale_id,sale_date,customer_id,product_id,product_category,quantity,unit_price,total_amount,region,updated_at"
BRANCHES = ("batch.validation_failed[0]", "batch.processing_failed[0]", "batch.loading_failed[0]")
Query = Callable[..., list[tuple[Any, ...]]]


def sale(number: int, *, quantity: int = 2, updated: str = "2026-01-02 10:00:00", day: str = "2026-01-02") -> str:
    return f"D{number},{day},C{number},P1,Toys,{quantity},10.00,{quantity}0.00,North,{updated}"


def csv(*rows: str) -> bytes:
    return ("\n".join([HEADER, *rows]) + "\n").encode()


@pytest.fixture
def dag(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["ingest__sales"]


@pytest.fixture
def put(store: ObjectStore) -> Callable[[str, bytes], str]:
    def upload(name: str, content: bytes) -> str:
        store.client.put_object(Bucket="raw", Key=f"sales/incoming/{name}", Body=content)
        return f"s3://raw/sales/incoming/{name}"

    return upload


@pytest.fixture
def take_in(store: ObjectStore, postgres: StackSettings, contracts: Path) -> Callable[[], None]:
    """A function that takes in what waits, without Airflow: it is quicker, where a run is not what is tested."""

    def ingest() -> None:
        contract = load_contract(contracts / "sales.odcs.yaml")
        core.ingest_batch(core.discover(store, contract), contract, postgres.dsn("loader"), store)

    return ingest


def objects(store: ObjectStore, prefix: str = "sales/") -> list[str]:
    """Return the keys in the raw bucket with their day taken out."""
    keys = [entry.uri.removeprefix("s3://raw/") for entry in store.list("raw", prefix)]
    return ["/".join(part for part in key.split("/") if not part.startswith("dt=")) for key in keys]


def ledger(query: Query, name: str) -> dict[str, Any]:
    columns = ("status", "stage", "error", "rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted",
               "rows_updated", "rows_unchanged", "run_id", "moved_to")  # fmt: skip
    (row,) = query(
        f"SELECT {', '.join(columns)} FROM audit.file_ingestion_log WHERE path LIKE '%/{name}' ORDER BY id DESC LIMIT 1"
    )
    return dict(zip(columns, row, strict=True))


def test_the_sample_ends_as_its_manifest_says(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, query: Query, put: Any, tmp_path: Path
) -> None:
    manifest = write_sample(tmp_path, days=5)
    files = manifest.of("sales")
    for file in files:
        put(file.name, (tmp_path / file.name).read_bytes())
    done = run(dag)

    failed = {file.stage for file in files if file.status == "failed"}
    assert done.state == "success"
    assert done.states == {
        "discover": "success",
        "batch.ingest[0]": "success",
        **{f"batch.{stage}_failed[0]": "success" if stage in failed else "skipped"
           for stage in ("validation", "processing", "loading")},
        "publish": "success",
    }  # fmt: skip
    assert done.asset_events == ["staging.sales"]

    for file in files:
        entry = ledger(query, file.name)
        for name in ("status", "stage", "rows_read", "rows_rejected", "rows_deduplicated", "rows_inserted",
                     "rows_updated", "rows_unchanged"):  # fmt: skip
            assert entry[name] == getattr(file, name), (file.name, name, entry)
        assert entry["run_id"] == done.dag_run.run_id
        folder = f"failed/{file.stage}_failed" if file.stage else "processed"
        assert f"sales/{folder}/{file.name}" in objects(store)
    assert objects(store, "sales/incoming/") == []

    totals = manifest.totals
    assert query("SELECT count(*), sum(total_amount)::text, count(DISTINCT customer_id) FROM staging.sales") == [
        (totals["rows"], totals["revenue"], totals["customers"])
    ]
    by_category = dict(query("SELECT product_category, sum(total_amount) FROM staging.sales GROUP BY 1"))
    assert by_category == {name: Decimal(value) for name, value in totals["revenue_by_category"].items()}
    rejected = Counter(
        {
            (path.rpartition("/")[2], rule): count
            for path, rule, count in query(
                "SELECT path, column_name || ': ' || rule, count(*) FROM audit.rejected_rows GROUP BY 1, 2"
            )
        }
    )
    assert rejected == Counter(
        {(file.name, rule): count for file in files for rule, count in file.rejected_by_rule.items()}
    )


def test_nothing_waiting_skips_every_task(dag: DAG, run: Callable[[DAG], Run]) -> None:
    done = run(dag)
    assert done.state == "success"
    assert set(done.states.values()) == {"skipped"}
    assert done.asset_events == []


def test_exact_rows_and_every_branch(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, query: Query, put: Any
) -> None:
    rows = [sale(number) for number in range(30)]
    put("b1_good.csv", csv(*rows, sale(3, quantity=5, updated="2026-01-03 00:00:00"), sale(99, day="2026-02-30")))
    put("b2_page.csv", b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>")
    put("b3_cut.csv.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 not a deflate stream")
    put("b4_lines.ndjson", json.dumps(dict(zip(HEADER.split(","), sale(50).split(","), strict=True))).encode())
    put("b5_mostly_bad.csv", csv(*rows[:2], *[sale(n, quantity=-1) for n in range(60, 70)]))
    done = run(dag)

    failed_stages = {ledger(query, name)["stage"] for name in ("b2_page.csv", "b3_cut.csv.gz", "b5_mostly_bad.csv")}
    assert done.state == "success"
    assert done.states["batch.validation_failed[0]"] == "success"
    assert done.states["batch.loading_failed[0]"] == "skipped"
    assert done.states["batch.processing_failed[0]"] == ("success" if "processing" in failed_stages else "skipped")
    assert done.result("publish") == {"files": 2, "rows_changed": 31}

    assert query(
        "SELECT sale_id, quantity, total_amount FROM staging.sales WHERE sale_id IN ('D2', 'D3') ORDER BY 1"
    ) == [
        ("D2", 2, Decimal("20.00")),
        ("D3", 5, Decimal("50.00")),
    ]
    assert query("SELECT count(*) FROM staging.sales WHERE sale_id ~ '^D[0-9]'") == [(31,)]
    good = ledger(query, "b1_good.csv")
    assert (good["rows_read"], good["rows_rejected"], good["rows_deduplicated"], good["rows_inserted"]) == (
        32,
        1,
        1,
        30,
    )
    assert query(
        "SELECT line, column_name, raw LIKE '%2026-02-30%' FROM audit.rejected_rows WHERE path LIKE '%/b1_good.csv'"
    ) == [(33, "sale_date", True)]
    assert "HTML" in ledger(query, "b2_page.csv")["error"]
    assert ledger(query, "b5_mostly_bad.csv")["rows_rejected"] == 10
    for name in ("b2_page.csv", "b3_cut.csv.gz", "b5_mostly_bad.csv"):
        entry = ledger(query, name)
        assert entry["status"] == "failed"
        assert f"sales/failed/{entry['stage']}_failed/{name}" in objects(store)
        assert entry["moved_to"].startswith(f"s3://raw/sales/failed/{entry['stage']}_failed/dt=")
    assert objects(store, "sales/incoming/") == []


def test_content_that_is_in_is_a_duplicate_and_wakes_nobody(
    dag: DAG, run: Callable[[DAG], Run], store: ObjectStore, query: Query, put: Any, take_in: Callable[[], None]
) -> None:
    content = csv(*[sale(number, quantity=7) for number in range(200, 205)])
    put("c1.csv", content)
    take_in()
    before = query("SELECT * FROM staging.sales ORDER BY sale_id")

    put("c2_renamed.csv", content)
    done = run(dag)
    assert done.state == "success"
    assert done.states["batch.ingest[0]"] == "success"
    assert done.states["publish"] == "skipped"
    assert [done.states[branch] for branch in BRANCHES] == ["skipped"] * 3
    assert done.asset_events == []
    assert ledger(query, "c2_renamed.csv")["status"] == "duplicate"
    assert query("SELECT * FROM staging.sales ORDER BY sale_id") == before
    assert "sales/processed/c2_renamed.csv" in objects(store)


def test_only_failed_files_load_nothing(dag: DAG, run: Callable[[DAG], Run], put: Any) -> None:
    put("d1.csv", b"<html><body>no</body></html>")
    done = run(dag)
    assert done.state == "success"
    assert [done.states[branch] for branch in BRANCHES] == ["success", "skipped", "skipped"]
    assert done.states["batch.ingest[0]"] == "success"
    assert done.states["publish"] == "skipped"
    assert done.asset_events == []


def test_a_table_that_refuses_is_a_failure_at_loading(
    dag: DAG, run: Callable[[DAG], Run], query: Query, put: Any, store: ObjectStore, take_in: Callable[[], None]
) -> None:
    put("e0.csv", csv(sale(299)))
    take_in()
    query("ALTER TABLE staging.sales ADD CONSTRAINT no_more CHECK (sale_id != 'D301')")
    put("e1_refused.csv", csv(sale(301)))
    put("e2_taken.csv", csv(sale(302)))
    try:
        done = run(dag)
    finally:
        query("ALTER TABLE staging.sales DROP CONSTRAINT no_more")
    assert done.state == "success"
    assert [done.states[branch] for branch in BRANCHES] == ["skipped", "skipped", "success"]
    assert done.result("publish") == {"files": 1, "rows_changed": 1}
    assert ledger(query, "e1_refused.csv")["stage"] == "loading"
    assert "no_more" in ledger(query, "e1_refused.csv")["error"]
    assert "sales/failed/loading_failed/e1_refused.csv" in objects(store)
    assert query("SELECT sale_id FROM staging.sales WHERE sale_id IN ('D301', 'D302')") == [("D302",)]


def test_publish_hears_of_every_batch(
    dag: DAG, run: Callable[[DAG], Run], put: Any, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = core.plan
    monkeypatch.setattr(core, "plan", lambda files, contract: plan(files, contract, max_files=2))
    for number in range(4):
        put(f"f{number}.csv", b"<html></html>" if number == 2 else csv(sale(400 + number)))
    done = run(dag)
    assert done.state == "success"
    assert [done.states[f"batch.ingest[{index}]"] for index in range(2)] == ["success"] * 2
    assert [done.states[f"batch.validation_failed[{index}]"] for index in range(2)] == ["skipped", "success"]
    assert [len(done.result("batch.ingest", index)) for index in range(2)] == [2, 2]
    assert done.result("publish") == {"files": 3, "rows_changed": 3}
    assert query("SELECT sale_id FROM staging.sales WHERE sale_id LIKE 'D40_' ORDER BY 1") == [
        ("D400",),
        ("D401",),
        ("D403",),
    ]


def test_failed_files_and_rejected_rows_are_taken_in_again(
    dag_bag: DagBag, run: Callable[..., Run], store: ObjectStore, query: Query, put: Any, take_in: Callable[[], None]
) -> None:
    put("g1.csv", csv(*[sale(number) for number in range(500, 530)], sale(530, day="2026-02-30")))
    put("g2.csv", b"<html></html>")
    take_in()
    assert "sales/failed/validation_failed/g2.csv" in objects(store)
    done = run(dag_bag.dags["maintain__reprocess_failed"], dataset="sales", match="g*")
    assert done.states == {"failed_files": "success", "rejected_rows": "success"}
    assert done.result("failed_files") == ["s3://raw/sales/incoming/g2.csv"]
    [again] = done.result("rejected_rows")
    assert (again["rows_read"], again["rows_rejected"]) == (1, 1)  # nothing was mended
    assert query(f"SELECT path FROM audit.file_ingestion_log WHERE id = {again['replay_of']}") == [
        ("s3://raw/sales/incoming/g1.csv",)
    ]
    done = run(dag_bag.dags["maintain__reprocess_failed"], dataset="sales", match="none", rejected=False)
    assert done.states == {"failed_files": "skipped", "rejected_rows": "skipped"}
