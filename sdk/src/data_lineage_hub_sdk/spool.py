"""Events that could not be delivered, kept on disk until they can. Standard library only.

One JSON file an event, named by time, so that the order of names is the order of events. Any number of processes may
write and drain a spool at once: a file appears whole (written aside, then renamed), and whoever sends it first claims
it by renaming it. The claim of a process that died is returned after a while: the hub takes an event twice without
harm.

    <spool>/<nanoseconds>-<random>.json          waiting
    <spool>/<nanoseconds>-<random>.json.claimed  being sent
    <spool>/rejected/<name>.json                 {"reason": …, "event": …}: the hub refused it for good
    <spool>/.unreachable                         its time is when the hub last failed to answer
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_lineage_hub_sdk.delivery import Outcome, Sender

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 256 * 1024 * 1024
CLAIM_SECONDS = 60.0
_WAITING = ".json"
_CLAIMED = ".json.claimed"
_HALF_WRITTEN = ".tmp"


@dataclass(frozen=True)
class DrainResult:
    """Counts of events: delivered, still waiting, refused for good."""

    sent: int
    left: int
    rejected: int


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

    def add(self, event: bytes) -> None:
        """Keep an event.

        Raises:
            OSError: the disk doesn't take it.
        """
        self._write(self.folder, f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}{_WAITING}", event)

    def reject(self, event: bytes, reason: str, name: str | None = None) -> None:
        """Keep an event that the hub refused for good, and why.

        Raises:
            OSError: the disk doesn't take it.
        """
        try:
            content: object = json.loads(event)
        except ValueError:
            content = event.decode("utf-8", "replace")
        record = json.dumps({"reason": reason, "event": content}).encode()
        self._write(self.rejected, name or f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}{_WAITING}", record)

    def pending(self) -> int:
        """Return how many events wait or are being sent."""
        return sum(1 for name in self._names() if name.endswith((_WAITING, _CLAIMED)))

    def claims(self, limit: int | None = None) -> Iterator[Path]:
        """Claim events, oldest first, one at a time. The caller removes, rejects or releases each."""
        self._tidy()
        waiting = sorted(name for name in self._names() if name.endswith(_WAITING))
        for name in waiting[:limit]:
            claimed = self.folder / (name.removesuffix(_WAITING) + _CLAIMED)
            try:
                (self.folder / name).rename(claimed)
            except FileNotFoundError:
                continue  # another process was faster
            yield claimed

    def release(self, claimed: Path) -> None:
        """Let a claimed event wait again."""
        with contextlib.suppress(FileNotFoundError):
            claimed.rename(self.folder / (claimed.name.removesuffix(_CLAIMED) + _WAITING))

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
            log.warning("%s holds %d bytes: dropped its %d oldest events", folder, self.max_bytes, dropped)


def send_waiting(spool: Spool, sender: Sender, limit: int | None = None, seconds: float | None = None) -> DrainResult:
    """Send waiting events, oldest first, until one can't be delivered, `limit` were tried or `seconds` have passed."""
    sent = rejected = 0
    deadline = None if seconds is None else time.monotonic() + seconds
    for claimed in spool.claims(limit):
        try:
            event = claimed.read_bytes()
            outcome = sender.send(event)
            if outcome.kind == "rejected":
                spool.reject(event, outcome.reason, claimed.name.removesuffix(_CLAIMED) + _WAITING)
        except FileNotFoundError:
            continue  # held so long that another process took it over
        except OSError as error:
            outcome = Outcome("retry", str(error))
        if outcome.kind == "retry":
            spool.release(claimed)
            log.warning("lineage hub: %s; events stay in %s", outcome.reason, spool.folder)
            break
        claimed.unlink(missing_ok=True)
        sent += outcome.kind == "sent"
        rejected += outcome.kind == "rejected"
        if deadline is not None and time.monotonic() > deadline:
            break
    return DrainResult(sent, spool.pending(), rejected)


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
    return result


def pending(spool_dir: str | Path) -> int:
    """Return how many events wait in a spool."""
    return Spool(spool_dir).pending()
