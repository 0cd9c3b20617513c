"""Triggers on objects in a bucket: files that arrive start a DAG, files that are there end a sensor's wait."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.utils.connections import s3_client


def list_objects(client: Any, bucket: str, prefix: str, pattern: str = "*") -> list[dict[str, Any]]:
    """Return the objects under a prefix whose name, without the prefix, matches a shell pattern."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [
        item
        for page in pages
        for item in page.get("Contents", ())
        if not item["Key"].endswith("/") and fnmatchcase(item["Key"].removeprefix(prefix), pattern)
    ]


class ObjectArrivalTrigger(BaseEventTrigger):
    """Fire when objects have arrived under a prefix, and again while some are left waiting there.

    What was seen is kept in the asset's state store as a watermark (the newest modification time, and the keys that
    carry it), so that a restarted triggerer fires for nothing twice. A listing that fails is tried again: an object
    store that is away must not end the watch.

    Args:
        bucket: Bucket name.
        prefix: Key prefix, ending in a slash.
        conn_id: AWS connection.
        poll_seconds: Seconds between listings.
        remind_seconds: Fire again for objects that are still there after this long (a run that failed left them).
    """

    def __init__(
        self, bucket: str, prefix: str, conn_id: str, poll_seconds: float = 2.0, remind_seconds: float = 300.0
    ) -> None:
        super().__init__()
        self.bucket, self.prefix, self.conn_id = bucket, prefix, conn_id
        self.poll_seconds, self.remind_seconds = poll_seconds, remind_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments that make it again."""
        names = ("bucket", "prefix", "conn_id", "poll_seconds", "remind_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event with the number of objects waiting whenever some have arrived."""
        client = None
        while True:
            try:
                client = client or await sync_to_async(s3_client)(self.conn_id)
                found = await asyncio.to_thread(list_objects, client, self.bucket, self.prefix)
                if found and await self._is_news(found):
                    yield TriggerEvent({"bucket": self.bucket, "prefix": self.prefix, "objects": len(found)})
            except Exception as error:  # anything less than a watch that goes on would lose files
                self.log.warning("listing s3://%s/%s failed, trying again: %s", self.bucket, self.prefix, error)
                client = None
                await asyncio.sleep(5 * self.poll_seconds)
            await asyncio.sleep(self.poll_seconds)

    async def _is_news(self, found: list[dict[str, Any]]) -> bool:
        now = dt.datetime.now(dt.UTC)
        newest = max(item["LastModified"] for item in found)
        keys = sorted(item["Key"] for item in found if item["LastModified"] == newest)
        seen = await self.asset_state_store.aget("watermark", None) or {}
        since = dt.datetime.fromisoformat(seen["newest"]) if seen else dt.datetime.min.replace(tzinfo=dt.UTC)
        fired = dt.datetime.fromisoformat(seen["fired"]) if seen else since
        arrived = newest > since or (newest == since and not set(keys) <= set(seen["keys"]))
        if not arrived and (now - fired).total_seconds() < self.remind_seconds:
            return False
        watermark = {"newest": max(newest, since).isoformat(), "keys": keys, "fired": now.isoformat()}
        await self.asset_state_store.aset("watermark", watermark)
        return True


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
            yield TriggerEvent({"error": str(error)})
