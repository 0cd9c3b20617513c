"""Fixtures of the ingestion tests: a contract to bend, a database, a store with its own dataset folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from data_quality.contract import Contract, load_contract
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3 as s3_server
from pipelines.ingestion.objects import ObjectStore

MakeContract = Callable[..., Contract]

COLUMNS = [
    {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
    {"name": "day", "logicalType": "date"},
    {"name": "amount", "logicalType": "number", "physicalType": "numeric(12,2)"},
    {"name": "count", "logicalType": "integer"},
    {"name": "changed", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
]


def document(name: str, columns: list[dict[str, Any]], ingest: dict[str, Any]) -> dict[str, Any]:
    """Return a contract as data."""
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": name,
        "version": "1.0.0",
        "status": "active",
        "domain": "test",
        "team": {"name": "tests"},
        "schema": [{"name": name, "logicalType": "object", "properties": columns}],
        "customProperties": [{"property": "ingest", "value": ingest}],
    }


@pytest.fixture
def make_contract(tmp_path: Path) -> MakeContract:
    """Return a function that makes the test's contract with other columns or ingest options."""

    def make(fields: list[dict[str, Any]] | None = None, name: str = "things", **ingest: Any) -> Contract:
        options = {"rejects": {"max_percent": 100}} | ({"order_by": "changed"} if fields is None else {}) | ingest
        path = tmp_path / f"{name}.odcs.yaml"
        path.write_text(yaml.safe_dump(document(name, fields or COLUMNS, options), sort_keys=False))
        return load_contract(path)

    return make


@pytest.fixture
def store(s3: StackSettings) -> ObjectStore:
    """The real object store."""
    return ObjectStore(s3_server.client(s3))


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """A dataset name of the test's own, since tests share the buckets."""
    return f"d{abs(hash((request.node.nodeid, os.getpid()))) % 10**10}"


@pytest.fixture
def rows(empty_database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Return a function that reads rows from the test's database."""

    def read(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(empty_database) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    return read
