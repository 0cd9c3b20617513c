"""What starts an ingest run: the watch over arriving files, against the real object store."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3 as s3_server

pytestmark = pytest.mark.integration

POLL = 0.1
SOON = 8.0
Events = asyncio.Queue[Any]


class AssetState:
    """A stand-in for Airflow's store of an asset's state, which outlives the triggerer."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.values[key] = value


class Server:
    """An object store of the test's own, to be killed and started again."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.client = s3_server.client(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers."""
        server = s3_server.locate(self.settings)
        with (self.settings.home / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(
                server.command, stdout=log, stderr=log, env={**os.environ, **server.environment}
            )
        for _ in range(300):
            try:
                s3_server.make_buckets(self.settings)
            except BotoCoreError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the object store did not come up")

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def put(self, *names: str) -> None:
        """Put files into the watched folder."""
        for name in names:
            self.client.put_object(Bucket="raw", Key=f"t/incoming/{name}", Body=b"x")

    def take(self, *names: str) -> None:
        """Take files away, as a run does."""
        for name in names:
            self.client.delete_object(Bucket="raw", Key=f"t/incoming/{name}")


@pytest.fixture
def server(
    airflow: StackSettings,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    ports = {"minio_port": free_port(), "minio_console_port": free_port()}
    settings = StackSettings(dp_home=tmp_path_factory.mktemp("s3"), _env_file=None, **ports)  # type: ignore[call-arg, arg-type]
    extra = {"endpoint_url": settings.s3_endpoint, "region_name": "us-east-1",
             "config_kwargs": {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}}}  # fmt: skip
    connection = {"conn_type": "aws", "login": "minio", "password": "minio123", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_OWN_STORE", json.dumps(connection))
    server = Server(settings)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def watching(state: AssetState, remind: float = 300.0, rest: float = 30.0) -> AsyncIterator[Events]:
    """Give the events of a watch, which ends with the block as a triggerer does."""
    from pipelines.triggers.objects import ObjectArrivalTrigger

    trigger = ObjectArrivalTrigger("raw", "t/incoming/", "own_store", POLL, remind_seconds=remind, rest_seconds=rest)
    path, arguments = trigger.serialize()
    assert path == "pipelines.triggers.objects.ObjectArrivalTrigger"
    trigger = ObjectArrivalTrigger(**arguments)
    trigger.asset_state_store = state
    queue: Events = asyncio.Queue()

    async def follow() -> None:
        async for event in trigger.run():
            await queue.put(event)

    task = asyncio.create_task(follow())
    try:
        yield queue
    finally:
        assert not task.done(), task.exception()
        task.cancel()


async def fires(events: Events, within: float = SOON) -> int:
    """Return how many objects the next event tells of."""
    event = await asyncio.wait_for(events.get(), within)
    assert (event.payload["bucket"], event.payload["prefix"]) == ("raw", "t/incoming/")
    return int(event.payload["objects"])


async def is_quiet(events: Events, seconds: float = 8 * POLL) -> bool:
    """Whether no event comes for a while."""
    await asyncio.sleep(seconds)
    return events.empty()


def test_new_files_fire_once(server: Server) -> None:
    async def scenario() -> None:
        async with watching(AssetState()) as events:
            assert await is_quiet(events)
        async with watching(AssetState()) as events:
            server.put("a.csv", "b.csv")
            seen = await fires(events)
            if seen == 1:  # it looked between the two
                assert await fires(events) == 2
        state = AssetState()
        async with watching(state) as events:
            assert await fires(events) == 2
            assert await is_quiet(events)

    asyncio.run(scenario())


def test_a_file_fires_whatever_its_time(server: Server) -> None:
    """Of the same moment as one seen before, and of long ago, as a copy that kept its time or a slow upload is."""

    async def scenario() -> None:
        async with watching(AssetState()) as events:
            server.put("a.csv")
            assert await fires(events) == 1
            then = server.client.head_object(Bucket="raw", Key="t/incoming/a.csv")["LastModified"].timestamp()
            for count, (name, time_) in enumerate((("b.csv", then), ("c.csv", 1_000_000_000.0)), start=2):
                mtime = {"mtime": str(time_)}  # rclone takes it for the object's time; other stores keep their own
                server.client.put_object(Bucket="raw", Key=f"t/incoming/{name}", Body=b"x", Metadata=mtime)
                assert await fires(events) == count
            assert await is_quiet(events)

    asyncio.run(scenario())


def test_a_file_that_grows_fires_when_it_has_come_to_rest(server: Server) -> None:
    async def scenario() -> None:
        async with watching(AssetState()) as events:
            server.put("a.csv")
            assert await fires(events) == 1
            for size in range(40):
                server.client.put_object(Bucket="raw", Key="t/incoming/a.csv", Body=b"x" * size)
                await asyncio.sleep(POLL / 4)
            before = events.qsize()
            assert await fires(events) == 1
            assert before <= 2, "it fired at every look"

    asyncio.run(scenario())


def test_the_rest_of_a_backlog_is_remembered_soon(server: Server) -> None:
    async def scenario() -> None:
        server.put("a.csv", "b.csv", "c.csv")
        async with watching(AssetState(), rest=1.0) as events:
            assert await fires(events) == 3
            server.take("a.csv")
            assert await is_quiet(events, 0.6)
            server.take("b.csv")
            assert await is_quiet(events, 0.6)
            assert await fires(events) == 1
            assert await is_quiet(events, 1.5)

    asyncio.run(scenario())


def test_a_triggerer_that_starts_again_fires_for_nothing_twice(server: Server) -> None:
    state = AssetState()

    async def scenario() -> None:
        server.put("a.csv", "b.csv")
        async with watching(state) as events:
            assert await fires(events) == 2
        # Killed before Airflow can have kept the event: it is told again.
        async with watching(state) as events:
            assert await fires(events) == 2
            assert await is_quiet(events)
            server.take("b.csv")
            assert await is_quiet(events)
        assert len(json.dumps(state.values)) < 200
        async with watching(state) as events:
            assert await is_quiet(events)
            server.take("a.csv")
            assert await is_quiet(events)
            server.put("c.csv")
            assert await fires(events) == 1

    asyncio.run(scenario())


def test_files_that_a_failed_run_left_are_remembered(server: Server) -> None:
    async def scenario() -> None:
        server.put("a.csv")
        async with watching(AssetState(), remind=1.0) as events:
            assert await fires(events) == 1
            assert await is_quiet(events, 0.6)
            assert await fires(events) == 1
            server.take("a.csv")
            assert await is_quiet(events, 1.5)

    asyncio.run(scenario())


def test_a_store_that_was_away_ends_no_watch(server: Server) -> None:
    async def scenario() -> None:
        async with watching(AssetState()) as events:
            server.put("a.csv")
            assert await fires(events) == 1
            await asyncio.to_thread(server.kill)
            assert await is_quiet(events, 1.5)
            await asyncio.to_thread(server.start)
            server.put("b.csv")
            assert await fires(events, 20) == 2

    asyncio.run(scenario())


def test_a_sensor_s_trigger_tells_of_an_error(server: Server) -> None:
    from pipelines.triggers.objects import ObjectsPresentTrigger
    from pipelines.triggers.tables import TableReadyTrigger

    async def first(trigger: Any) -> dict[str, Any]:
        path, arguments = trigger.serialize()
        assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
        event = await asyncio.wait_for(anext(type(trigger)(**arguments).run()), 30)
        return dict(event.payload)

    objects = asyncio.run(first(ObjectsPresentTrigger("nowhere", "", "*", 1, "own_store", POLL)))
    assert "there is no" in objects["error"]
    assert objects["permanent"]
    table = asyncio.run(first(TableReadyTrigger("staging", "t", 0, "no_such_connection", POLL)))
    assert "no_such_connection" in table["error"]
