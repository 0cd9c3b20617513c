"""Telemetry as requests bring it."""

from __future__ import annotations

from typing import Any

from metadata_service.openlineage import load_json
from metadata_service.problems import FieldError, ProblemError, UnprocessableError, reason_of
from metadata_service.services.access import Principal
from metadata_service.services.hub import own_namespace
from metadata_service.telemetry.model import Batch, Bounds, Metric, Span, read_metric, read_span

MAX_ITEMS = 10_000


def read_telemetry(body: bytes, principal: Principal, bounds: Bounds) -> tuple[Batch, list[dict[str, Any]]]:
    """Return what a request brings, and which items are refused and why.

    Raises:
        ProblemError: the request as a whole can't be taken.
    """
    whole = load_json(body)
    lists = {name: whole.get(name) or [] for name in ("spans", "metrics")} if isinstance(whole, dict) else {}
    if not lists or not all(isinstance(items, list) for items in lists.values()):
        example = 'The body is an object: {"namespace": …, "spans": […], "metrics": […]}.'
        raise UnprocessableError(example, [FieldError("", "is no such object")])
    if sum(map(len, lists.values())) > MAX_ITEMS:
        raise ProblemError(413, f"A request has at most {MAX_ITEMS} spans and metrics.")
    batch, refused = Batch(own_namespace(principal, whole.get("namespace")), spans=[], metrics=[]), []
    for name, items in lists.items():
        for index, item in enumerate(items):
            try:
                read: Span | Metric = read_span(item, bounds) if name == "spans" else read_metric(item, bounds)
            except UnprocessableError as error:
                refused.append({"list": name, "index": index, "reason": reason_of(error)})
            else:
                getattr(batch, name).append(read)
    return batch, refused
