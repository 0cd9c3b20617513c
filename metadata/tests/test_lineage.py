"""The graph: walks to a depth from datasets, columns, jobs and runs, cut with a way to go on, and impact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
Edges = set[tuple[str, str]]


def send(api: TestClient, *events: dict[str, Any]) -> None:
    for event in events:
        answer = api.post("/api/v1/lineage", json=event)
        assert answer.status_code == 201, answer.text


def identifier(api: TestClient, name: str, kind: str = "datasets") -> str:
    found = api.get(f"/{kind}", params={"q": name, "limit": 500}).json()["items"]
    return str(next(item["id"] for item in found if item["name"] == name))


def shown(graph: dict[str, Any]) -> tuple[set[str], Edges]:
    """Names of the nodes and of the edges' ends; every edge is between nodes."""
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    return set(names.values()), {(names[e["source"]], names[e["target"]]) for e in graph["edges"]}


def lineage(api: TestClient, name: str, kind: str = "datasets", **query: Any) -> tuple[set[str], Edges]:
    answer = api.get(f"/{kind}/{identifier(api, name, kind)}/lineage", params=query)
    assert answer.status_code == 200, answer.text
    return shown(answer.json())


def columns(target: str, **sources: list[str]) -> dict[str, Any]:
    """A dataset whose columns come from `dataset.column`."""
    fields = {
        column: {
            "inputFields": [
                {"namespace": "db", "name": name.split(".")[0], "field": name.split(".")[1]} for name in names
            ]
        }
        for column, names in sources.items()
    }
    schema = {"fields": [{"name": column, "type": "text"} for column in sources]}
    return {"namespace": "db", "name": target, "facets": {"columnLineage": {"fields": fields}, "schema": schema}}


def flow(api: TestClient, event: Make, **jobs: tuple[list[Any], list[Any]]) -> None:
    for at, (job, (inputs, outputs)) in enumerate(jobs.items()):
        send(api, event(run=f"run-{job}", job=job, at=at, inputs=inputs, outputs=outputs))


def test_a_diamond_and_a_shortcut(api: TestClient, event: Make) -> None:
    flow(api, event, left=(["a"], ["b"]), right=(["a"], ["c"]), join=(["b", "c", "a"], ["d"]), other=(["x"], ["y"]))
    whole = {("a", "left"), ("left", "b"), ("a", "right"), ("right", "c"), ("b", "join"), ("c", "join"), ("a", "join")}
    whole |= {("join", "d")}
    assert lineage(api, "d") == ({"a", "b", "c", "d", "left", "right", "join"}, whole)
    assert lineage(api, "a", direction="upstream") == ({"a"}, set())
    assert lineage(api, "d", direction="upstream", depth=1) == (
        {"a", "b", "c", "d", "join"},
        {("b", "join"), ("c", "join"), ("a", "join"), ("join", "d")},
    )
    assert lineage(api, "b", depth=1) == (
        {"a", "left", "b", "join", "d"},
        {("a", "left"), ("left", "b"), ("b", "join"), ("join", "d"), ("a", "join")},
    )
    assert lineage(api, "d", depth=0) == ({"d"}, set())


def test_cycles_and_loops_end(api: TestClient, event: Make) -> None:
    flow(api, event, there=(["a"], ["b"]), back=(["b"], ["a"]), itself=(["b"], ["b"]))
    edges = {("a", "there"), ("there", "b"), ("b", "back"), ("back", "a"), ("b", "itself"), ("itself", "b")}
    for name in ("a", "b"):
        for direction in ("upstream", "downstream", "both"):
            assert lineage(api, name, direction=direction, depth=100) == ({"a", "b", "there", "back", "itself"}, edges)


