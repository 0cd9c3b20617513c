"""The platform's operators and sensors: `from pipelines.operators import MinIOUploadOperator`.

They are imported when asked for, so that a DAG file pays for what it uses only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.operators.dbt import DbtBuildOperator, DbtModelOperator
    from pipelines.operators.ingestion import (
        DiscoverFilesOperator,
        FailedFilesOperator,
        IngestFilesOperator,
    )
    from pipelines.operators.minio import MinIOFileSensorOperator, MinIOUploadOperator
    from pipelines.operators.postgres import PostgresTableSensorOperator
    from pipelines.operators.publishing import ExportCuratedOperator, HoldBackOperator, PublishOperator
    from pipelines.operators.quality import DataQualityCheckOperator, GreatExpectationsOperator, MonitorOperator
    from pipelines.operators.replay import PutBackFailedFilesOperator, ReplayRejectedRowsOperator

__all__ = [
    "DataQualityCheckOperator",
    "DbtBuildOperator",
    "DbtModelOperator",
    "DiscoverFilesOperator",
    "ExportCuratedOperator",
    "FailedFilesOperator",
    "GreatExpectationsOperator",
    "HoldBackOperator",
    "IngestFilesOperator",
    "MinIOFileSensorOperator",
    "MinIOUploadOperator",
    "MonitorOperator",
    "PostgresTableSensorOperator",
    "PublishOperator",
    "PutBackFailedFilesOperator",
    "ReplayRejectedRowsOperator",
]

_MODULES = {
    "DbtBuildOperator": "dbt",
    "DbtModelOperator": "dbt",
    "PublishOperator": "publishing",
    "HoldBackOperator": "publishing",
    "ExportCuratedOperator": "publishing",
    "DiscoverFilesOperator": "ingestion",
    "IngestFilesOperator": "ingestion",
    "FailedFilesOperator": "ingestion",
    "MinIOFileSensorOperator": "minio",
    "MinIOUploadOperator": "minio",
    "PostgresTableSensorOperator": "postgres",
    "PutBackFailedFilesOperator": "replay",
    "ReplayRejectedRowsOperator": "replay",
    "DataQualityCheckOperator": "quality",
    "GreatExpectationsOperator": "quality",
    "MonitorOperator": "quality",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
