"""Search, stored events and counts over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.orm import Session

from metadata_service.problems import FieldError, UnprocessableError
from metadata_service.repositories import marquez
from metadata_service.services import search as ranked
from metadata_service.services.marquez.names import dataset_node, job_node
from metadata_service.services.marquez.shapes import Shape

Period = Literal["DAY", "WEEK"]
_STATES = {"START": "start", "COMPLETE": "complete", "FAIL": "fail", "ABORT": "abort"}
_FIND = 500


def search(
    session: Session,
    q: str,
    kind: str | None,
    sort: str | None,
    limit: int,
    namespace: str | None,
    before: datetime | None,
    after: datetime | None,
) -> Shape:
    """Return the datasets and jobs that a text finds: the best first, or by name or last change."""
    kinds: list[Any] = [kind.lower()] if kind else ["dataset", "job"]
    found = ranked.find(session, q, ranked.Narrowed(kinds=kinds, namespace=namespace), _FIND, 0)
    hits = [
        item
        for item in found.items
        if (before is None or item.updated_at < before) and (after is None or item.updated_at >= after)
    ]
    if sort == "NAME":
        hits.sort(key=lambda item: item.name)
    elif sort == "UPDATE_AT":
        hits.sort(key=lambda item: item.updated_at, reverse=True)
    results = [
        {
            "type": item.type.upper(),
            "name": item.name,
            "updatedAt": item.updated_at,
            "namespace": item.namespace,
            "nodeId": (dataset_node if item.type == "dataset" else job_node)(item.namespace, item.name),
        }
        for item in hits[:limit]
    ]
    return {"totalCount": len(hits), "results": results}


def list_events(
    session: Session,
    *,
    after: datetime | None,
    before: datetime | None,
    namespace: str | None,
    ascending: bool,
    limit: int,
    offset: int,
) -> Shape:
    """Return a page of the OpenLineage events that came in, as they came in."""
    found, total = marquez.events(
        session, after=after, before=before, namespace=namespace, ascending=ascending, limit=limit, offset=offset
    )
    return {"events": [msgspec.Raw(payload.encode()) for payload in found], "totalCount": total}


def count_events(session: Session, period: Period, timezone: str) -> list[Shape]:
    """Return how many events of runs each hour of the last day, or day of the last week, had."""
    bounds = _bounds(period, timezone)
    counts: dict[tuple[int, str], int] = {(place, kind): n for place, kind, n in marquez.event_counts(session, bounds)}
    return [
        interval | {name: counts.get((place, kind), 0) for kind, name in _STATES.items()}
        for place, interval in enumerate(_intervals(bounds), start=1)
    ]


def count_created(
    session: Session, kind: Literal["jobs", "datasets", "sources"], period: Period, timezone: str
) -> list[Shape]:
    """Return how many things of a kind there were at the end of each hour of the last day, or day of the last week."""
    bounds = _bounds(period, timezone)
    new = dict(map(tuple, marquez.created_counts(session, kind, bounds)))
    total = new.get(0, 0)
    counted = []
    for place, interval in enumerate(_intervals(bounds), start=1):
        total += new.get(place, 0)
        counted.append(interval | {"count": total})
    return counted


def _bounds(period: Period, timezone: str) -> list[datetime]:
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):  # what a name can do: absolute paths, folders, unknown zones
        error = FieldError("timezone", f"{timezone!r} is no time zone, such as Europe/Berlin")
        raise UnprocessableError("The request is not valid.", [error]) from None
    now = datetime.now(zone)
    if period == "DAY":
        last = now.replace(minute=0, second=0, microsecond=0).astimezone(UTC) + timedelta(hours=1)
        return [last - timedelta(hours=hours) for hours in range(24, -1, -1)]
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [(today + timedelta(days=day)).astimezone(UTC) for day in range(-6, 2)]


def _intervals(bounds: list[datetime]) -> list[Shape]:
    return [{"startInterval": a, "endInterval": b} for a, b in pairwise(bounds)]