def test_jobs_are_walked_from_as_well(api: TestClient, event: Make) -> None:
    flow(api, event, one=(["a"], ["b"]), two=(["b"], ["c"]), three=(["c"], ["d"]))
    assert lineage(api, "two", "jobs", depth=1) == ({"b", "two", "c"}, {("b", "two"), ("two", "c")})
    assert lineage(api, "two", "jobs", direction="upstream")[0] == {"two", "b", "one", "a"}
    assert lineage(api, "two", "jobs", direction="downstream", depth=2)[0] == {"two", "c", "three", "d"}
    assert lineage(api, "two", "jobs", depth=0) == ({"two"}, set())
    answer = api.get(f"/jobs/{identifier(api, 'two', 'jobs')}/lineage?depth=1").json()
    assert {(end["type"], end["direction"]) for end in answer["frontier"]} == {
        ("dataset", "upstream"),
        ("dataset", "downstream"),
    }
    assert answer["truncated"] is False


def test_names_of_one_thing_are_joined(api: TestClient, event: Make) -> None:
    alias = {"symlinks": {"identifiers": [{"namespace": "hive", "name": "sales", "type": "TABLE"}]}}
    path = {"namespace": "s3://raw", "name": "sales", "facets": alias}
    flow(
        api,
        event,
        write=(["source"], [{"namespace": "hive", "name": "sales"}]),
        link=([], [path]),
        read=([{"namespace": "s3://raw", "name": "sales"}], ["report"]),
    )
    found = api.get("/datasets", params={"namespace": "hive", "name": "sales"}).json()["items"][0]
    assert found["namespace"] == "s3://raw"
    assert lineage(api, "report", direction="upstream") == (
        {"report", "read", "sales", "write", "link", "source"},
        {("read", "report"), ("sales", "read"), ("write", "sales"), ("link", "sales"), ("source", "write")},
    )
    assert lineage(api, "source", direction="downstream")[0] == {"source", "write", "sales", "read", "report"}


def test_columns_are_walked_from_column_to_column(api: TestClient, event: Make) -> None:
    flow(
        api,
        event,
        one=(["a"], [columns("b", x=["a.x"], y=["a.x", "a.y"])]),
        two=(["b"], [columns("c", total=["b.x", "b.y"], key=["b.k"])]),
        loop=(["c"], [columns("a", y=["c.total"])]),
    )

    def walked(name: str, column: str, **query: Any) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        answer = api.get(f"/datasets/{identifier(api, name)}/columns/{column}/lineage", params=query).json()
        names = {node["id"]: node["name"] for node in answer["nodes"]}
        edges = {
            tuple(f"{names[end['dataset_id']]}.{end['column']}" for end in (e["source"], e["target"]))
            for e in answer["column_edges"]
        }
        return {(names[c["dataset_id"]], c["column"]) for c in answer["columns"]}, edges  # type: ignore[return-value]

    assert walked("b", "x", direction="upstream") == ({("b", "x"), ("a", "x")}, {("a.x", "b.x")})
    assert walked("b", "x", direction="downstream", depth=1) == ({("b", "x"), ("c", "total")}, {("b.x", "c.total")})
    assert walked("c", "total", depth=100)[0] == {("c", "total"), ("b", "x"), ("b", "y"), ("a", "x"), ("a", "y")}
    assert walked("c", "total", depth=100)[1] == {
        ("b.x", "c.total"), ("b.y", "c.total"), ("a.x", "b.x"), ("a.x", "b.y"), ("a.y", "b.y"), ("c.total", "a.y"),
    }  # fmt: skip
    assert walked("c", "key", depth=0) == ({("c", "key")}, set())
    assert api.get(f"/datasets/{identifier(api, 'c')}/columns/none/lineage").status_code == 404


