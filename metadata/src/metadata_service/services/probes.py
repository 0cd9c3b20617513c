"""Asking what the service depends on whether it is there, without being held up by what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

PATIENCE = 5.0  # seconds

Answer = TypeVar("Answer")


class Probes:
    """Asks each dependency one question at a time: who asks meanwhile gets the same answer.

    However many ask, and however long a dependency hangs, it takes one thread. Use it on one event loop.
    """

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, dependency: str, question: Callable[[], Answer]) -> Answer:
        """Return what a function answers that may block; it is always the same for a dependency.

        Raises:
            TimeoutError: it has not answered yet.
        """
        asked = self._asked.get(dependency)
        if asked is None or asked.done():
            asked = self._asked[dependency] = asyncio.create_task(asyncio.to_thread(question))
            asked.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be waiting any more
        answer: Answer = await asyncio.wait_for(asyncio.shield(asked), PATIENCE)
        return answer
