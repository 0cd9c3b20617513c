"""What is measured of a delivery, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data_quality.monitors.expectation import Scale


@dataclass(frozen=True)
class Metric:
    """A measure: the kind that results sum it up under, and how it strays."""

    kind: str
    scale: Scale
    dimension: str
    words: str
    """How a value is told; `{value}` and `{column}` are filled in."""
    odd: Literal["low", "high", "both"] = "both"
    """Whether too little of it is odd, or too much."""
    judged: bool = True

    def told(self, column: str, value: float, scale: Scale) -> str:
        """Return a value in words."""
        return self.words.format(value=shown(value, scale is Scale.SHARE), column=column)


METRICS = {
    "volume": Metric("volume", Scale.COUNT, "completeness", "{value} rows"),
    "table_rows": Metric("table_rows", Scale.COUNT, "completeness", "{value} rows in the table", odd="low"),
    "rejected_share": Metric("rejected_share", Scale.SHARE, "conformity", "{value} of the rows rejected", odd="high"),
    "null_share": Metric("null_share", Scale.SHARE, "completeness", "{value} of {column} without a value"),
    "distinct": Metric("distinct", Scale.COUNT, "uniqueness", "{value} different values of {column}"),
    "mean": Metric("distribution", Scale.NUMBER, "accuracy", "mean of {column} {value}"),
    "quantile_05": Metric("distribution", Scale.NUMBER, "accuracy", "5 % of {column} below {value}"),
    "quantile_50": Metric("distribution", Scale.NUMBER, "accuracy", "median of {column} {value}"),
    "quantile_95": Metric("distribution", Scale.NUMBER, "accuracy", "95 % of {column} below {value}"),
    "schema": Metric("schema", Scale.COUNT, "conformity", "{value} columns changed"),
    # The gap that is still open is what freshness judges.
    "hours_between_deliveries": Metric("freshness", Scale.NUMBER, "timeliness", "{value} hours", judged=False),
}


def shown(value: float, share: bool = False) -> str:
    """Return a number as people write it: 3,600 or 12.5, and a share as 4.2 %."""
    if share:
        return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.4g}"
