"""The graph as it was at a time, and what became of it between two."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
Edges = set[tuple[str, str]]
NOW = "2030-01-01T00:00:00Z"


def send(api: TestClient, *events: dict[str, Any]) -> None:
    for event in events:
        answer = api.post("/api/v1/lineage", json=event)
        assert answer.status_code == 201, answer.text


def path(api: TestClient, name: str, kind: str = "datasets") -> str:
    found = api.get(f"/{kind}", params={"q": name, "limit": 500}).json()["items"]
    return f"/{kind}/{next(item['id'] for item in found if item['name'] == name)}"


def minute(at: int) -> str:
    return f"2026-01-01T00:{at:02d}:00Z"


def shown(graph: dict[str, Any]) -> tuple[set[str], Edges]:
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    return set(names.values()), {(names[e["source"]], names[e["target"]]) for e in graph["edges"]}


def around(api: TestClient, where: str, at: str | None = None, **query: Any) -> tuple[set[str], Edges]:
    answer = api.get(f"{where}/lineage", params=query | ({"at": at} if at else {}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["at"] == at
    return shown(answer.json())


def output(name: str, *sources: str) -> dict[str, Any]:
    inputs = [{"namespace": "db", "name": s, "field": "x"} for s in sources]
    return {"namespace": "db", "name": name, "facets": {"columnLineage": {"fields": {"x": {"inputFields": inputs}}}}}


@pytest.fixture
def moved(api: TestClient, event: Make) -> str:
    """A job that read `old` at first and reads `new` since minute 10; a failed run in between."""
    send(
        api,
        event("START", run="r1", at=1, inputs=["old"]),
        event("COMPLETE", run="r1", at=5, inputs=["old"], outputs=[output("t", "old")]),
        event("FAIL", run="r2", at=7, inputs=["wrong"], outputs=["t"]),
        event("START", run="r3", at=8),
        event("COMPLETE", run="r3", at=10, inputs=["new"], outputs=[output("t", "new")]),
        event(run="d1", job="down", at=20, inputs=["t"], outputs=["end"]),
    )
    return path(api, "t")


def test_a_graph_is_as_it_was(api: TestClient, moved: str) -> None:
    old = ({"old", "j", "t"}, {("old", "j"), ("j", "t")})
    assert around(api, moved, minute(0)) == ({"t"}, set())
    assert around(api, moved, minute(5)) == old
    assert around(api, moved, minute(9)) == old
    assert around(api, moved, minute(10)) == ({"new", "j", "t"}, {("new", "j"), ("j", "t")})
    assert around(api, path(api, "old"), minute(9), direction="downstream") == old
    assert around(api, path(api, "old"), minute(10), direction="downstream") == ({"old"}, set())
    assert around(api, path(api, "j", "jobs"), minute(20), depth=2)[0] == {"new", "j", "t", "down", "end"}
    assert around(api, moved, NOW) == around(api, moved)


def test_column_edges_are_as_they_were(api: TestClient, moved: str) -> None:
    def sources(at: str | None) -> set[str]:
        answer = api.get(f"{moved}/columns/x/lineage", params={"direction": "upstream"} | ({"at": at} if at else {}))
        return {node["name"] for node in answer.json()["nodes"]} - {"t"}

    assert [sources(at) for at in (minute(0), minute(6), minute(10), None)] == [set(), {"old"}, {"new"}, {"new"}]
    then = api.get(f"{moved}/lineage", params={"at": minute(6)}).json()
    assert len(then["column_edges"]) == 1
    assert api.get(f"{moved}/lineage", params={"at": minute(6), "columns": False}).json()["column_edges"] == []


def test_what_came_and_went_between_two_times(api: TestClient, moved: str) -> None:
    answer = api.get(f"{moved}/lineage/changes", params={"from": minute(6), "to": minute(30)}).json()
    names = {node["id"]: node["name"] for side in ("added", "removed") for node in answer[side]["nodes"]}
    names |= {path(api, "j", "jobs").rpartition("/")[2]: "j", moved.rpartition("/")[2]: "t"}

    def side(name: str) -> tuple[set[str], Edges, Edges]:
        part = answer[name]
        edges = {(names[e["source"]], names[e["target"]]) for e in part["edges"]}
        columns = {tuple(names[e[end]["dataset_id"]] for end in ("source", "target")) for e in part["column_edges"]}
        return {node["name"] for node in part["nodes"]}, edges, columns  # type: ignore[return-value]

    assert side("added") == (
        {"new", "down", "end"},
        {("new", "j"), ("t", "down"), ("down", "end")},
        {("new", "t")},
    )
    assert side("removed") == ({"old"}, {("old", "j")}, {("old", "t")})
    same = api.get(f"{moved}/lineage/changes", params={"from": minute(6), "to": minute(6)}).json()
    assert not any(same[side][part] for side in ("added", "removed") for part in ("nodes", "edges", "column_edges"))
    job = api.get(f"{path(api, 'j', 'jobs')}/lineage/changes", params={"from": minute(6), "to": minute(30)}).json()
    assert {node["name"] for node in job["removed"]["nodes"]} == {"old"}
    assert api.get(f"{moved}/lineage/changes", params={"from": minute(6)}).status_code == 422


def test_earlier_designs_are_remembered(api: TestClient) -> None:
    def design(at: int, *inputs: str) -> dict[str, Any]:
        job = {"namespace": "tests", "name": "designed"}
        told = [{"namespace": "db", "name": name} for name in inputs]
        outputs = [{"namespace": "db", "name": "t"}]
        return {"eventTime": minute(at), "producer": "p", "job": job, "inputs": told, "outputs": outputs}

    send(api, design(9, "c"), design(1, "a"), design(5, "b"))
    where = path(api, "t")
    for at, source in ((1, "a"), (4, "a"), (5, "b"), (9, "c"), (30, "c")):
        assert around(api, where, minute(at))[0] == {source, "designed", "t"}
    assert around(api, where, minute(0)) == ({"t"}, set())
    assert around(api, where, NOW) == around(api, where)


def test_a_cut_graph_of_then_says_where_to_go_on(api: TestClient, event: Make) -> None:
    many = [f"d{number:02}" for number in range(20)]
    send(api, event(job="split", at=1, inputs=["hub"], outputs=many))
    where = f"{path(api, 'split', 'jobs')}/lineage"
    query: dict[str, Any] = {"direction": "downstream", "max_nodes": 6, "at": minute(9)}
    seen: set[str] = set()
    for _ in range(4):
        answer = api.get(where, params=query).json()
        new = {node["name"] for node in answer["nodes"]} - {"split"}
        assert len(new) == 5
        assert not new & seen
        seen |= new
        if answer["frontier"]:
            query["after"] = answer["frontier"][0]["after"]
    assert seen == set(many)
    assert not answer["frontier"]


def test_then_is_now_for_real_events(api: TestClient, real_events: list[dict[str, Any]]) -> None:
    send(api, *real_events)
    for dataset in api.get("/datasets?limit=500").json()["items"]:
        now = api.get(f"/datasets/{dataset['id']}/lineage").json()
        then = api.get(f"/datasets/{dataset['id']}/lineage", params={"at": NOW}).json()
        assert shown(then) == shown(now)
        told = [{json.dumps(edge, sort_keys=True) for edge in graph["column_edges"]} for graph in (now, then)]
        assert told[0] == told[1]


def test_a_much_read_dataset_of_then_is_cut_among_its_readers(api: TestClient, event: Make) -> None:
    send(api, *(event(run=f"r{n}", job=f"j{n:02}", at=1, inputs=["hub"]) for n in range(20)))
    where = f"{path(api, 'hub')}/lineage"
    query: dict[str, Any] = {"direction": "downstream", "max_nodes": 6, "at": minute(9)}
    seen: set[str] = set()
    for _ in range(4):
        answer = api.get(where, params=query).json()
        new = {node["name"] for node in answer["nodes"]} - {"hub"}
        assert len(new) == 5 == len(answer["edges"])
        assert not new & seen
        seen |= new
        query["after"] = next((end["after"] for end in answer["frontier"] if end["type"] == "dataset"), None)
    assert len(seen) == 20
    assert query["after"] is None


def test_what_datasets_themselves_tell_is_known_since_they_did(api: TestClient, event: Make) -> None:
    def told(at: int, name: str, source: str) -> dict[str, Any]:
        return {"eventTime": minute(at), "producer": "p", "dataset": output(name, source)}

    send(api, told(5, "view", "t"), event(at=1, outputs=["t"]), told(7, "top", "view"))
    where = path(api, "view")
    edges = {("j", "t"), ("t", "view"), ("view", "top")}
    assert around(api, where) == around(api, where, NOW) == ({"j", "t", "view", "top"}, edges)
    assert around(api, where, minute(6)) == ({"j", "t", "view"}, {("j", "t"), ("t", "view")})
    assert around(api, where, minute(4)) == ({"view"}, set())
    assert around(api, where, depth=1, direction="downstream") == ({"view", "top"}, {("view", "top")})
    changed = api.get(f"{where}/lineage/changes", params={"from": minute(4), "to": minute(6)}).json()
    assert {node["name"] for node in changed["added"]["nodes"]} == {"j", "t"}
    assert len(changed["added"]["column_edges"]) == 1
