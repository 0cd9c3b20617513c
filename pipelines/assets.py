"""The assets that start DAGs: one for each folder of arriving files, each staging table, and the curated layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetWatcher

from pipelines.triggers.objects import ObjectArrivalTrigger
from pipelines.utils.connections import MINIO
from pipelines.utils.naming import staging_uri

if TYPE_CHECKING:
    from data_quality.contract import Contract

RAW_BUCKET = "raw"

CURATED = Asset(name="curated", uri="warehouse://curated", group="curated")
"""The curated layer, after a build."""


def arriving_files(contract: Contract) -> Asset:
    """Return the asset of a dataset's incoming folder. It is updated within seconds of a file's arrival."""
    prefix = f"{contract.name}/incoming/"
    trigger = ObjectArrivalTrigger(bucket=RAW_BUCKET, prefix=prefix, conn_id=MINIO)
    watcher = AssetWatcher(name=f"{contract.name}-arrivals", trigger=trigger)
    return Asset(
        name=f"{RAW_BUCKET}/{contract.name}", uri=f"s3://{RAW_BUCKET}/{prefix}", group="raw", watchers=[watcher]
    )


def staging_table(table: str) -> Asset:
    """Return the asset of a table in the schema staging."""
    return Asset(name=f"staging.{table}", uri=staging_uri(table), group="staging")
