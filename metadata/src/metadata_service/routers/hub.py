"""What teams' own pipelines send: lineage, spans, metrics; and whether it can be taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from metadata_service.dependencies import check_writer, read_body
from metadata_service.lean import Answer, LeanRoute
from metadata_service.openlineage import ReadEvent
from metadata_service.problems import FieldError, ProblemError, UnprocessableError, reason_of
from metadata_service.routers.events import LARGE, refused_runs, run_of
from metadata_service.routers.system import projection
from metadata_service.schemas.hub import Accepted, Dependency, HubHealth
from metadata_service.services.access import Principal
from metadata_service.services.hub import Refusals, Transport, own_namespace, read_lineage
from metadata_service.services.telemetry import read_telemetry
from metadata_service.streaming.messages import Sender
from metadata_service.streaming.producer import BrokerAwayError
from metadata_service.telemetry import otlp
from metadata_service.telemetry.model import Bounds
from metadata_service.telemetry.store import StoreAwayError

LAG_SECONDS = 60.0  # a graph that is further behind counts as degraded

lean = APIRouter(tags=["lineage hub"], dependencies=[Depends(check_writer)], route_class=LeanRoute)
router = APIRouter(tags=["lineage hub"])


def _body(description: str, **lists: dict[str, Any]) -> dict[str, Any]:
    objects = {name: {"type": "array", "items": {"type": "object"}} for name in lists}
    schema = {"type": "object", "properties": {"namespace": {"type": "string"}, **objects}}
    example = {"namespace": "my-team"} | {name: [item] for name, item in lists.items()}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


_LINEAGE = _body(
    "A team's OpenLineage events, at most 1,000. `namespace` may be left out by a key of just one.",
    events={
        "eventType": "COMPLETE",
        "eventTime": "2026-01-01T00:00:00Z",
        "producer": "https://example.org/my-job",
        "run": {"runId": "01941f29-7c00-7000-8000-000000000001"},
        "job": {"name": "load_orders"},
    },
)
_NOW = time.time_ns()
_TELEMETRY = _body(
    "A team's spans and metrics, at most 10,000. Times are ISO 8601, or nanoseconds since 1970.",
    spans={
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "name": "load_orders",
        "start_time": _NOW - 2_000_000_000,
        "end_time": _NOW,
        "attributes": {"lineage.run_id": "01941f29-7c00-7000-8000-000000000001"},
    },
    metrics={"name": "rows", "value": 12, "time": _NOW, "attributes": {"table": "orders"}},
)


@lean.post("/api/v1/lineage/ingest", status_code=202, response_model=Accepted, openapi_extra=_LINEAGE)
async def ingest_lineage(request: Request) -> Answer:
    """Take a team's events, each for itself, into its own namespace. Sending them again changes nothing."""
    by = await check_writer(request)
    body = await read_body(request)
    read = await _in_thread_if_large(read_lineage, body, by)
    foreign = await refused_runs(request, by, [item for item in read if isinstance(item, ReadEvent)])
    read = [foreign.get(run_of(item), item) if isinstance(item, ReadEvent) else item for item in read]
    refused: Refusals = {n: reason_of(item) for n, item in enumerate(read) if isinstance(item, ProblemError)}
    places = [number for number in range(len(read)) if number not in refused]
    transport: Transport = request.app.state.transport
    taken = [item for item in read if isinstance(item, ReadEvent)]
    for number, reason in (await transport.take_events(taken, _sender(by))).items():
        refused[places[number]] = reason
    request.app.state.metrics.count_ingested("events", by.name, len(read) - len(refused), len(refused))
    rejected = [{"list": "events", "index": index, "reason": reason} for index, reason in sorted(refused.items())]
    return _answer(len(read) - len(refused), rejected, transport)


@lean.post("/api/v1/telemetry/ingest", status_code=202, response_model=Accepted, openapi_extra=_TELEMETRY)
async def ingest_telemetry(request: Request) -> Answer:
    """Take a team's spans and metrics. Sending them again changes nothing."""
    by = await check_writer(request)
    body = await read_body(request)
    batch, rejected = await _in_thread_if_large(read_telemetry, body, by, _bounds(request))
    transport: Transport = request.app.state.transport
    await transport.take_telemetry([batch], _sender(by))
    for name, items in (("spans", batch.spans), ("metrics", batch.metrics)):
        refused = sum(item["list"] == name for item in rejected)
        request.app.state.metrics.count_ingested(name, by.name, len(items), refused)
    return _answer(len(batch), rejected, transport)


def _otlp_body(resources: str, scopes: str, item: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.namespace", "value": {"stringValue": "my-team"}}]}
    example = {resources: [{"resource": resource, scopes: [item]}]}
    content = {
        otlp.JSON: {"schema": {"type": "object"}, "example": example},
        otlp.PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "description": "An OTLP export request.", "content": content}}


