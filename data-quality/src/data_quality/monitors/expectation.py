"""What a measure is expected to be, from what it was: a level, a weekly rhythm, and how far it strays by itself.

Measures are looked at on a scale on which they stray evenly: counts by their logarithm, shares by
the arcsine of their root, on which drawing rows strays alike for rare and frequent things.
With weeks of history the level and the rhythm come from STL (Cleveland et al., 1990), whose robust form a single odd
delivery does not bend; with less, or where deliveries keep no rhythm, they are median and MAD. The width comes from
how far the model missed the past, never less than a floor: what has always been the same may still move a little.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

LEAST = 8
"""Observations below which nothing is expected yet."""
MOST = 140
"""Observations that are looked at: older ones say little of today."""
WEEKS = 4
"""Weeks of history from which a rhythm is looked for."""
_LEAST_SEASON = 0.8
"""What weekdays differ by, in standard deviations of the rest, from which they have expectations of their own."""
_SIGMA = 1.4826  # of a normal distribution, in median absolute deviations
_WIDTH = 5.5
"""Standard deviations from the middle to each end of the range."""


class Scale(StrEnum):
    """How a measure strays."""

    COUNT = "count"
    SHARE = "share"
    NUMBER = "number"


@dataclass(frozen=True)
class Observation:
    """A measure of one delivery. `size` is of how many rows it is: few rows make it stray."""

    at: dt.datetime
    value: float
    size: float = 1_000


@dataclass(frozen=True)
class Expected:
    """A range, both ends in it, and what it was taken from."""

    low: float
    high: float
    why: str


def expected(
    history: Sequence[Observation], at: dt.datetime, scale: Scale, *, size: float = 1_000, step: float = 0.0
) -> Expected | None:
    """Return what a measure is expected to be, or None where there is too little history to tell.

    Args:
        history: Earlier observations, oldest first.
        at: The moment to tell it for.
        scale: How the measure strays.
        size: Of how many rows the measure to be told is.
        step: The least that it can move by, such as 1 for a quantile of whole numbers.
    """
    history = history[-MOST:]
    if len(history) < LEAST:
        return None
    logarithmic = scale is Scale.NUMBER and all(item.value > 0 for item in history)
    to, back = (_log, _exp) if logarithmic else _SCALES[scale]
    values = [to(item.value) for item in history]
    # Deliveries around midnight are of one day, whichever side they fall on.
    shift = _to_noon([item.at for item in history])
    history, at = [replace(item, at=item.at + shift) for item in history], at + shift
    days = _rhythm(history)
    seasonal = _seasonal(history, values, at, days) if at.weekday() in days else None
    middle, sigma, why = seasonal or _level(history, values)
    if scale is Scale.NUMBER:  # a mean or quantile of fewer rows strays more
        sigma *= math.sqrt(max(1.0, statistics.median(item.size for item in history) / max(size, 1)))
    width = _WIDTH * max(sigma, _floor(middle, scale, size, logarithmic))
    low, high = back(middle - width), back(middle + width)
    if scale is Scale.COUNT:
        low, high = math.floor(low), math.ceil(high)
    if step:  # one step beside the usual is no wonder
        centre = back(middle)
        low = min(low, step * math.floor(centre / step) - step)
        high = max(high, step * math.ceil(centre / step) + step)
    return Expected(low, high, why)


def _to_noon(times: Sequence[dt.datetime]) -> dt.timedelta:
    """Return the shift that brings the usual time of day to noon."""
    angles = [2 * math.pi * (time.hour * 60 + time.minute) / 1440 for time in times]
    usual = math.atan2(sum(map(math.sin, angles)), sum(map(math.cos, angles))) % (2 * math.pi)
    return dt.timedelta(minutes=round(720 - usual / (2 * math.pi) * 1440))


def _rhythm(history: Sequence[Observation]) -> list[int]:
    """Return the weekdays of a weekly rhythm with one delivery each, or nothing where there is none."""
    dates = [item.at.date() for item in history]
    weeks = ((dates[-1] - dates[0]).days + 1) / 7
    if weeks < WEEKS or len(set(dates)) < 0.9 * len(dates):
        return []
    seen = Counter(date.weekday() for date in set(dates))
    days = sorted(day for day, number in seen.items() if number >= 0.7 * weeks)
    regular = sum(seen[day] for day in days)
    return days if len(days) > 1 and regular >= 0.85 * len(set(dates)) else []


def _seasonal(
    history: Sequence[Observation], values: Sequence[float], at: dt.datetime, days: Sequence[int]
) -> tuple[float, float, str] | None:
    """Return middle, standard deviation and reason, or None where the weekdays hardly differ."""
    from statsmodels.tsa.seasonal import STL  # type: ignore[import-untyped, unused-ignore]

    by_date = {item.at.date(): value for item, value in zip(history, values, strict=True)}
    slots = [date for date in _dates(history[0].at.date(), at.date()) if date.weekday() in days]
    series: list[float] = []
    for number, date in enumerate(slots[:-1]):
        # A day that was left out is as its weekday was before, or as the day before.
        before = series[number - len(days)] if number >= len(days) else series[-1] if series else values[0]
        series.append(by_date.get(date, before))
    period = len(days)
    parts = STL(series, period=period, robust=True, seasonal=13).fit()
    trend, season = list(map(float, parts.trend)), list(map(float, parts.seasonal))
    residuals = list(map(float, parts.resid))
    rest = _spread(residuals)
    if statistics.pstdev(season) < _LEAST_SEASON * rest:
        return None
    # The trend's end hangs on the last few points; the slope is taken from farther back.
    back = min(4 * period, len(trend) - 1)
    slope = (trend[-1] - trend[-1 - back]) / back
    middle = statistics.median(trend[-period:]) + slope * (period + 1) / 2 + season[-period]
    # What the model fits, it misses by less than what it has yet to see; and a weekday may stray more than others.
    own = _spread(residuals[-period::-period]) if len(residuals) >= LEAST * period else 0.0
    sigma = max(rest, own) * math.sqrt(1 + 3 * period / len(series)) * 1.1
    same = sum(date.weekday() == at.weekday() for date in by_date)
    weeks = len(series) // period
    return middle, sigma, f"from {same} {at:%A}s in {weeks} weeks of history"


def _level(history: Sequence[Observation], values: Sequence[float]) -> tuple[float, float, str]:
    recent = values[-60:]
    middle = statistics.median(recent)
    # A trend is followed where it is plain: the later half lies beside the earlier one.
    half = len(recent) // 2
    if half >= 8:
        rise = (statistics.median(recent[half:]) - statistics.median(recent[:half])) / (len(recent) - half)
        line = [value - rise * (number - (len(recent) - 1) / 2) for number, value in enumerate(recent)]
        if _spread(line) < 0.8 * _spread(recent):
            level = statistics.median(line) + rise * (len(recent) + 1) / 2
            return level, _spread(line) * _few(len(line)), f"from {len(recent)} deliveries and their trend"
    return middle, _spread(recent) * _few(len(recent)), f"from {len(recent)} deliveries"


def _few(number: int) -> float:
    """Return by how much a spread that was taken from few observations is too narrow to rely on."""
    return 1 + 5 / number


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation as the bulk of the values has it, or the inner 90 % where those stray more."""
    middle = statistics.median(values)
    away = sorted(abs(value - middle) for value in values)
    return max(_SIGMA * statistics.median(away), away[int(0.9 * (len(away) - 1))] / 1.645)


