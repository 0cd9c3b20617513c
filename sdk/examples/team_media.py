"""Team Media: picks an audience in batches, and fails to deliver it to a partner."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from data_lineage_hub_sdk import configure, flush, lineage_track, telemetry_track

configure(namespace="team-media")


class PartnerError(Exception):
    """The partner doesn't take an audience."""


class Audience:
    """An audience for a campaign, made of what two other teams provide."""

    def __init__(self, region: str) -> None:
        self.region = region

    @lineage_track(
        "pick_audience",
        inputs=[
            {"type": "table", "name": "risk_{self.region}", "namespace": "team-risk"},
            {"type": "table", "name": "daily_revenue", "namespace": "team-orders"},
        ],
        outputs=[{"type": "file", "name": "audience", "format": "parquet"}],
    )
    @telemetry_track("pick_audience", attributes={"team": "media"})
    def batches(self, size: int) -> Iterator[list[int]]:
        """Yield the audience in batches; the run lasts from the first to the last."""
        people = list(range(10))
        for start in range(0, len(people), size):
            yield people[start : start + size]

    @telemetry_track("deliver_audience", attributes={"team": "media"})
    @lineage_track("deliver_audience", inputs=["audience"], outputs=["partner"])
    def deliver(self, people: int) -> None:
        """Deliver the audience, which a partner refuses: the run fails, with the reason."""
        raise PartnerError(f"{people} people are too few")


if __name__ == "__main__":
    audience = Audience("eu")
    count = sum(len(batch) for batch in audience.batches(4))
    print(f"team-media: an audience of {count}")
    try:
        audience.deliver(count)
    except PartnerError as error:  # what the decorated function raises, untouched
        print("team-media: not delivered:", error)
    sys.exit(0 if flush(20) else "team-media: the hub does not take it; it is kept and sent later")
