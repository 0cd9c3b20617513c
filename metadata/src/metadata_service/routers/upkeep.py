"""The whole store out and in, and forgetting what is old. For admins only."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from metadata_service.dependencies import Sessions, admin
from metadata_service.schemas.upkeep import Forgotten, Imported, RetentionIn
from metadata_service.services import transfer, upkeep

router = APIRouter(tags=["upkeep"], dependencies=[admin])

_LINES = {"application/x-ndjson": {"schema": {"type": "string"}}}


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": _LINES}})
def export(sessions: Sessions) -> StreamingResponse:
    """Return everything the store holds as JSON lines, all of one moment."""
    name = f"metadata-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(transfer.export(sessions), media_type="application/x-ndjson", headers=headers)


@router.post("/import", openapi_extra={"requestBody": {"required": True, "content": _LINES}})
async def import_lines(request: Request, sessions: Sessions) -> Imported:
    """Take an export into a store that is empty (409 otherwise), all of it or nothing."""
    with tempfile.TemporaryFile() as file:
        async for chunk in request.stream():
            file.write(chunk)
        file.seek(0)

        def take() -> dict[str, int]:
            with sessions.begin() as session:
                return transfer.import_lines(session, file)

        return Imported(rows=await asyncio.to_thread(take))


@router.post("/retention")
def retain(sessions: Sessions, wanted: RetentionIn) -> Forgotten:
    """Forget events and runs older than some days; what datasets, jobs and their edges are stays."""
    return upkeep.forget(sessions, wanted.older_than_days, dry_run=wanted.dry_run)