def test_an_answer_that_is_cut_says_where_to_go_on(api: TestClient, event: Make) -> None:
    many = [f"d{number:02}" for number in range(30)]
    flow(api, event, split=(["hub"], many), merge=(many, ["end"]))
    edges = {("hub", "split"), ("merge", "end")} | {("split", d) for d in many} | {(d, "merge") for d in many}
    names, all_edges, asked = set[str](), Edges(), 0
    waiting: list[dict[str, Any]] = [
        {"id": identifier(api, "hub"), "type": "dataset", "direction": "downstream", "after": None}
    ]
    while waiting:
        end = waiting.pop()
        query = {"direction": end["direction"], "max_nodes": 8} | ({"after": end["after"]} if end["after"] else {})
        answer = api.get(f"/{end['type']}s/{end['id']}/lineage", params=query).json()
        assert len(answer["nodes"]) <= 8
        assert answer["truncated"] is bool(answer["frontier"])
        found = shown(answer)
        names, all_edges, asked = names | found[0], all_edges | found[1], asked + 1
        waiting += [e for e in answer["frontier"] if e["type"] == "job" or e["after"] or asked < 40]
        assert asked < 200
    assert names == {"hub", "split", "merge", "end", *many}
    assert all_edges == edges


def test_cut_columns_say_where_to_go_on(api: TestClient, event: Make) -> None:
    fan = {f"c{number:02}": ["a.x"] for number in range(20)}
    flow(api, event, one=(["a"], [columns("b", **fan)]))
    base = f"/datasets/{identifier(api, 'a')}/columns/x/lineage"
    query: dict[str, Any] = {"direction": "downstream", "max_nodes": 6}
    seen: set[str] = set()
    for _ in range(4):
        answer = api.get(base, params=query).json()
        new = {c["column"] for c in answer["columns"]} - {"x"}
        assert len(new) == 5
        assert not new & seen
        seen |= new
        assert len(answer["column_edges"]) == 5
        if answer["frontier"]:
            query["after"] = answer["frontier"][0]["after"]
    assert seen == set(fan)
    assert answer["frontier"] == []
    assert api.get(base, params={"after": "rubbish"}).status_code == 422


def test_unknown_things_are_told(api: TestClient) -> None:
    for path in ("datasets/{}/lineage", "jobs/{}/lineage", "runs/{}/lineage", "datasets/{}/impact",
                 "datasets/{}/columns/x/lineage", "datasets/{}/lineage?at=2026-01-01T00:00:00Z"):  # fmt: skip
        assert api.get(f"/{path.format(uuid4())}").status_code == 404, path


def test_a_run_is_followed_to_the_runs_before_and_after(api: TestClient, event: Make) -> None:
    send(
        api,
        event(run="w1", job="write", at=1, outputs=["a"]),
        event("START", run="r1", job="read", at=2, inputs=["a"]),
        event("COMPLETE", run="r1", job="read", at=3, inputs=["a"], outputs=["b"]),
        event(run="w2", job="write", at=4, outputs=["a"]),
        event("START", run="r2", job="read", at=5, inputs=["a"]),
        event("COMPLETE", run="r2", job="read", at=6, outputs=["b"]),
        event(run="last", job="use", at=7, inputs=["b"]),
    )

    def around(run: str, **query: Any) -> tuple[set[str], Edges]:
        answer = api.get(f"/runs/{run}/lineage", params=query).json()
        names = {n["id"]: n["id"] if n["type"] == "run" else n["name"] for n in answer["nodes"]}
        return set(names.values()), {(names[e["source"]], names[e["target"]]) for e in answer["edges"]}

    assert around("r1", direction="upstream") == ({"r1", "a", "w1"}, {("w1", "a"), ("a", "r1")})
    assert around("last") == (
        {"last", "b", "r2", "a", "w2"},
        {("b", "last"), ("r2", "b"), ("a", "r2"), ("w2", "a")},
    )
    assert around("w1", direction="downstream")[0] == {"w1", "a", "r1", "b"}
    assert around("w2", direction="downstream", depth=1)[0] == {"w2", "a", "r2"}
    cut = api.get("/runs/w2/lineage?direction=downstream&depth=1").json()
    assert cut["frontier"] == [{"id": "r2", "direction": "downstream"}]


