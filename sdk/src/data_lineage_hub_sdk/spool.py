"""What could not be delivered, kept on disk until it can. Standard library only.

One file a batch, or an event by itself, named by time, so that the order of names is the order of events. Any number
of processes may write and drain a spool at once: a file appears whole (written aside, then renamed), and whoever sends
it first claims it by renaming it. The claim of a process that died is returned after a while: the hub takes an event
twice without harm.

    <spool>/<nanoseconds>-<random>.json          an event that waits
    <spool>/<nanoseconds>-<random>.<kind>        a batch that waits: the body of its request (batch.py has the kinds)
    <spool>/….json.claimed                       being sent
    <spool>/rejected/<name>.json                 {"reason": …, "event": …}: the hub refused it for good
    <spool>/.unreachable                         its time is when the hub last failed to answer
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from data_lineage_hub_sdk.batch import KINDS, Batch, Kind, Outcome
from data_lineage_hub_sdk.delivery import Sender

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 256 * 1024 * 1024
CLAIM_SECONDS = 60.0
_EVENT = ".json"
_WAITING = (_EVENT, *(f".{kind}" for kind in KINDS if kind != "event"))
_CLAIMED = ".claimed"
_HALF_WRITTEN = ".tmp"


class Courier(Protocol):
    """Whatever delivers batches."""

    def send(self, batch: Batch) -> Outcome:
        """Deliver a batch; never raises."""


@dataclass(frozen=True)
class DrainResult:
    """Counts of files, an event or a batch each: delivered, still waiting, refused for good.

    `last` is what became of the last one that was tried.
    """

    sent: int
    left: int
    rejected: int
    last: Outcome | None = None


class Spool:
    """A folder of undelivered events.

    Args:
        folder: made on first use, readable by its owner only.
        max_bytes: bound of what waits, and again of what was rejected; the oldest events go first, with a warning.
    """

    def __init__(self, folder: str | Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = Path(folder)
        self.rejected = self.folder / "rejected"
        self.max_bytes = max_bytes

    def add(self, content: bytes, kind: Kind = "event") -> None:
        """Keep an event, or the body of a batch.

        Raises:
            OSError: the disk doesn't take it.
        """
        suffix = _EVENT if kind == "event" else f".{kind}"
        self._write(self.folder, _new_name() + suffix, content)

    def reject(self, content: bytes, reason: str, name: str | None = None) -> None:
        """Keep what the hub refused for good, and why.

        Raises:
            OSError: the disk doesn't take it.
        """
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = json.dumps({"base64": base64.b64encode(content).decode()})
        try:
            event: object = json.loads(text)
        except ValueError:
            event = text
        record = json.dumps({"reason": reason, "event": event}).encode()
        self._write(self.rejected, (name or _new_name()) + _EVENT, record)

    def refuse(self, batch: Batch, outcome: Outcome) -> None:
        """Keep the items of a batch that were refused for good, and why.

        Raises:
            OSError: the disk doesn't take it.
        """
        refused = outcome.refused or tuple((at, outcome.reason) for at in range(len(batch.items)))
        for at, reason in refused:
            self.reject(batch.items[at], reason)

    def pending(self) -> int:
        """Return how many events and batches wait or are being sent."""
        return sum(1 for name in self._names() if name.endswith((*_WAITING, _CLAIMED)))

    def waiting(self) -> int:
        """Return how many events and batches wait and are not being sent."""
        return sum(1 for name in self._names() if name.endswith(_WAITING))

    def claims(self, limit: int | None = None) -> Iterator[Path]:
        """Claim events and batches, oldest first, one at a time. The caller removes, rejects or releases each."""
        self._tidy()
        waiting = sorted(name for name in self._names() if name.endswith(_WAITING))
        for name in waiting[:limit]:
            claimed = self.folder / (name + _CLAIMED)
            try:
                (self.folder / name).rename(claimed)
            except FileNotFoundError:
                continue  # another process was faster
            yield claimed

    def release(self, claimed: Path) -> None:
        """Let what was claimed wait again."""
        with contextlib.suppress(FileNotFoundError):
            claimed.rename(self.folder / claimed.name.removesuffix(_CLAIMED))

    def note_unreachable(self) -> None:
        """Remember, for every process on this machine, that the hub just failed to answer."""
        self._make(self.folder)
        (self.folder / ".unreachable").touch(0o600)

    def note_reachable(self) -> None:
        """Forget that the hub failed to answer."""
        with contextlib.suppress(OSError):  # a spool that can't be used must not stop a delivery
            (self.folder / ".unreachable").unlink()

    def unreachable_for(self) -> float:
        """Return the seconds since the hub last failed to answer; infinity if it did answer since."""
        try:
            return max(0.0, time.time() - (self.folder / ".unreachable").stat().st_mtime)
        except OSError:
            return float("inf")

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in self.folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _tidy(self) -> None:
        """Return the claims of processes that died, and remove what they had half written."""
        for name in self._names():
            if not name.endswith((_CLAIMED, _HALF_WRITTEN)):
                continue
            file = self.folder / name
            with contextlib.suppress(FileNotFoundError):
                # The status change, unlike the modification, is also when a file was renamed.
                if time.time() - file.stat().st_ctime <= CLAIM_SECONDS:
                    continue
                if name.endswith(_CLAIMED):
                    self.release(file)
                else:
                    file.unlink()

    @staticmethod
    def _make(folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        self._make(folder)
        self._make_room(folder, len(content))
        aside = folder / f".{name}.{uuid.uuid4().hex[:8]}{_HALF_WRITTEN}"
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(folder / name)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def _make_room(self, folder: Path, needed: int) -> None:
        sizes = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_WAITING):
                    with contextlib.suppress(FileNotFoundError):
                        sizes.append((entry.name, entry.stat().st_size))
        excess = sum(size for _, size in sizes) + needed - self.max_bytes
        dropped = 0
        for name, size in sorted(sizes):
            if excess <= 0:
                break
            (folder / name).unlink(missing_ok=True)
            excess -= size
            dropped += 1
        if dropped:
            log.warning("%s holds %d bytes: dropped its %d oldest files", folder, self.max_bytes, dropped)


def _new_name() -> str:
    return f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"


def _read(claimed: Path) -> Batch:
    name = claimed.name.removesuffix(_CLAIMED)
    kind = "event" if name.endswith(_EVENT) else name.rpartition(".")[2]
    return Batch.from_body(cast(Kind, kind), claimed.read_bytes())


def send_waiting(spool: Spool, courier: Courier, limit: int | None = None, seconds: float | None = None) -> DrainResult:
    """Send what waits, oldest first, until one can't be delivered, `limit` were tried or `seconds` have passed."""
    sent = rejected = 0
    outcome: Outcome | None = None
    deadline = None if seconds is None else time.monotonic() + seconds
    for claimed in spool.claims(limit):
        try:
            batch = _read(claimed)
            outcome = courier.send(batch)
            if outcome.kind == "rejected" or outcome.refused:
                spool.refuse(batch, outcome)
        except FileNotFoundError:
            continue  # held so long that another process took it over
        except OSError as error:
            outcome = Outcome("retry", str(error))
        except ValueError as error:  # half a file: its disk was full, or someone wrote it by hand
            outcome = Outcome("rejected", str(error))
            spool.reject(claimed.read_bytes(), outcome.reason)
        if outcome.kind == "retry":
            spool.release(claimed)
            break
        claimed.unlink(missing_ok=True)
        sent += outcome.kind == "sent"
        rejected += outcome.kind == "rejected"
        if deadline is not None and time.monotonic() > deadline:
            break
    return DrainResult(sent, spool.pending(), rejected, outcome)


def tell_left(spool: Spool, result: DrainResult) -> None:
    """Say in the log why something still waits, if the hub is why."""
    if result.last is not None and result.last.kind == "retry":
        log.warning("lineage hub: %s; events stay in %s", result.last.reason, spool.folder)


def drain(spool_dir: str | Path, url: str, api_key: str, timeout: float = 10.0) -> DrainResult:
    """Deliver what waits in a spool, stopping at the first event that can't be delivered now.

    Raises:
        ValueError: `url` is no address.
        OSError: the spool can't be read.
    """
    spool = Spool(spool_dir)
    with Sender(url, api_key, timeout) as sender:
        result = send_waiting(spool, sender)
    if result.sent:
        spool.note_reachable()
    tell_left(spool, result)
    return result


def pending(spool_dir: str | Path) -> int:
    """Return how many events wait in a spool."""
    return Spool(spool_dir).pending()
