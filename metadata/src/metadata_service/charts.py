"""Small charts of the web pages, as SVG that the server writes: nothing to load, nothing to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from metadata_service.schemas.products import QualityDay
from metadata_service.schemas.runs import RunOut

WIDTH, HEIGHT = 1100, 110
GAP = 4
WIDEST = 30  # pixels that a bar and its gap take at most
_UNITS = ((3600.0, " h"), (60.0, " min"), (1.0, " s"), (0.001, " ms"))
_TONES = {"COMPLETED": "good", "FAILED": "bad", "ABORTED": "warn"}


@dataclass(frozen=True)
class Bar:
    """A bar, from below upwards in parts: (class of its colour, share of the chart's height). `label` explains it."""

    x: float
    width: float
    parts: list[tuple[str, float, float]]
    label: str
    href: str | None = None


@dataclass(frozen=True)
class Chart:
    """Bars side by side with a scale: (height from above, text)."""

    bars: list[Bar]
    width: float
    height: float
    ticks: list[tuple[float, str]]


def of_days(days: Sequence[QualityDay]) -> Chart | None:
    """Return the chart of check results by day, None where there were none."""
    if not any(day.passed or day.failed or day.errors for day in days):
        return None
    return stacked(
        [
            (
                f"{day.day}: {day.passed:,} passed, {day.failed:,} failed, {day.errors:,} in error",
                None,
                [("good", day.passed), ("bad", day.failed), ("error", day.errors)],
            )
            for day in days
        ]
    )


def of_durations(runs: Sequence[RunOut]) -> Chart | None:
    """Return the chart of how long runs took, None where fewer than two have ended."""
    ended = [(run, run.duration_seconds) for run in runs if run.duration_seconds is not None]
    if len(ended) < 2:
        return None
    longest = max(seconds for _, seconds in ended)
    size, unit = next((size, unit) for size, unit in _UNITS if longest >= size or size == _UNITS[-1][0])
    return stacked(
        [
            (
                f"{run.started_at:%Y-%m-%d %H:%M} UTC: {seconds:,.1f} s, {run.state.lower()}",
                f"/ui/runs/{quote(run.id, safe='')}",
                [(_TONES.get(run.state, "other"), max(seconds, longest / 1000) / size)],
            )
            for run, seconds in ended
        ],
        unit,
    )


def stacked(columns: Sequence[tuple[str, str | None, Sequence[tuple[str, float]]]], unit: str = "") -> Chart:
    """Return a chart of stacked bars.

    Args:
        columns: For each bar its label, where it leads to, and (class of colour, value) of its parts from below.
        unit: What is behind the numbers of the scale.
    """
    top = _round_up(max((sum(value for _, value in parts) for _, _, parts in columns), default=0.0))
    step = min(WIDEST, WIDTH / max(len(columns), 1))
    bars = []
    for place, (label, href, parts) in enumerate(columns):
        below, drawn = 0.0, []
        for tone, value in parts:
            height = value / top * HEIGHT
            if value and height < 2:
                height = 2.0  # too little to be seen is still not nothing
            drawn.append((tone, HEIGHT - below - height, height))
            below += height
        bars.append(Bar(place * step, step - GAP, [part for part in drawn if part[2]], label, href))
    width = max(len(bars) * step - GAP, 1)
    return Chart(bars, width, HEIGHT, [(0.0, f"{top:g}{unit}"), (HEIGHT / 2, f"{top / 2:g}{unit}"), (HEIGHT, "0")])


def _round_up(value: float) -> float:
    """Return the next number of the form 1, 2 or 5 times a power of ten."""
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if value <= factor * step:
                return factor * step
        step *= 10
