"""The raw events."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metadata_service.models import Event
from metadata_service.openlineage import DatasetEvent, ParsedEvent, RunEvent


def save_event(session: Session, parsed: ParsedEvent) -> bool:
    """Keep an event; return False if the very same one is kept already."""
    event = parsed.event
    job = None if isinstance(event, DatasetEvent) else event.job
    statement = (
        insert(Event)
        .values(
            digest=parsed.digest,
            kind=parsed.kind,
            event_type=event.event_type if isinstance(event, RunEvent) else None,
            event_time=event.event_time,
            run_id=event.run.run_id if isinstance(event, RunEvent) else None,
            job_namespace=job.namespace if job else None,
            job_name=job.name if job else None,
            payload=parsed.payload,
        )
        .on_conflict_do_nothing(index_elements=[Event.digest])
        .returning(Event.id)
    )
    return session.execute(statement).first() is not None
