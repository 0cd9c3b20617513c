"""Runs within runs, blocks of code as runs, and where nothing is recorded."""

from __future__ import annotations

import asyncio
import contextvars
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openlineage.client.facet_v2 import (
    nominal_time_run,
)

from data_lineage_hub_sdk import client, configure, current_run, defaults, flush, lineage_run, lineage_track, settings

Recorded = Callable[[], list[dict[str, Any]]]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def names(event: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in event[side]]


@lineage_track
def load() -> str:
    return "done"


def test_calls_within_calls_are_parts_of_their_runs(recorded: Recorded) -> None:
    @lineage_track("leaf")
    def leaf() -> None: ...

    @lineage_track("items")
    def items() -> Iterator[int]:
        leaf()
        yield 1

    @lineage_track("branch")
    async def branch() -> None:
        await asyncio.sleep(0.01)
        leaf()
        await asyncio.to_thread(leaf)

    @lineage_track("tree")
    async def tree() -> None:
        await asyncio.gather(branch(), branch())
        for _ in items():
            leaf()  # the consumer's, no part of `items`
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, leaf).result()

    asyncio.run(tree())
    leaf()
    starts = [event for event in recorded() if event["eventType"] == "START"]
    jobs = {event["run"]["runId"]: event["job"]["name"] for event in starts}
    parents = [event["run"]["facets"].get("parent") for event in starts]
    found = Counter(
        (jobs[event["run"]["runId"]], jobs[parent["run"]["runId"]] if parent else "")
        for event, parent in zip(starts, parents, strict=True)
    )
    assert found == {
        ("tree", ""): 1,
        ("leaf", ""): 1,
        ("branch", "tree"): 2,
        ("leaf", "branch"): 4,
        ("items", "tree"): 1,
        ("leaf", "items"): 1,
        ("leaf", "tree"): 2,
    }
    tree_run = next(run for run, job in jobs.items() if job == "tree")
    roots = {parent["root"]["run"]["runId"] for parent in parents if parent}
    assert roots == {tree_run}
    assert {parent["root"]["job"]["name"] for parent in parents if parent} == {"tree"}


def test_a_block_is_a_run_that_learns_while_it_lasts(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    facet = nominal_time_run.NominalTimeRunFacet("2026-01-01T00:00:00Z")
    with lineage_run("block", inputs=["s3://raw/a", {"nmae": "x"}]) as run:  # type: ignore[list-item]
        assert current_run() is run
        run.add_input("b")
        run.add_output({"name": "file:///tmp/c", "type": "file"})
        run.add_output({"name": ""})
        run.add_facet("nominalTime", facet)
        run.add_facet("rows", {"count": 3})
    with pytest.raises(ValueError, match="it broke"), lineage_run("broken"):
        raise ValueError("it broke")

    async def block() -> None:
        async with lineage_run("async"):
            await asyncio.sleep(0)

    asyncio.run(block())
    events = recorded()
    assert told(events) == [
        *[("block", "START"), ("block", "COMPLETE"), ("broken", "START"), ("broken", "FAIL")],
        *[("async", "START"), ("async", "COMPLETE")],
    ]
    start, end = events[:2]
    assert (names(start, "inputs"), names(start, "outputs")) == ([("s3://raw", "a")], [])
    assert names(end, "inputs") == [("s3://raw", "a"), ("team", "b")]
    assert names(end, "outputs") == [("file", "/tmp/c")]  # noqa: S108
    assert end["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-01-01T00:00:00Z"
    assert end["run"]["facets"]["rows"] == {"count": 3}
    assert caplog.text.count("a dataset is left out") == 2


def test_a_parent_can_come_from_outside(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, root = str(uuid.uuid4()), str(uuid.uuid4())
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"airflow/dag.task/{parent}")
    monkeypatch.setenv("OPENLINEAGE_ROOT_PARENT_ID", f"airflow/dag/{root}")
    outside = settings.from_environment()
    configure(parent=outside.parent, root=outside.root)
    load()
    facet = recorded()[0]["run"]["facets"]["parent"]
    assert (facet["run"]["runId"], facet["job"]["namespace"], facet["job"]["name"]) == (parent, "airflow", "dag.task")
    assert (facet["root"]["run"]["runId"], facet["root"]["job"]["name"]) == (root, "dag")


def test_seeded_random_numbers_stay_the_same(recorded: Recorded) -> None:
    random.seed(7)
    expected = [random.random() for _ in range(3)]  # noqa: S311
    random.seed(7)
    found = []
    for _ in range(3):
        load()
        found.append(random.random())  # noqa: S311
    assert found == expected
    assert len({event["run"]["runId"] for event in recorded()}) == 3


def test_nothing_is_recorded_where_nothing_is_configured(
    fresh: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def begin() -> None:
        monkeypatch.setattr(settings, "_current", None)
        monkeypatch.setattr(defaults, "_lineage", None)

    monkeypatch.setattr(client, "_has_told_nowhere", False)
    begin()
    configure(namespace="team")
    for _ in range(3):
        assert load() == "done"
    assert caplog.text.count("go nowhere: set LINEAGE_HUB_URL") == 1
    monkeypatch.setenv("LINEAGE_HUB_DISABLED", "1")
    begin()
    assert load() == "done"
    assert caplog.text.count("go nowhere") == 1
    assert flush(0)
