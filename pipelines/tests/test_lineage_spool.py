"""Lineage while the metadata service is away: no run fails for it, nothing is lost, and it is delivered afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from data_lineage_hub_sdk import spool
from dataplatform_cli.settings import StackSettings

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

    from pipelines.tests.conftest import MetadataService, Run

pytestmark = pytest.mark.integration


@pytest.fixture
def waiting(airflow: StackSettings) -> Path:
    """The folder of events that wait, without what other tests may have left."""
    folder = airflow.home / "lineage-spool"
    spool.drain(folder, airflow.metadata_url, "test-key")
    assert spool.pending(folder) == 0
    return folder


@pytest.fixture
def service_away(metadata: MetadataService) -> Iterator[MetadataService]:
    """The metadata service, stopped; running again after the test."""
    metadata.stop()
    yield metadata
    if not metadata.is_running:
        metadata.start()


def test_nothing_waits(dag_bag: DagBag, run: Callable[[DAG], Run], waiting: Path, metadata: MetadataService) -> None:
    before = metadata.get("/runs")["total"]
    done = run(dag_bag.dags["maintain__lineage_spool"])
    assert done.state == "success"
    assert done.states == {"deliver": "skipped"}
    # Every five minutes: it leaves no lineage of its own.
    assert metadata.get("/runs")["total"] == before
    assert spool.pending(waiting) == 0


def test_a_run_without_the_service_and_its_delivery(
    dag_bag: DagBag, run: Callable[[DAG], Run], waiting: Path, service_away: MetadataService, store: object
) -> None:
    upload, deliver = make_upload(), dag_bag.dags["maintain__lineage_spool"]
    done = run(upload)
    assert done.state == "success"
    written = spool.pending(waiting)
    assert written >= 2  # the task's start and end at least

    still_away = run(deliver)
    assert still_away.state == "success"
    assert still_away.states == {"deliver": "skipped"}
    assert spool.pending(waiting) >= written

    service_away.start()
    delivered = run(deliver)
    assert delivered.states == {"deliver": "success"}
    assert delivered.result("deliver")["left"] == 0
    assert delivered.result("deliver")["rejected"] == 0
    assert delivered.result("deliver")["sent"] >= written
    assert service_away.get(f"/runs/{done.lineage_id('put')}")["state"] == "COMPLETED"
    assert service_away.dataset("s3://curated", "spooled/by-a-run")


def make_upload() -> DAG:
    from airflow.sdk import DAG

    from pipelines.operators import MinIOUploadOperator

    with DAG("upload_without_the_service", schedule=None) as dag:
        MinIOUploadOperator(task_id="put", bucket="curated", key="spooled/by-a-run", data="x")
    return dag
