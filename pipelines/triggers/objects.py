"""Triggers on objects in a bucket: files that arrive start a DAG, files that are there end a sensor's wait."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.utils.connections import s3_client
from pipelines.utils.failures import explain

Listing = Mapping[str, tuple[Any, ...]]  # what tells one state of an object from another, by key

LONGEST_PAUSE = 5.0


def list_objects(client: Any, bucket: str, prefix: str, pattern: str = "*") -> list[dict[str, Any]]:
    """Return the objects under a prefix whose name, without the prefix, matches a shell pattern."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [
        item
        for page in pages
        for item in page.get("Contents", ())
        if not item["Key"].endswith("/") and fnmatchcase(item["Key"].removeprefix(prefix), pattern)
    ]


class ArrivalWatch:
    """What the last listing of a folder showed, and whether the next one is a reason to start a run.

    Objects are told apart by key, size, time and tag, never by being newer than others: a store may show a time of
    long before the object appeared (rclone: when its upload began; a copy: that of its original).

    Args:
        remind_seconds: Objects that nobody took are a reason again after this long.
        rest_seconds: The same where some others were taken: the rest of a backlog, which one run doesn't hold.
        known: Digest of the listing that was a reason last, before this process began.
    """

    def __init__(self, remind_seconds: float, rest_seconds: float, known: str | None = None) -> None:
        self.remind_seconds, self.rest_seconds, self.known = remind_seconds, rest_seconds, known
        self._seen: Listing | None = None
        self._written: set[str] = set()
        self._wait = remind_seconds
        self._since = 0.0

    def is_news(self, found: Listing, now: float) -> bool:
        """Whether a listing, made at a moment (seconds, monotonic), is a reason to start a run."""
        if self._seen is None:
            news = bool(found) and digest(found) != self.known
            self._since = now
        else:
            arrived = found.keys() - self._seen.keys()
            taken = self._seen.keys() - found.keys()
            # One that still grows is a reason when it has come to rest, not at every look.
            written = {key for key in found.keys() & self._seen.keys() if found[key] != self._seen[key]}
            news = bool(arrived or (self._written - written) & found.keys())
            self._written = written
            if taken or written:
                self._wait, self._since = self.rest_seconds if taken else self._wait, now
            news = news or bool(found and not written and now - self._since >= self._wait)
        self._seen = found
        if news:
            self._wait, self._since = self.remind_seconds, now
        return news


def digest(found: Listing) -> str:
    """Return a short digest of a listing, the same in every process."""
    return hashlib.blake2b(repr(sorted(found.items())).encode(), digest_size=16).hexdigest()


class ObjectArrivalTrigger(BaseEventTrigger):
    """Fire when objects have arrived under a prefix, and again while some are left waiting there.

    A digest of the listing is kept in the asset's state store, so that a restarted triggerer fires for nothing
    twice. It is written at the look after the event: a triggerer that is killed before Airflow has the event fires
    again. A listing that fails is tried again: an object store that is away must not end the watch.

    Args:
        bucket: Bucket name.
        prefix: Key prefix, ending in a slash.
        conn_id: AWS connection.
        poll_seconds: Seconds between listings; more where listing itself takes long (at most LONGEST_PAUSE).
        remind_seconds: Fire again for objects that are still there after this long (a run that failed left them).
        rest_seconds: The same, where others have been taken meanwhile (a run took as many as one run takes).
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        conn_id: str,
        poll_seconds: float = 2.0,
        remind_seconds: float = 300.0,
        rest_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        self.bucket, self.prefix, self.conn_id = bucket, prefix, conn_id
        self.poll_seconds, self.remind_seconds, self.rest_seconds = poll_seconds, remind_seconds, rest_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments that make it again."""
        names = ("bucket", "prefix", "conn_id", "poll_seconds", "remind_seconds", "rest_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event with the number of objects waiting whenever some have arrived."""
        client, watch, took = None, None, 0.0
        while True:
            try:
                client = client or await sync_to_async(s3_client)(self.conn_id)
                watch = watch or ArrivalWatch(self.remind_seconds, self.rest_seconds, await self._known())
                began = time.monotonic()
                found = await asyncio.to_thread(self._list, client)
                took = time.monotonic() - began
                if watch.is_news(found, began):
                    yield TriggerEvent({"bucket": self.bucket, "prefix": self.prefix, "objects": len(found)})
                else:
                    await self._keep(found, watch)
            except Exception as error:  # anything less than a watch that goes on would lose files
                self.log.warning("listing s3://%s/%s failed, trying again: %s", self.bucket, self.prefix, error)
                client = None
                await asyncio.sleep(5 * self.poll_seconds)
            await asyncio.sleep(max(self.poll_seconds, min(4 * took, LONGEST_PAUSE)))

    def _list(self, client: Any) -> Listing:
        items = list_objects(client, self.bucket, self.prefix)
        return {item["Key"]: (item["Size"], item["LastModified"].timestamp(), item.get("ETag")) for item in items}

    async def _known(self) -> str | None:
        state: Any = self.asset_state_store
        return (await state.aget("listing", None) or {}).get("digest")

    async def _keep(self, found: Listing, watch: ArrivalWatch) -> None:
        now = await asyncio.to_thread(digest, found)
        if now != watch.known:
            state: Any = self.asset_state_store
            await state.aset("listing", {"digest": now, "objects": len(found)})
            watch.known = now


class ObjectsPresentTrigger(BaseTrigger):
    """Fire once a number of objects matches.

    Args:
        bucket: Bucket name.
        prefix: Key prefix.
        pattern: Shell pattern for what follows the prefix.
        minimum: How many objects there have to be.
        conn_id: AWS connection.
        poll_seconds: Seconds between listings.
    """

    def __init__(self, bucket: str, prefix: str, pattern: str, minimum: int, conn_id: str, poll_seconds: float) -> None:
        super().__init__()
        self.bucket, self.prefix, self.pattern, self.minimum = bucket, prefix, pattern, minimum
        self.conn_id, self.poll_seconds = conn_id, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments that make it again."""
        names = ("bucket", "prefix", "pattern", "minimum", "conn_id", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the matching keys once there are enough, or the error that kept them from being listed."""
        try:
            client = await sync_to_async(s3_client)(self.conn_id)
            while True:
                found = await asyncio.to_thread(list_objects, client, self.bucket, self.prefix, self.pattern)
                if len(found) >= self.minimum:
                    yield TriggerEvent({"keys": [item["Key"] for item in found]})
                    return
                await asyncio.sleep(self.poll_seconds)
        except Exception as error:  # the waiting task has to learn of it
            doing = f"looking for s3://{self.bucket}/{self.prefix}{self.pattern}"
            failure = explain(error, doing, self.conn_id)
            told = {"error": failure.message, "permanent": failure.permanent} if failure else {"error": str(error)}
            yield TriggerEvent(told)
