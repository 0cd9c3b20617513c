"""The service against its own OpenAPI document: whatever is asked, the answer is one that the document names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
import uvicorn
from hypothesis import strategies
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

pytestmark = pytest.mark.integration
KEY = {"Authorization": "Bearer test-key"}
CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@schemathesis.serializer("application/x-ndjson")
def json_lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def document(empty_database: str, free_port: Callable[[], int]) -> Iterator[schemathesis.BaseSchema]:
    """The document of a service that runs."""
    settings = ServiceSettings(api_key="test-key", database_url=empty_database)
    engine = make_engine(settings)
    migrate(engine)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, engine), host="127.0.0.1", port=port, log_level="critical")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def known(document: schemathesis.BaseSchema, real_events: list[dict[str, Any]]) -> dict[str, str]:
    """The parameters of things that the service knows: of a dataset with lineage, its job and run, a product."""
    with httpx.Client(base_url=str(document.location).removesuffix("/openapi.json"), headers=KEY, timeout=60) as client:
        assert client.post("/api/v1/lineage/batch", json=real_events).json()["status"] == "success"
        named = {"namespace": "food_delivery", "name": "public.delivery_7_days"}
        dataset = client.get("/datasets", params=named).json()["items"][0]
        job = client.get("/jobs", params={"q": "etl_delivery_7_days"}).json()["items"][0]
        run = client.get("/runs", params={"job_id": job["id"]}).json()["items"][0]
        product = {"name": "deliveries", "domain": "food", "owner": "us", "description": "All", "datasets": [named]}
        assert client.post("/register_product", json=product).status_code == 201
    return {
        "dataset_id": dataset["id"], "job_id": job["id"], "run_id": run["id"], "id": run["id"], "column": "order_id",
        "namespace": "food_delivery", "dataset": named["name"], "job": job["name"], "field": "order_id",
        "version": run["id"], "name": "deliveries", "nodeId": "dataset:food_delivery:public.delivery_7_days",
    }  # fmt: skip


SETTINGS = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


def cases(operation: schemathesis.APIOperation) -> strategies.SearchStrategy[schemathesis.Case]:
    """Requests as the document describes them, and such as it does not."""
    return operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)


def test_every_answer_is_a_documented_one(document: schemathesis.BaseSchema, known: dict[str, str]) -> None:
    faults: dict[str, str] = {}
    for result in document.get_all_operations():
        operation = result.ok()

        @SETTINGS
        @hypothesis.given(case=cases(operation), of_something=strategies.booleans())
        def check(case: schemathesis.Case, of_something: bool) -> None:
            if of_something and case.method != "DELETE":
                case.path_parameters |= {key: known[key] for key in case.path_parameters if key in known}
                if isinstance(case.query, dict) and "nodeId" in case.query:
                    case.query["nodeId"] = known["nodeId"]
            case.call_and_validate(headers=KEY, checks=CHECKS)

        try:
            check()
        except (AssertionError, BaseExceptionGroup) as error:
            faults[operation.label] = str(error)
    assert not faults, "\n\n".join(f"{label}: {fault}" for label, fault in faults.items())


def test_every_write_needs_a_key(document: schemathesis.BaseSchema) -> None:
    writes = 0
    for result in document.get_all_operations():
        operation = result.ok()
        if operation.method.upper() in ("GET", "HEAD"):
            continue
        writes += 1
        assert operation.definition.raw.get("security"), operation.label
        path = operation.path.replace("{", "").replace("}", "")
        assert operation.schema.location is not None
        answer = schemathesis.Case(operation=operation, method=operation.method.upper(), path=path).call()
        assert answer.status_code == 401, operation.label
    assert writes > 20
