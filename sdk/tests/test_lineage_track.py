"""`lineage_track` on functions of every sort: what is told of their calls, and that nobody notices."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    dataset_type_dataset,
    documentation_job,
    job_type_job,
    storage_dataset,
)
from openlineage.client.serde import Serde

from data_lineage_hub_sdk import current_run, lineage_track
from data_lineage_hub_sdk.lineage.events import PRODUCER

Recorded = Callable[[], list[dict[str, Any]]]


class Broken(Exception):
    """An error of the tests' own."""


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def names(event: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in event[side]]


def test_an_event_is_exactly_what_openlineage_python_makes(recorded: Recorded) -> None:
    @lineage_track(
        "load",
        inputs=[{"type": "file", "name": "s3://raw/orders.csv", "format": "csv"}, "customers"],
        outputs=[{"type": "table", "name": "lake.orders", "format": "parquet", "namespace": "postgres://db:5432"}],
    )
    def load() -> int:
        """Load orders.

        And more that is no summary.
        """
        return 7

    assert load() == 7
    start, complete = recorded()
    for event, state in ((start, RunState.START), (complete, RunState.COMPLETE)):
        expected = RunEvent(
            eventType=state,
            eventTime=event["eventTime"],
            run=Run(start["run"]["runId"]),
            job=Job(
                "team",
                "load",
                {
                    "jobType": job_type_job.JobTypeJobFacet("BATCH", "PYTHON", "FUNCTION", producer=PRODUCER),
                    "documentation": documentation_job.DocumentationJobFacet("Load orders.", producer=PRODUCER),
                },
            ),
            inputs=[
                InputDataset(
                    "s3://raw",
                    "orders.csv",
                    facets={
                        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("FILE", producer=PRODUCER),
                        "storage": storage_dataset.StorageDatasetFacet("s3", "csv", producer=PRODUCER),
                    },
                ),
                InputDataset("team", "customers"),
            ],
            outputs=[
                OutputDataset(
                    "postgres://db:5432",
                    "lake.orders",
                    facets={
                        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("TABLE", producer=PRODUCER),
                        "storage": storage_dataset.StorageDatasetFacet("postgres", "parquet", producer=PRODUCER),
                    },
                )
            ],
            producer=PRODUCER,
        )
        assert event == json.loads(Serde.to_json(expected))
    assert uuid.UUID(start["run"]["runId"]).version == 7
    assert start["eventTime"] <= complete["eventTime"]


class Shop:
    table = "orders"

    @lineage_track(outputs=["s3://lake/{self.table}"])
    def method(self, fail: bool) -> str:
        return self._work(fail)

    @classmethod
    @lineage_track(outputs=["s3://lake/{cls.table}"])
    def above(cls, fail: bool) -> str:
        return cls._work(fail)

    @lineage_track(outputs=["s3://lake/orders"])
    @classmethod
    def below(cls, fail: bool) -> str:
        return cls._work(fail)

    @lineage_track(outputs=["s3://lake/orders"])
    @staticmethod
    def static(fail: bool) -> str:
        return Shop._work(fail)

    @staticmethod
    def _work(fail: bool) -> str:
        if fail:
            raise Broken("it broke")
        return "done"


@lineage_track(outputs=["s3://lake/orders"])
def plain(fail: bool) -> str:
    return Shop._work(fail)


@lineage_track(outputs=["s3://lake/orders"])
async def coroutine(fail: bool) -> str:
    await asyncio.sleep(0)
    return Shop._work(fail)


@lineage_track(outputs=["s3://lake/orders"])
def generator(fail: bool) -> Iterator[str]:
    yield "first"
    yield Shop._work(fail)


@lineage_track(outputs=["s3://lake/orders"])
async def async_generator(fail: bool) -> AsyncIterator[str]:
    yield "first"
    await asyncio.sleep(0)
    yield Shop._work(fail)


async def last_of(items: AsyncIterator[str]) -> str:
    return [item async for item in items][-1]


CALLS: dict[str, Callable[[bool], str]] = {
    "plain": plain,
    "coroutine": lambda fail: asyncio.run(coroutine(fail)),
    "generator": lambda fail: list(generator(fail))[-1],
    "async generator": lambda fail: asyncio.run(last_of(async_generator(fail))),
    "method": lambda fail: Shop().method(fail),
    "class method above": lambda fail: Shop.above(fail),
    "class method below": lambda fail: Shop().below(fail),
    "static method": lambda fail: Shop.static(fail),
    "partial": lineage_track("part", outputs=["s3://lake/orders"])(functools.partial(Shop._work)),
}


