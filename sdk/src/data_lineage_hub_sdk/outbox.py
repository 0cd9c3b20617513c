"""What has been recorded, on its way to the hub: a queue in memory, two threads, a spool on disk.

The caller only puts a record into the queue: microseconds, whatever the hub does. The *collector* turns records into
batches. The *sender* delivers batches one after the other. While the hub is away, or slower than what comes in, the
collector writes batches to the spool, and the sender delivers them from there, in order, once the hub is back.

    put ─▶ queue (bounded) ─▶ collector ─▶ a few batches in memory ─▶ sender ─▶ transport
                                   └────▶ spool on disk ───────────────▲

Both threads start with the first record of a process, so a forked child has its own. What is still in memory when the
process ends gets `flush_timeout` seconds for delivery and goes to the spool then.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  an encoder's imports would need it, which fails once the process ends
import contextlib
import logging
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from data_lineage_hub_sdk.batch import Batch, Outcome
from data_lineage_hub_sdk.forks import at_fork
from data_lineage_hub_sdk.ids import jitter
from data_lineage_hub_sdk.settings import Settings
from data_lineage_hub_sdk.spool import Spool, send_waiting
from data_lineage_hub_sdk.transports import Transport

log = logging.getLogger(__name__)

Encoder = Callable[[Sequence[Any]], "list[Batch]"]

_BATCHES_IN_MEMORY = 8
_YIELD_SECONDS = 0.0001
_TICK = 0.01
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.5, 60.0
_KNOWN_AWAY_SECONDS = 15.0
_LOOK_SECONDS = 30.0  # how often an idle sender looks for what others left in the spool
_WARN_SECONDS = 60.0

# A child that is forked in the middle of an import could never import that again: a fork waits until it is done.
_no_fork = threading.RLock()  # re-entrant, should an import fork
at_fork(before=_no_fork.acquire, in_parent=_no_fork.release, in_child=_no_fork.release)


class _Barrier(threading.Event):
    """Stands in the queue for whoever waits until all before it is collected."""

    has_gathered = False


class Outbox:
    """Takes records and delivers them in the background.

    Args:
        transport: how batches are delivered.
        prepare: imports what `encode` needs, in the background.
        encode: turns records into batches, in the background.
        gather: puts records that are not put as they come; called every `metric_interval` and before a flush.
        settings: bounds and times.
    """

    def __init__(
        self,
        transport: Transport,
        prepare: Callable[[], None],
        encode: Encoder,
        gather: Callable[[], None],
        settings: Settings,
    ) -> None:
        self._transport = transport
        self._prepare = prepare
        self._encode = encode
        self._gather = gather
        self._settings = settings
        self.spool = Spool(settings.spool_folder, settings.spool_max_bytes)
        self._reset()

    def _reset(self) -> None:
        """Begin anew, without threads: in a new outbox and in a child process."""
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()  # re-entrant: a generator may end anywhere
        self._ready: deque[Batch] = deque()
        self._state = threading.Condition()
        self._start_lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._started = self._closed = self._hurry = False
        self._in_hand: list[Any] = []
        self._in_flight: Batch | None = None
        self._behind = True  # until the sender has looked into the spool
        self._failures = 0
        self._not_before = 0.0
        self._dropped = 0
        self._warned = 0.0

    def start(self) -> None:
        """Start the threads, and see to it that the end of the process finds an empty memory; once is enough."""
        if self._started:
            return
        with self._start_lock:
            if self._started:
                return
            self._started = True
            atexit.register(self.close)
            _close_with_multiprocessing(self.close)
            for work in (self._collect, self._send):
                thread = threading.Thread(target=work, name=f"lineage-hub-{work.__name__[1:]}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending: `put` does the work
                    self._closed = True
                    return
                self._threads.append(thread)

    def put(self, record: Any) -> None:
        """Take a record; never raises. It takes microseconds, and more the fuller the queue is beyond its half.

        From a tenth of a millisecond it goes up to 25, which lets the collector have the interpreter. Only if the
        collector hangs nevertheless, on a disk that does, is a record lost, which the log tells.
        """
        self.start()
        filled = self._queue.qsize() / self._settings.queue_size
        if filled > 0.5:
            time.sleep(_YIELD_SECONDS * 4 ** int(min(filled - 0.5, 0.5) * 8))
            if self._queue.qsize() >= self._settings.queue_size:
                self._dropped += 1
                return
        self._queue.put(record)
        if self._closed:
            self._keep_all()

    def is_filled(self) -> bool:
        """Return whether so much waits in memory that whoever can wait should."""
        return self._queue.qsize() * 2 > self._settings.queue_size

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything taken so far is delivered or spooled.

        Returns:
            Whether all is delivered: nothing waits in memory or in the spool.
        """
        deadline = time.monotonic() + (self._settings.flush_timeout if timeout is None else timeout)
        if not self._started:
            return True
        if self._closed:
            return not self.spool.waiting()
        collected = _Barrier()
        self._hurry = True
        self._queue.put(collected)
        collected.wait(max(deadline - time.monotonic(), 0))
        self._hurry = False
        while not self._settled() and time.monotonic() < deadline:
            time.sleep(_TICK / 4)
        return collected.is_set() and self._settled() and not self._behind

    def close(self, timeout: float | None = None) -> None:
        """Deliver what can be delivered in time, spool the rest, and end the threads."""
        if self._closed:
            return
        if self._started:
            self.flush(timeout)
        with self._state:
            self._closed = True
            self._queue.put(_Barrier())  # wakes the collector
            self._state.notify_all()
        for thread in self._threads:
            thread.join(0.2)
        if self._in_flight is not None:  # the sender waits for a hub that is gone: it is left alone, and others told
            with contextlib.suppress(OSError):
                self.spool.note_unreachable()
        self._keep_all()
        if self._dropped:
            self._tell_dropped()
        self._transport.close()
        atexit.unregister(self.close)

    def after_fork(self) -> None:
        """Begin anew in a child process: what is in memory belongs to the parent, who sends it."""
        self._reset()
        self._transport.after_fork()

    def _settled(self) -> bool:
        """Whether nothing that was collected is on its way: it is delivered, or in the spool of a hub that is away."""
        with self._state:
            if self._ready or self._in_flight:
                return False
            return not self._behind or time.monotonic() < self._not_before

    # The collector

    def _collect(self) -> None:
        with _no_fork:
            try:
                self._prepare()
            except Exception:
                log.exception("lineage or telemetry can't be encoded")
        gathered = time.monotonic()
        while not self._closed:
            taken = []
            with contextlib.suppress(queue.Empty):
                taken.append(self._queue.get(timeout=self._settings.metric_interval))
            self._in_hand = taken
            try:
                if time.monotonic() - gathered >= self._settings.metric_interval:
                    gathered = time.monotonic()
                    self._gather()
                self._linger()
                self._collect_all(taken)
            except Exception:
                log.exception("records of lineage or telemetry are lost")

    def _linger(self) -> None:
        until = time.monotonic() + self._settings.linger
        while not self._hurry and self._queue.qsize() < self._settings.batch_size and time.monotonic() < until:
            time.sleep(min(_TICK, self._settings.linger))

    def _collect_all(self, taken: list[Any]) -> None:
        while taken := self._take(taken):
            records = [item for item in taken if not isinstance(item, _Barrier)]
            self._in_hand = records
            for batch in self._encode(records) if records else ():
                self._hand_over(batch)
            self._in_hand = []
            for item in taken:
                if isinstance(item, _Barrier):
                    self._pass(item)
            taken = []
        if self._dropped and time.monotonic() - self._warned > _WARN_SECONDS:
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped, self._dropped, self._warned = self._dropped, 0, time.monotonic()
        log.error("%d records of lineage or telemetry are lost: more came in than the disk could take", dropped)

    def _pass(self, barrier: _Barrier) -> None:
        """Let go whoever flushes: all that was put before is collected, and then what had to be gathered."""
        if barrier.has_gathered:
            barrier.set()
            return
        barrier.has_gathered = True
        self._gather()
        self._queue.put(barrier)

    def _take(self, taken: list[Any]) -> list[Any]:
        with contextlib.suppress(queue.Empty):
            while len(taken) < self._settings.batch_size:
                taken.append(self._queue.get_nowait())
        return taken

    def _hand_over(self, batch: Batch) -> None:
        with self._state:
            if not self._behind and len(self._ready) < _BATCHES_IN_MEMORY and not self._closed:
                self._ready.append(batch)
            else:
                self._keep(batch)
                self._behind = True
            self._state.notify_all()

    def _keep(self, batch: Batch) -> None:
        try:
            self.spool.add(batch.body, batch.kind)
        except OSError as error:
            log.error("%d records of lineage or telemetry are lost: %s", len(batch.items), error)

    def _keep_all(self) -> None:
        """Spool whatever is in memory; the threads have ended or hang."""
        with self._state:
            batches = [*([self._in_flight] if self._in_flight else []), *self._ready]
            self._ready.clear()
        taken = [*self._in_hand]
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._queue.get_nowait())
        records = [item for item in taken if not isinstance(item, _Barrier)]
        try:
            batches += self._encode(records) if records else []
        except Exception:
            log.exception("%d records of lineage or telemetry are lost", len(records))
        for batch in batches:
            self._keep(batch)
        if records:
            self._gather()

    # The sender

    def _send(self) -> None:
        self._look()
        while True:
            with self._state:
                self._state.wait_for(self._has_work, self._idle_seconds())
                if self._closed:
                    return
                batch = self._in_flight = self._ready.popleft() if self._ready else None
            try:
                if batch is not None:
                    self._send_one(batch)
                else:
                    self._replay()
            except Exception as error:
                log.exception("delivering lineage or telemetry failed")
                if batch is not None:
                    self._keep(batch)
                    self._in_flight = None
                self._back_off(Outcome("retry", f"{type(error).__name__}: {error}"))

    def _look(self) -> None:
        """Begin with what earlier processes left in the spool, and with what they found out."""
        away = self.spool.unreachable_for()
        with self._state:
            if away < _KNOWN_AWAY_SECONDS:  # a short script needn't wait once more for a hub that is gone
                self._not_before = time.monotonic() + _KNOWN_AWAY_SECONDS - away
            else:
                self._behind = self.spool.waiting() > 0

    def _has_work(self) -> bool:
        return self._closed or bool(self._ready) or (self._behind and time.monotonic() >= self._not_before)

    def _idle_seconds(self) -> float:
        return max(self._not_before - time.monotonic(), 0.001) if self._behind else _LOOK_SECONDS

    def _send_one(self, batch: Batch) -> None:
        outcome = self._transport.send(batch)
        if outcome.kind == "rejected" or outcome.refused:
            self.spool.refuse(batch, outcome)
            self._tell_refused(outcome)
        with self._state:
            if self._closed:  # it is in the spool by now
                return
            if outcome.kind == "retry":
                for unsent in (batch, *self._ready):
                    self._keep(unsent)
                self._ready.clear()
                self._back_off(outcome)
            else:
                self._failures = 0
            self._in_flight = None

    def _replay(self) -> None:
        if self._behind and time.monotonic() < self._not_before:
            return
        result = send_waiting(self.spool, self._transport, seconds=_LOOK_SECONDS)
        last = result.last
        if last is not None and last.kind == "retry":
            self._back_off(last)
            return
        self._failures, self._not_before = 0, 0.0
        if last is not None:
            self.spool.note_reachable()
        with self._state:
            self._behind = self.spool.waiting() > 0
        if result.rejected or (last is not None and last.refused):
            self._tell_refused(last)

    def _back_off(self, outcome: Outcome) -> None:
        """Leave the hub alone for a while: exponential, with full jitter, and as long as it asked for."""
        self._behind = True
        self._failures += 1
        longest = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** min(self._failures, 10))
        self._not_before = time.monotonic() + outcome.after + jitter(0, longest)
        with contextlib.suppress(OSError):
            self.spool.note_unreachable()
        if self._failures == 1 or time.monotonic() - self._warned > _WARN_SECONDS:
            self._warned = time.monotonic()
            log.warning("lineage hub: %s; what is recorded waits in %s", outcome.reason, self.spool.folder)

    def _tell_refused(self, outcome: Outcome | None) -> None:
        reason = "" if outcome is None else outcome.reason or (outcome.refused and outcome.refused[0][1]) or ""
        log.error("lineage hub refused what it can never take, kept in %s: %s", self.spool.rejected, reason)


def _close_with_multiprocessing(close: Callable[[], None]) -> None:
    """End with a worker of multiprocessing, which leaves without calling what `atexit` knows."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    from multiprocessing import util

    util.Finalize(None, close, exitpriority=0)
