"""`dp bench monitors`: how often monitors are wrong, on generated histories with planted anomalies.

Every shape is a year's or a season's worth of one measure of a dataset's deliveries, as they come: noise, weekly
rhythms, growth, gaps, drawn counts. Each delivery after the first weeks is judged by what came before it, once as it
is (an alarm is a false one) and once for each anomaly that is planted in its place (no alarm is a miss).
"""

from __future__ import annotations

import datetime as dt
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from data_quality.monitors.expectation import Observation, Scale, expected
from dataplatform_cli.display import out

FOUND, FALSE = 0.95, 1.0  # at least this share of the planted; at most so many false ones of 1,000 checks
_START = dt.datetime(2026, 1, 5, 6, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class _Shape:
    """A kind of measure: how its values come, and what is planted in the place of one."""

    scale: Scale
    value: Callable[[_Series, int, dt.datetime], float]
    anomalies: tuple[Callable[[float], float], ...]
    first: int = 60
    """Deliveries before the first that is judged."""
    every: int = 1
    """Days between deliveries."""
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    lost: float = 0.0
    """The share of deliveries that don't come."""
    whole: bool = False


class _Series:
    """One dataset's measure: the chances it is made of."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)  # noqa: S311  generated data, and nothing secret
        self.base = self.chance.choice([300, 5_000, 200_000])
        self.noise = self.chance.choice([0.03, 0.06, 0.1])
        self.week = [1 + self.chance.uniform(-0.5, 0.5) for _ in range(7)]

    def stray(self) -> float:
        """Return a factor of noise."""
        return math.exp(self.chance.gauss(0, self.noise))

    def wild(self) -> float:
        """Return a factor of noise that now and then is far out: Student's t of 5 degrees of freedom."""
        chi = sum(self.chance.gauss(0, 1) ** 2 for _ in range(5)) / 5
        return math.exp(0.05 * self.chance.gauss(0, 1) / math.sqrt(chi))

    def drawn(self, share: float) -> float:
        """Return the share that is found in as many rows as the dataset's base."""
        share *= math.exp(self.chance.gauss(0, 0.08))
        return min(max(self.chance.gauss(share, math.sqrt(share * (1 - share) / self.base)), 0), 1)


_Changes = tuple[Callable[[float], float], ...]
_COUNTS: _Changes = (lambda value: value * 0.4, lambda value: value * 2.5, lambda value: 0.0)
_SHARES: _Changes = (lambda value: min(value * 4 + 0.1, 1.0),)
_NUMBERS: _Changes = (lambda value: value * 0.7, lambda value: value * 1.5)
_SHAPES = {
    "rows a day, level": _Shape(Scale.COUNT, lambda s, n, at: s.base * s.stray(), _COUNTS),
    "rows a day, growing": _Shape(Scale.COUNT, lambda s, n, at: s.base * math.exp(0.004 * n) * s.stray(), _COUNTS),
    "rows a day, weekly": _Shape(Scale.COUNT, lambda s, n, at: s.base * s.week[at.weekday()] * s.stray(), _COUNTS),
    "rows a day, weekly and growing": _Shape(
        Scale.COUNT, lambda s, n, at: s.base * s.week[at.weekday()] * math.exp(0.003 * n) * s.stray(), _COUNTS
    ),
    "rows a day, weekly, one in 20 lost": _Shape(
        Scale.COUNT, lambda s, n, at: s.base * s.week[at.weekday()] * s.stray(), _COUNTS, lost=0.05
    ),
    "rows a working day": _Shape(
        Scale.COUNT, lambda s, n, at: s.base * s.week[at.weekday()] * s.stray(), _COUNTS, days=(0, 1, 2, 3, 4)
    ),
    "rows a day, heavy tails": _Shape(Scale.COUNT, lambda s, n, at: s.base * s.wild(), _COUNTS),
    "rows a day, weekly, heavy tails": _Shape(
        Scale.COUNT, lambda s, n, at: s.base * s.week[at.weekday()] * s.wild(), _COUNTS
    ),
    "rows a fortnight": _Shape(Scale.COUNT, lambda s, n, at: s.base * s.stray(), _COUNTS, first=12, every=14),
    "rows a day, two weeks old": _Shape(Scale.COUNT, lambda s, n, at: s.base * s.stray(), _COUNTS, first=14),
    "few rows, drawn": _Shape(
        Scale.COUNT,
        lambda s, n, at: s.chance.gauss(60, math.sqrt(60)),
        (lambda value: value * 0.2, lambda value: value * 4, lambda value: 0.0),
    ),
    "share of nulls": _Shape(Scale.SHARE, lambda s, n, at: s.drawn(0.02), _SHARES),
    "share of nulls, weekly": _Shape(Scale.SHARE, lambda s, n, at: s.drawn(0.05 * s.week[at.weekday()]), _SHARES),
    "share that is nothing": _Shape(Scale.SHARE, lambda s, n, at: 0.0, (lambda value: 0.05,)),
    "mean": _Shape(Scale.NUMBER, lambda s, n, at: 40 + s.chance.gauss(0, 1.2), _NUMBERS),
    "mean, weekly": _Shape(Scale.NUMBER, lambda s, n, at: 40 * s.week[at.weekday()] + s.chance.gauss(0, 1), _NUMBERS),
    "median of whole numbers": _Shape(
        Scale.NUMBER,
        lambda s, n, at: float(round(5 + s.chance.gauss(0, 0.3))),
        (lambda value: value + 4, lambda value: 0.0),
        whole=True,
    ),
    "different values": _Shape(
        Scale.COUNT, lambda s, n, at: 30 - (s.chance.random() < 0.2), (lambda value: 5.0, lambda value: value * 3)
    ),
    "hours between deliveries": _Shape(
        Scale.NUMBER, lambda s, n, at: 24 + s.chance.gauss(0, 0.5), (lambda value: value + 12,)
    ),
}


def bench_monitors(checks: int, seed: int) -> dict[str, Any]:
    """Judge about so many deliveries, normal and odd, and return how often that was right.

    Args:
        checks: Normal deliveries that are judged, over all shapes.
        seed: What the histories are generated from.
    """
    began = time.monotonic()
    shapes = []
    for name, shape in _SHAPES.items():
        figures: dict[str, Any] = {"shape": name, "checks": 0, "false": 0, "planted": 0, "found": 0}
        number = 0
        while figures["checks"] < checks / len(_SHAPES):
            _judge(shape, _Series(f"{seed} {name} {number}"), figures)
            number += 1
        shapes.append(figures)
    totals = {key: sum(figures[key] for figures in shapes) for key in ("checks", "false", "planted", "found")}
    return totals | {"seed": seed, "seconds": time.monotonic() - began, "shapes": shapes}


def _judge(shape: _Shape, series: _Series, figures: dict[str, Any]) -> None:
    """Judge 60 deliveries of a series, each by those before it."""
    history: list[Observation] = []
    for item in _deliveries(shape, series):
        if len(history) >= shape.first + 60:
            return
        if len(history) >= shape.first:
            step = 1.0 if shape.whole else 0.0
            found = expected(history, item.at, shape.scale, size=item.size, step=step)
            if found is not None:
                figures["checks"] += 1
                figures["false"] += not found.low <= item.value <= found.high
                odd = [change(item.value) for change in shape.anomalies]
                figures["planted"] += len(odd)
                figures["found"] += sum(not found.low <= value <= found.high for value in odd)
        history.append(item)


def _deliveries(shape: _Shape, series: _Series) -> Iterator[Observation]:
    size = series.base if shape.scale is Scale.SHARE else 1_000
    at, number = _START + series.chance.randrange(7) * _DAY, 0
    while True:
        at, number = at + shape.every * _DAY, number + 1
        if at.weekday() in shape.days and series.chance.random() >= shape.lost:
            value = shape.value(series, number, at)
            minutes = dt.timedelta(minutes=series.chance.uniform(-30, 30))
            yield Observation(at + minutes, max(round(value), 0) if shape.scale is Scale.COUNT else value, size)


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"monitors on generated histories, seed {figures['seed']}", box=None)
    for name in ("measure", "checks", "false alarms", "planted", "found"):
        table.add_column(name, justify="left" if name == "measure" else "right")
    for one in figures["shapes"]:
        table.add_row(one["shape"], *(f"{one[key]:,}" for key in ("checks", "false", "planted", "found")))
    out.print(table)
    wrong, found = 1000 * figures["false"] / figures["checks"], figures["found"] / figures["planted"]
    out.print(f"false alarms of 1,000 checks: {wrong:.2f} (should be at most {FALSE:.0f})")
    out.print(f"found of the planted: {100 * found:.1f} % (should be at least {100 * FOUND:.0f} %)")
    out.print(f"[dim]{1000 * figures['seconds'] / figures['checks']:.1f} ms a check[/]")