@pytest.mark.parametrize("sort", CALLS)
def test_every_sort_of_function_completes_and_fails(recorded: Recorded, sort: str) -> None:
    assert CALLS[sort](False) == "done"
    with pytest.raises(Broken) as raised:
        CALLS[sort](True)
    events = recorded()
    assert [event["eventType"] for event in events] == ["START", "COMPLETE", "START", "FAIL"]
    assert len({event["run"]["runId"] for event in events}) == 2
    assert all(names(event, "outputs") == [("s3://lake", "orders")] for event in events)
    assert all("errorMessage" not in event["run"]["facets"] for event in events[:3])
    error = events[3]["run"]["facets"]["errorMessage"]
    assert (error["message"], error["programmingLanguage"]) == (f"{__name__}.Broken: it broke", "python")
    assert 'raise Broken("it broke")' in error["stackTrace"]
    assert "instrument.py" not in error["stackTrace"]
    assert current_run() is None
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames.count("wrapper") == 1  # one frame of ours, and nothing else


def test_the_same_error_comes_out(recorded: Recorded) -> None:
    cause, error = KeyError("cause"), Broken("it broke")

    @lineage_track
    def fail() -> None:
        raise error from cause

    with pytest.raises(Broken) as raised:
        fail()
    assert raised.value is error
    assert (error.__cause__, error.__context__, error.args) == (cause, None, ("it broke",))
    assert "KeyError" in recorded()[1]["run"]["facets"]["errorMessage"]["stackTrace"]


def test_other_decorators_in_between_stay_in_force(recorded: Recorded) -> None:
    def doubled(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> int:
            return 2 * function(*args)

        return wrapper

    @lineage_track("outer")
    @doubled
    @lineage_track("inner")
    @lineage_track("innermost")
    def one() -> int:
        """Be one."""
        return 1

    assert one() == 2
    partial = lineage_track(functools.partial(one))
    assert partial() == 2
    events = recorded()
    assert [job for job, state in told(events) if state == "START"][:3] == ["outer", "inner", "innermost"]
    last = events[-1]["job"]
    assert last["name"].endswith("in_force.one")
    assert last["facets"]["documentation"]["description"] == "Be one."


def test_functions_stay_what_they_are() -> None:
    for function, sort in (
        (coroutine, inspect.iscoroutinefunction),
        (generator, inspect.isgeneratorfunction),
        (async_generator, inspect.isasyncgenfunction),
        (plain, inspect.isfunction),
    ):
        assert sort(function)
        assert list(inspect.signature(function).parameters) == ["fail"]
        assert function.__name__ in function.__qualname__
    with pytest.raises(TypeError, match="missing 1 required"):
        plain()  # type: ignore[call-arg]


def test_who_stops_waiting_aborts(recorded: Recorded) -> None:
    closed: list[str] = []

    @lineage_track("left")
    def left() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("left")

    for _ in left():
        break
    iterator = left()
    next(iterator)
    iterator.close()

    @lineage_track("cancelled")
    async def cancelled() -> None:
        await asyncio.sleep(60)

    @lineage_track("aleft")
    async def aleft() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("aleft")

    async def stop() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        items = aleft()
        await items.__anext__()
        await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(stop())

    @lineage_track("interrupted")
    def interrupted(error: BaseException) -> None:
        raise error

    for error in (KeyboardInterrupt(), SystemExit(0), SystemExit("no")):
        with pytest.raises(type(error)):
            interrupted(error)
    ends = [item for item in told(recorded()) if item[1] != "START"]
    assert ends == [
        *[("left", "ABORT")] * 2,
        ("cancelled", "ABORT"),
        ("aleft", "ABORT"),
        ("interrupted", "ABORT"),
        ("interrupted", "COMPLETE"),
        ("interrupted", "FAIL"),
    ]
    assert closed == ["left", "left", "aleft"]


def test_generators_pass_everything_through(recorded: Recorded) -> None:
    @lineage_track("echo")
    def echo() -> Any:
        got = []
        while True:
            try:
                given = yield len(got)
            except KeyError:
                given = "thrown"
            if given is None:
                return got
            got.append((given, current_run() is not None))

    def outer() -> Any:
        return (yield from echo())

    iterator = outer()
    assert next(iterator) == 0
    assert current_run() is None  # between items it is the consumer's turn
    assert iterator.send("sent") == 1
    assert iterator.throw(KeyError()) == 2
    with pytest.raises(StopIteration) as stopped:
        iterator.send(None)
    assert stopped.value.value == [("sent", True), ("thrown", True)]
    never = echo()
    del never
    assert told(recorded()) == [("echo", "START"), ("echo", "COMPLETE")]


def test_a_class_is_no_function() -> None:
    with pytest.raises(TypeError, match="decorate its methods"):
        lineage_track("x")(Shop)


def test_errors_that_are_hard_to_tell_do_no_harm(recorded: Recorded) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    def deep(levels: int) -> None:
        if not levels:
            raise Broken("x" * 100_000)
        deep(levels - 1)

    @lineage_track
    def fail(work: Callable[[], None]) -> None:
        work()

    def mute() -> None:
        raise Mute

    with pytest.raises(Mute):
        fail(mute)
    with pytest.raises(Broken):
        fail(lambda: deep(500))
    _, first, _, second = (event["run"]["facets"].get("errorMessage") for event in recorded())
    assert "Mute" in first["message"]
    assert len(second["message"]) <= 10_000
    assert len(second["stackTrace"]) <= 31_000
