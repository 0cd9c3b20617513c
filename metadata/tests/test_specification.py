"""OpenLineage's own schemas and examples: what they accept is taken and kept, what they refuse is refused.

Where the service differs on purpose, a test says so; the reasons stand in `metadata_service.openlineage`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from metadata_service.openlineage import read_event
from metadata_service.problems import ProblemError

DATA = Path(os.environ.get("DP_TEST_DATA", Path(__file__).parents[2].parent / "shared")) / "openlineage"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no OpenLineage test data in {DATA}: set DP_TEST_DATA"),
]
FACET_FILES = sorted((DATA / "spec" / "tests").glob("*/*.json"))
WHOLE_EVENTS = [
    DATA / "spec" / "tests" / "example_full_event.json",
    *sorted((DATA / "compat").rglob("*.json")),
    DATA / "marquez" / "metadata.rendered.json",
]
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
RUN_ID = "01941f29-7c00-7000-8000-000000000000"
BASE = {"eventTime": "2026-01-01T00:00:00Z", "producer": "https://example.org/p"}
SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def _run_event(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = BASE | {
        "schemaURL": SCHEMA_URL,
        "eventType": "COMPLETE",
        "run": {"runId": RUN_ID, "facets": {}},
        "job": {"namespace": "spec", "name": "job", "facets": {}},
        "inputs": [],
        "outputs": [],
    }
    return made | changes


def _place_of(file: Path) -> str:
    """Return where in an event the facets of an example belong."""
    name = file.parent.name
    if name == "LineageFacet":
        return "job" if "job" in file.stem or file.stem == "generator" else "dataset"
    for ending, place in (
        ("RunFacet", "run"),
        ("JobFacet", "job"),
        ("InputDatasetFacet", "input"),
        ("OutputDatasetFacet", "output"),
    ):
        if name.endswith(ending):
            return place
    return "dataset"


def _with_facets(place: str, facets: dict[str, Any]) -> dict[str, Any]:
    event = _run_event()
    dataset: dict[str, Any] = {"namespace": "spec", "name": "table"}
    if place in ("run", "job"):
        event[place]["facets"] = facets
    elif place == "input":
        event["inputs"] = [dataset | {"inputFacets": facets}]
    else:
        event["outputs"] = [dataset | {"facets" if place == "dataset" else "outputFacets": facets}]
    return event


def _schemas() -> Iterator[tuple[str, Resource[Any]]]:
    for file in [DATA / "spec" / "OpenLineage.json", *sorted((DATA / "spec" / "facets").glob("*.json"))]:
        content = json.loads(file.read_text())
        yield content["$id"], Resource.from_contents(content)


@pytest.fixture(scope="module")
def official() -> Draft202012Validator:
    """The official schema of an event."""
    registry: Registry[Any] = Registry().with_resources(_schemas())
    core = json.loads((DATA / "spec" / "OpenLineage.json").read_text())
    formats = FormatChecker(["uuid"])
    formats.checks("date-time")(lambda value: not isinstance(value, str) or bool(RFC_3339.fullmatch(value)))
    return Draft202012Validator(core, registry=registry, format_checker=formats)


def _takes(event: object) -> bool:
    try:
        read_event(json.dumps(event).encode())
    except ProblemError:
        return False
    return True


@pytest.mark.parametrize("file", FACET_FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_example_of_a_facet_is_taken_and_kept(api: TestClient, official: Draft202012Validator, file: Path) -> None:
    facets = {name: facet for name, facet in json.loads(file.read_text()).items() if isinstance(facet, dict)}
    if not facets:
        pytest.skip("no facet by itself: the file shows a part of one")
    place = _place_of(file)
    event = _with_facets(place, facets)
    assert official.is_valid(event)
    assert api.post("/api/v1/lineage", json=event).json() == {"status": "stored", "kind": "run"}
    run = api.get(f"/runs/{RUN_ID}").json()
    if place == "run":
        kept = run["facets"]
    elif place == "job":
        kept = api.get(f"/jobs/{run['job']['id']}").json()["facets"]
    elif place == "dataset":
        kept = api.get(f"/datasets/{run['outputs'][0]['dataset']['id']}").json()["facets"]
    else:
        kept = run[f"{place}s"][0]["facets"]
    assert kept == facets


@pytest.mark.parametrize("file", WHOLE_EVENTS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_whole_event_is_taken_and_kept(api: TestClient, file: Path) -> None:
    content = json.loads(file.read_text())
    events = content if isinstance(content, list) else [content]
    answer = api.post("/api/v1/lineage/batch", json=events).json()
    assert answer["summary"]["failed"] == 0, answer["failed_events"]
    with api.app.state.sessions() as session:  # type: ignore[attr-defined]
        from sqlalchemy import text

        stored = [row[0] for row in session.execute(text("SELECT payload FROM event"))]
        failed = session.execute(text("SELECT reason FROM event_failure")).all()
    assert all(event in stored for event in events)
    api.get("/datasets")  # waits until all of it is in the graph
    assert failed == []
    for event in events:
        for side in ("inputs", "outputs"):
            for dataset in event.get(side) or []:
                found = api.get("/datasets", params={key: dataset[key] for key in ("namespace", "name")}).json()
                assert found["total"] == 1


REFUSED: list[Any] = [
    {"eventTime": None},
    {"eventTime": "yesterday"},
    {"eventTime": 1},
    {"eventType": "DONE"},
    {"producer": None},
    {"producer": 1},
    {"run": None},
    {"run": {}},
    {"run": {"runId": 1}},
    {"run": {"runId": RUN_ID, "facets": []}},
    {"run": {"runId": RUN_ID, "facets": {"x": 1}}},
    {"job": None},
    {"job": {"namespace": "n"}},
    {"job": {"name": "n"}},
    {"job": {"namespace": 1, "name": "n"}},
    {"job": {"namespace": "n", "name": "n", "facets": {"x": "y"}}},
    {"inputs": {}},
    {"inputs": [None]},
    {"inputs": [{"namespace": "n"}]},
    {"outputs": [{"name": "n"}]},
    {"outputs": [{"namespace": "n", "name": "n", "facets": 1}]},
    {"outputs": [{"namespace": "n", "name": "n", "outputFacets": {"x": []}}]},
]
# What the official schema refuses and the service takes, because producers send it.
LENIENT: list[Any] = [
    {"schemaURL": None},
    {"eventType": None},
    {"inputs": None},
    {"outputs": None},
    {"eventTime": "2026-01-01T00:00:00"},
    {"eventTime": "2026-01-01"},
    {"run": {"runId": "scheduled__2026-01-01"}},
    {"run": {"runId": RUN_ID, "facets": None}},
    {"run": {"runId": RUN_ID, "facets": {"x": None}}},
    {"run": {"runId": RUN_ID, "facets": {"x": {"y": 1}}}},
    {"job": {"namespace": "n", "name": "n", "facets": {"x": {"_deleted": True}}}},
]
# What the official schema takes and the service refuses: it could not be told apart, or not be stored.
STRICT: list[Any] = [
    {"job": {"namespace": "", "name": "n"}},
    {"job": {"namespace": "n", "name": " "}},
    {"job": {"namespace": "n", "name": "x" * 1001}},
    {"producer": ""},
]
BOTH: list[Any] = [
    {},
    {"inputs": [{"namespace": "n", "name": "名前", "facets": {}}]},
    {"eventTime": "2026-01-01T00:00:00.123456789Z"},
    {"eventTime": "2026-01-01T00:00:00+05:30"},
    {"anything": {"else": [1, None]}},
]


@pytest.mark.parametrize(
    ("change", "theirs", "ours"),
    [
        *((change, False, False) for change in REFUSED),
        *((change, False, True) for change in LENIENT),
        *((change, True, False) for change in STRICT),
        *((change, True, True) for change in BOTH),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_it_agrees_with_the_official_schema(
    official: Draft202012Validator, change: dict[str, Any], theirs: bool, ours: bool
) -> None:
    event = _run_event(**change)
    assert official.is_valid(event) is theirs
    assert _takes(event) is ours


@pytest.mark.parametrize("missing", ["eventTime", "producer", "run", "job"])
def test_what_is_required_is_required(official: Draft202012Validator, missing: str) -> None:
    event = {key: value for key, value in _run_event().items() if key != missing}
    if missing == "run":  # then it is a JobEvent
        assert official.is_valid(event)
        assert _takes(event)
    else:
        assert not official.is_valid(event)
        assert not _takes(event)


def test_dataset_and_job_events(official: Draft202012Validator) -> None:
    dataset = {"namespace": "n", "name": "d"}
    for event in (
        BASE | {"schemaURL": SCHEMA_URL, "dataset": dataset},
        BASE | {"schemaURL": SCHEMA_URL, "job": {"namespace": "n", "name": "j"}, "inputs": [dataset]},
    ):
        assert official.is_valid(event)
        assert _takes(event)
    nothing = BASE | {"schemaURL": SCHEMA_URL}
    assert not official.is_valid(nothing)
    assert not _takes(nothing)
