"""Repeated hashes, found range by range, are those that a plain count finds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipelines.ingestion import repeated
from pipelines.ingestion.repeated import RepeatedHashes


@pytest.mark.parametrize("together", [1, 50, 10_000])
def test_what_occurs_more_than_once_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(repeated, "_TOGETHER", together)
    random = np.random.default_rng(1)
    runs = [random.integers(0, 1 << 64, 500, np.uint64) for _ in range(4)]
    runs[1][:20] = runs[0][:20]  # in two runs
    runs[2][:7] = runs[2][100:107]  # twice in one
    runs[3][:2] = (0, (1 << 64) - 1)
    runs[0][-2:] = (0, (1 << 64) - 1)  # the least and the greatest
    keys = RepeatedHashes(tmp_path)
    for run in [*runs, np.empty(0, np.uint64)]:
        keys.add(run)
    expected = sorted(value for value, count in Counter(np.concatenate(runs).tolist()).items() if count > 1)
    assert len(expected) == 29
    assert keys.found().tolist() == expected
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    assert RepeatedHashes(tmp_path).found().tolist() == []
