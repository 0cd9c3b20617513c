"""Team Risk: scores the orders of all regions at the same time."""

from __future__ import annotations

import asyncio
import sys

from data_lineage_hub_sdk import configure, flush, lineage_track, telemetry_track

configure(namespace="team-risk")

ORDERS = {"type": "table", "name": "orders", "namespace": "team-orders"}  # another team's
AMOUNTS = {"eu": [12.50, 30.25], "us": [8.00]}


@lineage_track(
    "score_{region}",
    inputs=[ORDERS],
    outputs=[{"type": "table", "name": "risk_{region}"}],
)
@telemetry_track("score")
async def score(region: str) -> float:
    """Score a region's orders."""
    await asyncio.sleep(0.01)
    return max(AMOUNTS[region]) / sum(AMOUNTS[region])


@lineage_track("score_all")
async def score_all() -> dict[str, float]:
    """Score all regions; the runs of the regions are parts of this one."""
    scores = await asyncio.gather(*(score(region) for region in AMOUNTS))
    return dict(zip(AMOUNTS, scores, strict=True))


if __name__ == "__main__":
    print("team-risk:", asyncio.run(score_all()))
    sys.exit(0 if flush(20) else "team-risk: the hub does not take it; it is kept and sent later")