_SPANS = _otlp_body(
    "resourceSpans",
    "scopeSpans",
    {
        "spans": [
            {
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "name": "load_orders",
                "startTimeUnixNano": str(_NOW - 2_000_000_000),
                "endTimeUnixNano": str(_NOW),
            }
        ]
    },
)
_POINTS = _otlp_body(
    "resourceMetrics",
    "scopeMetrics",
    {"metrics": [{"name": "rows", "gauge": {"dataPoints": [{"timeUnixNano": str(_NOW), "asDouble": 12}]}}]},
)
Writer = Annotated[Principal, Depends(check_writer)]


@router.post("/api/v1/telemetry/v1/traces", openapi_extra=_SPANS, response_class=Response)
async def export_traces(request: Request, by: Writer) -> Response:
    """Take spans of any OpenTelemetry exporter: OTLP over HTTP."""
    return await _export(request, by, "spans", otlp.read_traces, otlp.traces_response)


@router.post("/api/v1/telemetry/v1/metrics", openapi_extra=_POINTS, response_class=Response)
async def export_metrics(request: Request, by: Writer) -> Response:
    """Take metrics of any OpenTelemetry exporter: OTLP over HTTP."""
    return await _export(request, by, "metrics", otlp.read_metrics, otlp.metrics_response)


@router.get("/api/v1/health")
async def hub_health(request: Request) -> HubHealth:
    """Tell what lineage and telemetry depend on, and whether each of it answers. The status is 200 in any case."""
    state = request.app.state
    database, telemetry, kafka = await asyncio.gather(
        _check_database(state), _check_telemetry(state), _check_kafka(state)
    )
    found = {"database": database[0], "projection": database[1], "kafka": kafka, "telemetry": telemetry}
    down = {name for name, dependency in found.items() if dependency.state == "down"}
    needed = "kafka" if kafka.state != "off" else "database"
    return HubHealth(status="down" if needed in down else "degraded" if down else "ok", dependencies=found)


async def _check_database(state: Any) -> tuple[Dependency, Dependency]:
    try:
        now = await state.probes.ask("database", partial(projection, state.sessions))
    except (SQLAlchemyError, TimeoutError):
        down = Dependency(state="down", detail="The database does not answer.")
        return down, down
    behind = f"{now.backlog} events behind, {now.lag_seconds:.0f} s; {now.failed} could not be projected"
    return Dependency(state="up"), Dependency(state="down" if now.lag_seconds > LAG_SECONDS else "up", detail=behind)


async def _check_telemetry(state: Any) -> Dependency:
    try:
        await state.probes.ask("telemetry", state.telemetry.reach)
    except (StoreAwayError, TimeoutError):
        return Dependency(state="down", detail=f"The store ({state.telemetry.name}) does not answer.")
    return Dependency(state="up", detail=state.telemetry.name)


async def _check_kafka(state: Any) -> Dependency:
    if state.publisher is None:
        return Dependency(state="off", detail="What comes in is stored directly.")
    try:
        await state.probes.ask("kafka", state.publisher.reach)
    except (BrokerAwayError, TimeoutError):
        return Dependency(state="down", detail="No broker answers.")
    return Dependency(state="up")


async def _export(
    request: Request,
    by: Principal,
    what: str,
    read: Callable[..., otlp.Export],
    respond: Callable[[otlp.Export, str], bytes],
) -> Response:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type not in (otlp.JSON, otlp.PROTOBUF):
        fault = FieldError("Content-Type", f"is neither {otlp.PROTOBUF} nor {otlp.JSON}")
        raise UnprocessableError("An export is protobuf or JSON.", [fault])
    body = await read_body(request)
    export = await _in_thread_if_large(read, body, content_type, partial(own_namespace, by), _bounds(request))
    await request.app.state.transport.take_telemetry(export.batches, _sender(by))
    taken = sum(len(batch) for batch in export.batches)
    request.app.state.metrics.count_ingested(what, by.name, taken, len(export.refused))
    return Response(respond(export, content_type), media_type=content_type)


async def _in_thread_if_large(read: Callable[..., Any], body: bytes, *more: Any) -> Any:
    return await asyncio.to_thread(read, body, *more) if len(body) >= LARGE else read(body, *more)


def _sender(by: Principal) -> Sender:
    return Sender(by.name, by.namespaces is not None)


def _bounds(request: Request) -> Bounds:
    return Bounds(request.app.state.settings.telemetry_retention_days)


def _answer(accepted: int, rejected: list[dict[str, Any]], transport: Transport) -> Answer:
    if rejected and not accepted:
        errors = [FieldError(f"{item['list']}.{item['index']}", item["reason"]) for item in rejected]
        raise UnprocessableError("Nothing of it could be taken.", errors)
    return 202, msgspec.json.encode({"accepted": accepted, "rejected": rejected, "transport": transport.name})
