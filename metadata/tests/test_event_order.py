"""Lifecycle, symlinks, column lineage and contradictions: the graph is the same whatever order events come in."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]

# The graph by names: ids differ from one store to another.
GRAPH = (
    "SELECT namespace, name, designed_at, created_at, updated_at FROM job",
    "SELECT d.name, c.name, CASE WHEN c.id IS NULL THEN d.fields END::text, d.created_at, d.updated_at, d.deleted_at "
    "FROM dataset d LEFT JOIN dataset c ON c.id = d.canonical_id",
    "SELECT r.id, j.name, r.state, r.started_at, r.ended_at, r.parent_run_id, r.updated_at "
    "FROM run r LEFT JOIN job j ON j.id = r.job_id",
    "SELECT r.run_id, r.direction, d.name FROM run_dataset r JOIN dataset d ON d.id = r.dataset_id",
    "SELECT j.name, e.direction, e.origin, d.name, e.run_id FROM job_dataset e "
    "JOIN job j ON j.id = e.job_id JOIN dataset d ON d.id = e.dataset_id",
    "SELECT j.name, d.name, c.field, i.name, c.input_field, c.type FROM column_edge c "
    "LEFT JOIN job j ON j.id = c.job_id JOIN dataset d ON d.id = c.dataset_id "
    "JOIN dataset i ON i.id = c.input_dataset_id",
    "SELECT owner_type, name, value::text, event_time FROM facet",
    "SELECT d.name, q.check_name, q.status, q.run_id FROM quality_current c "
    "JOIN dataset d ON d.id = c.dataset_id JOIN quality_result q ON q.id = c.result_id",
)


def _graph(api: TestClient) -> list[list[str]]:
    api.get("/datasets")  # waits until all of it is in the graph
    with api.app.state.sessions() as session:  # type: ignore[attr-defined]
        assert session.execute(text("SELECT reason FROM event_failure")).all() == []
        return [sorted(repr(tuple(row)) for row in session.execute(text(query))) for query in GRAPH]


def _clear(api: TestClient) -> None:
    with api.app.state.sessions.begin() as session:  # type: ignore[attr-defined]
        session.execute(text("TRUNCATE event, event_queue, dataset, job, run, facet, quality_result CASCADE"))


def _send(api: TestClient, events: list[dict[str, Any]], size: int = 1) -> None:
    for first in range(0, len(events), size):
        answer = api.post("/api/v1/lineage/batch", json=events[first : first + size]).json()
        assert answer["summary"]["failed"] == 0, answer["failed_events"]


def _table(name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": "db", "name": name, "facets": facets}


def _lifecycle(change: str, previous: str | None = None) -> dict[str, Any]:
    facet: dict[str, Any] = {"lifecycleStateChange": change}
    if previous:
        facet["previousIdentifier"] = {"namespace": "db", "name": previous}
    return {"lifecycleStateChange": facet}


def _contradictory(chance: random.Random, event: Make) -> list[dict[str, Any]]:
    """Make events that contradict each other in every way: names, jobs of runs, states, parents, facets, times."""
    names = [f"t{number}" for number in range(6)]
    events: list[dict[str, Any]] = []
    for _ in range(60):
        at, name, other = chance.randrange(12), chance.choice(names), chance.choice(names)
        facets: dict[str, Any] = {"schema": {"fields": [{"name": "c", "type": chance.choice(["int", "text"])}]}}
        if chance.random() < 0.3:
            facets["symlinks"] = {"identifiers": [{"namespace": "db", "name": other, "type": "TABLE"}]}
        if chance.random() < 0.5:
            source = {"namespace": "db", "name": other, "field": "c", "transformations": [{"type": "DIRECT"}]}
            facets["columnLineage"] = {"fields": {"c": {"inputFields": [source]}}}
        if chance.random() < 0.3:
            facets |= _lifecycle(chance.choice(["DROP", "CREATE", "RENAME", "TRUNCATE"]), other)
        if chance.random() < 0.3:
            checks = [{"assertion": "rows", "success": chance.random() < 0.5}]
            facets["dataQualityAssertions"] = {"assertions": checks}
        time = f"2026-01-01T00:{at:02d}:00Z"
        match chance.randrange(6):
            case 0:
                events.append({"eventTime": time, "producer": "p", "dataset": _table(name, **facets)})
            case 1:
                job = {"namespace": "tests", "name": chance.choice("ab")}
                sides = {"inputs": [_table(other)], "outputs": [_table(name, **facets)]}
                events.append({"eventTime": time, "producer": "p", "job": job, **sides})
            case _:
                parent = {"run": {"runId": f"p{chance.randrange(3)}"}, "job": {"namespace": "tests", "name": "dag"}}
                made = event(
                    chance.choice(["START", "RUNNING", "COMPLETE", "FAIL", "OTHER", None]),
                    run=f"r{chance.randrange(10)}",
                    job=chance.choice("abc"),
                    at=at,
                    inputs=[other] if chance.random() < 0.7 else [],
                    outputs=[_table(name, **facets)] if chance.random() < 0.7 else [],
                    run_facets={"parent": parent} if chance.random() < 0.4 else {},
                )
                events.append(made)
    return events


@pytest.mark.parametrize("seed", range(4))
def test_order_repetition_and_batches_do_not_matter(api: TestClient, event: Make, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    events = _contradictory(chance, event)
    _send(api, events, 60)
    expected = _graph(api)
    assert all(expected)
    shuffled = events + events[::4]
    chance.shuffle(shuffled)
    for order, size in ((events[::-1], 60), (shuffled, 1), (shuffled[::-1], 7)):
        _clear(api)
        _send(api, order, size)
        for mine, wanted in zip(_graph(api), expected, strict=True):
            assert mine == wanted


def _dataset(api: TestClient, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.get("/datasets", params={"namespace": "db", "name": name}).json()["items"]
    return found[0]


def test_a_dropped_dataset_is_marked_until_it_is_written_again(api: TestClient, event: Make) -> None:
    _send(api, [event(at=1, inputs=["a"], outputs=["b"])])
    first = _dataset(api, "b")
    _send(api, [event(run="r2", job="drop", at=5, outputs=[_table("b", **_lifecycle("DROP"))])])
    _send(api, [event(run="r3", job="late", at=3, outputs=["b"]), event(run="r4", job="reads", at=9, inputs=["b"])])
    with api.app.state.sessions() as session:  # type: ignore[attr-defined]
        api.get("/datasets")
        query = text("SELECT name FROM dataset WHERE deleted_at IS NOT NULL")
        assert [row[0] for row in session.execute(query)] == ["b"]
    lineage = api.get(f"/datasets/{_dataset(api, 'a')['id']}/lineage?direction=downstream").json()
    assert first["id"] in [node["id"] for node in lineage["nodes"]]  # it keeps its place
    _send(api, [event(run="r5", at=10, outputs=["b"])])
    assert _dataset(api, "b")["id"] == first["id"]
    with api.app.state.sessions() as session:  # type: ignore[attr-defined]
        assert session.execute(text("SELECT count(*) FROM dataset WHERE deleted_at IS NOT NULL")).scalar() == 0


def test_a_renamed_dataset_takes_its_history_along(api: TestClient, event: Make) -> None:
    _send(api, [event(at=1, inputs=["a"], outputs=["old"])])
    _send(api, [event(run="r2", job="rename", at=5, outputs=[_table("new", **_lifecycle("RENAME", "old"))])])
    renamed = _dataset(api, "new")
    assert _dataset(api, "old")["id"] == renamed["id"]
    lineage = api.get(f"/datasets/{renamed['id']}/lineage?direction=upstream").json()
    assert "a" in [node["name"] for node in lineage["nodes"]]
    # Tables change places: what was the old name is a table of its own again.
    _send(api, [event(run="r3", job="swap", at=7, outputs=[_table("old", **_lifecycle("RENAME", "staged"))])])
    assert _dataset(api, "old")["id"] != renamed["id"]
    assert _dataset(api, "staged")["id"] == _dataset(api, "old")["id"]


def test_names_of_names_lead_to_one_dataset(api: TestClient, event: Make) -> None:
    def named(name: str, other: str) -> dict[str, Any]:
        return _table(name, symlinks={"identifiers": [{"namespace": "db", "name": other, "type": "TABLE"}]})

    _send(api, [event(at=1, outputs=[named("b", "a")]), event(at=2, outputs=[named("c", "b")])])
    assert {_dataset(api, name)["name"] for name in "abc"} == {"c"}
    _send(api, [event(at=3, outputs=[named("a", "c")])])  # a circle: its oldest claim gives way
    assert {_dataset(api, name)["name"] for name in "abc"} == {"a"}


def test_times_names_and_sizes(api: TestClient, event: Make) -> None:
    large = {"text": "x" * 1_000_000}
    sent = event(inputs=["表/ü 😀"], outputs=[_table("b", large=large)]) | {
        "eventTime": "2026-01-01T00:00:00.123456789"
    }
    assert api.post("/api/v1/lineage", json=sent).status_code == 201
    assert api.post("/api/v1/lineage", json=sent).json()["status"] == "duplicate"
    run = api.get("/runs/r1").json()
    assert run["ended_at"] == "2026-01-01T00:00:00.123456Z"
    assert run["inputs"][0]["dataset"]["name"] == "表/ü 😀"
    assert api.get(f"/datasets/{_dataset(api, 'b')['id']}").json()["facets"]["large"] == large


def test_a_malformed_event_hurts_no_neighbour(api: TestClient, event: Make) -> None:
    bad: list[Any] = [None, 1, "x", [], {}, {"run": 1}, event() | {"eventTime": "?"}, {"job": {"namespace": "\ud800"}}]
    good = [event(run=f"r{number}", outputs=[f"t{number}"]) for number in range(len(bad))]
    mixed = [item for pair in zip(bad, good, strict=True) for item in pair]
    answer = api.post("/api/v1/lineage/batch", content=json.dumps(mixed)).json()
    assert [item["status"] for item in answer["results"]] == ["rejected", "stored"] * len(bad)
    assert api.get("/runs").json()["total"] == len(good)


def test_an_event_that_cannot_be_projected_holds_nobody_up(api: TestClient, event: Make) -> None:
    with api.app.state.sessions.begin() as session:  # type: ignore[attr-defined]
        session.execute(text("ALTER TABLE run ADD CONSTRAINT no_bad_run CHECK (id <> 'bad')"))
    _send(api, [event(run="r1"), event(run="bad"), event(run="r2")], 3)
    assert {run["id"] for run in api.get("/runs").json()["items"]} == {"r1", "r2"}
    assert api.get("/health/projection").json() == {"backlog": 0, "lag_seconds": 0.0, "failed": 1}
    assert "metadata_events_failed 1.0" in api.get("/metrics").text
    with api.app.state.sessions() as session:  # type: ignore[attr-defined]
        reason = session.execute(text("SELECT reason FROM event_failure")).scalar()
    assert "no_bad_run" in reason
