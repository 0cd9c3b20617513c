"""Which keys occur more than once in a file, told by their hashes, in bounded memory however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_BITS = 8  # hashes are told apart by so many of their first bits
_TOGETHER = 4_000_000  # hashes that are compared at once: 8 bytes each


class RepeatedHashes:
    """Takes hashes run by run and finds those that occur more than once.

    A run is written sorted, so that one range of values of all runs can be read and compared without the rest.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bounds: list[Any] = []  # of each run: where each range of hashes begins, in hashes

    def add(self, hashes: Any) -> None:
        """Take a run of hashes: an array of uint64."""
        ordered = np.sort(hashes)
        ordered.tofile(self._run(len(self._bounds)))
        firsts = np.arange(1 << _BITS, dtype=np.uint64) << np.uint64(64 - _BITS)
        self._bounds.append(np.append(np.searchsorted(ordered, firsts), len(ordered)))

    def found(self) -> Any:
        """Return the hashes that occur more than once, each once and in order, as an array of uint64."""
        repeated = [np.empty(0, np.uint64)]
        for first, last in self._ranges():
            runs = [self._read(number, bounds[first], bounds[last]) for number, bounds in enumerate(self._bounds)]
            ordered = np.sort(np.concatenate(runs))
            repeated.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
        for number in range(len(self._bounds)):
            self._run(number).unlink()
        self._bounds.clear()
        return np.concatenate(repeated)

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield neighbouring ranges that can be compared together, as the first one and the one after the last."""
        if not self._bounds:
            return
        sizes = np.diff(np.sum(self._bounds, axis=0))
        first, held = 0, 0
        for place, size in enumerate(sizes):
            if held and held + size > _TOGETHER:
                yield first, place
                first, held = place, 0
            held += size
        yield first, len(sizes)

    def _read(self, number: int, start: int, stop: int) -> Any:
        return np.fromfile(self._run(number), np.uint64, int(stop - start), offset=int(start) * 8)

    def _run(self, number: int) -> Path:
        return self._folder / f"hashes-{number}"