def test_impact_names_all_that_stands_below(api: TestClient, event: Make) -> None:
    owner = {"ownership": {"owners": [{"name": "bi-team"}]}}
    flow(
        api,
        event,
        clean=(["raw"], [columns("clean", mail=["raw.mail"], id=["raw.id"])]),
        mart=(["clean"], [columns("mart", mails=["clean.mail"])]),
        opaque=(["clean"], ["copy"]),
        board=(["mart"], [{"namespace": "superset://h:8088", "name": "dashboard/sales", "facets": owner}]),
    )
    schema = [{"name": "mail"}, {"name": "id"}, {"name": "unused"}]
    api.post("/datasets", json={"namespace": "db", "name": "raw", "schema": schema})
    api.post("/datasets", json={"namespace": "db", "name": "mart", "owner": "marts"})
    mart = {"namespace": "db", "name": "mart"}
    product = {
        "name": "sales", "domain": "sales", "owner": "sales-team", "description": "Sales", "datasets": [mart]
    }  # fmt: skip
    assert api.post("/register_product", json=product).status_code == 201

    def below(**query: str) -> dict[str, Any]:
        answer = api.get(f"/datasets/{identifier(api, 'raw')}/impact", params=query).json()
        names = {node["id"]: node["name"] for node in answer["datasets"]}
        return {
            "datasets": {(d["name"], d["certain"]) for d in answer["datasets"]},
            "columns": {f"{names[c['dataset_id']]}.{c['column']}" for c in answer["columns"]},
            "jobs": {(j["name"], j["certain"]) for j in answer["jobs"]},
            "dashboards": [d["name"] for d in answer["dashboards"]],
            "products": [(p["name"], [names[d] for d in p["datasets"]]) for p in answer["products"]],
            "owners": answer["owners"],
        }

    assert below() == {
        "datasets": {("clean", True), ("mart", True), ("copy", True), ("dashboard/sales", True)},
        "columns": {"clean.mail", "clean.id", "mart.mails"},
        "jobs": {("clean", True), ("mart", True), ("opaque", True), ("board", True)},
        "dashboards": ["dashboard/sales"],
        "products": [("sales", ["mart"])],
        "owners": ["bi-team", "marts", "sales-team"],
    }
    # The job `opaque` and the dashboard tell no columns: what they make may break.
    assert below(column="id") == {
        "datasets": {("clean", True), ("copy", False)},
        "columns": {"clean.id"},
        "jobs": {("clean", True), ("opaque", False)},
        "dashboards": [],
        "products": [],
        "owners": [],
    }
    assert below(column="mail")["datasets"] == {
        ("clean", True), ("mart", True), ("copy", False), ("dashboard/sales", False),
    }  # fmt: skip
    assert not any(below(column="unused").values())
    assert api.get(f"/datasets/{identifier(api, 'raw')}/impact?column=none").status_code == 404


def test_what_is_deleted_keeps_its_place(api: TestClient, event: Make) -> None:
    flow(api, event, one=(["a"], ["b"]), two=(["b"], ["c"]))
    before = lineage(api, "c")
    gone = identifier(api, "b")
    assert api.delete(f"/datasets/{gone}").status_code == 204
    assert api.get(f"/datasets/{gone}").status_code == api.delete(f"/datasets/{gone}").status_code == 404
    assert {item["name"] for item in api.get("/datasets").json()["items"]} == {"a", "c"}
    assert api.get("/datasets?namespace=db&name=b").json()["total"] == 0
    assert [hit["name"] for hit in api.get("/search?q=b").json()["items"] if hit["type"] == "dataset"] == []
    answer = api.get(f"/datasets/{identifier(api, 'c')}/lineage").json()
    assert shown(answer) == before
    assert {node["name"] for node in answer["nodes"] if node["deleted"]} == {"b"}
    assert api.get(f"/datasets/{gone}/lineage").status_code == 200
    assert api.post("/datasets", json={"namespace": "db", "name": "b"}).status_code == 201
    assert not any(node["deleted"] for node in api.get(f"/datasets/{gone}/lineage").json()["nodes"])
    api.delete(f"/datasets/{gone}")
    send(api, event(run="again", job="two", at=30, inputs=["b"], outputs=["c"]))
    assert api.get(f"/datasets/{gone}").status_code == 200