def _floor(middle: float, scale: Scale, size: float, logarithmic: bool) -> float:
    """Return the least standard deviation, on the measure's scale."""
    if scale is Scale.COUNT:
        return math.hypot(0.03, 0.5 / math.sqrt(max(math.expm1(min(middle, 40)), 1)))
    if scale is Scale.SHARE:
        return math.hypot(0.01, 0.5 / math.sqrt(max(size, 1)))  # the second is of drawing so many rows
    return 0.01 if logarithmic else 0.01 * abs(middle) + 1e-9


def _to_angle(share: float) -> float:
    return math.asin(math.sqrt(min(max(share, 0), 1)))


def _from_angle(angle: float) -> float:
    return math.sin(min(max(angle, 0), math.pi / 2)) ** 2


def _log(value: float) -> float:
    return math.log(value)


def _exp(value: float) -> float:
    return math.exp(min(value, 700))


def _identity(value: float) -> float:
    return value


_SCALES: dict[Scale, tuple[Callable[[float], float], Callable[[float], float]]] = {
    Scale.COUNT: (lambda value: math.log1p(max(value, 0)), lambda value: max(math.expm1(min(value, 700)), 0)),
    Scale.SHARE: (_to_angle, _from_angle),
    Scale.NUMBER: (_identity, _identity),
}


def _dates(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
