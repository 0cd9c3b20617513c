"""Check results: posted ones and those in OpenLineage's dataQualityAssertions facet, in one shape.

A check of a dataset has one result in a run. A posted one says more than the facet's, so it stands, whichever came
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from metadata_service import models
from metadata_service.openlineage import EventDataset, FacetMap
from metadata_service.repositories import datasets, jobs, quality, quality_state, runs, suspects
from metadata_service.repositories.datasets import DatasetName
from metadata_service.repositories.runs import RunSeen
from metadata_service.schemas.catalog import QualityState, SuspectCause
from metadata_service.schemas.quality import DqResultIn, DqSummary

RESULT_NAMESPACE = UUID("6f1ad0a5-6d43-5e3a-8f0e-3d5d4d9c2f11")
_SEVERITIES = {"warn": "warn", "warning": "warn", "critical": "critical"}


def save_results(session: Session, run_id: str, results: list[DqResultIn], job: tuple[str, str] | None) -> DqSummary:
    """Store the results of a run, which is made if it is unknown. The same results again change nothing."""
    now = datetime.now(UTC)
    job_ids = jobs.upsert_jobs(session, {job: now} if job else {})
    runs.merge_runs(session, [RunSeen.at(run_id, now, job=job)], job_ids)
    ids = datasets.upsert_datasets(
        session, {(r.dataset.namespace, r.dataset.name): r.checked_at or now for r in results if r.dataset}
    )
    rows = []
    for result in results:
        values = result.model_dump(exclude={"check", "column", "dataset", "checked_at"})
        values["dataset_id"] = ids[(result.dataset.namespace, result.dataset.name)] if result.dataset else None
        values |= {"check_name": result.check, "column_name": result.column, "checked_at": result.checked_at or now}
        rows.append(values | {"from_event": False})
    quality.save_results(session, _identified(run_id, rows))
    quality.drop_superseded(session, [run_id])
    quality_state.refresh(session, [run_id])
    counts = Counter(result.status for result in results)
    return DqSummary(
        run_id=run_id,
        received=len(results),
        passed=counts["passed"],
        failed=counts["failed"],
        errors=counts["error"],
        skipped=counts["skipped"],
    )


@dataclass(frozen=True, slots=True)
class Asserted:
    """A dataset of an event, with the run and the facets of the job that may have asserted something of it."""

    run_id: str | None
    job_facets: FacetMap
    name: DatasetName
    dataset: EventDataset
    at: datetime


def save_assertions(session: Session, told: Iterable[Asserted], ids: Mapping[DatasetName, UUID]) -> None:
    """Store the assertions of events' datasets. Those that several groups of facets repeat count once."""
    rows: dict[UUID, dict[str, Any]] = {}
    for item in told:
        for facets in (item.dataset.facets, item.dataset.input_facets, item.dataset.output_facets):
            assertions = (facets or {}).get("dataQualityAssertions")
            if not assertions:
                continue
            engine, listed = _engine(item.job_facets), assertions.get("assertions")
            group = [
                _assertion(assertion, ids[item.name], engine, item.at)
                for assertion in (listed if isinstance(listed, list) else [])
                if isinstance(assertion, dict)
                and isinstance(assertion.get("success"), bool)
                and assertion.get("assertion")
            ]
            for row in _identified(item.run_id, group):
                known = rows.get(row["id"])
                if known is None or (known["checked_at"], known["status"]) <= (row["checked_at"], row["status"]):
                    rows[row["id"]] = row
    quality.save_results(session, list(rows.values()))
    quality.drop_superseded(session, {row["run_id"] for row in rows.values() if row["run_id"] is not None})


def _engine(job_facets: FacetMap) -> str:
    """Return who ran an event's assertions: the integration of its job, such as dbt or spark."""
    integration = job_facets.get("jobType", {}).get("integration")
    return integration.lower() if isinstance(integration, str) and integration else "openlineage"


def _assertion(item: dict[str, Any], dataset_id: UUID, engine: str, at: datetime) -> dict[str, Any]:
    def text(key: str) -> str | None:
        return str(item[key]) if item.get(key) else None

    return {
        "dataset_id": dataset_id,
        "check_name": text("name") or text("assertion"),
        "column_name": text("column"),
        "status": "passed" if item["success"] else "failed",
        "severity": _SEVERITIES.get(str(item.get("severity")).lower(), "error"),
        "measured": item.get("actual"),
        "expected": item.get("expected"),
        "message": text("description"),
        "sql": text("content"),
        "failed_rows": None,
        "sample": None,
        "dimension": None,
        "engine": engine,
        "checked_at": at,
        "duration_seconds": None,
        "from_event": True,
    }


def _identified(run_id: str | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each result the id that makes posting it again harmless.

    Checks of the same name, dataset and column are told apart by their place in the list.
    """
    places: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        key = (row["dataset_id"], row["column_name"], row["check_name"])
        row["run_id"], row["ordinal"] = run_id, places[key]
        row["id"] = uuid5(RESULT_NAMESPACE, repr((run_id, *map(str, key), places[key])))
        places[key] += 1
    return rows


def states(session: Session, dataset_ids: Iterable[UUID]) -> dict[UUID, QualityState]:
    """Return the state of each dataset."""
    ids = list(dataset_ids)
    known = quality_state.load_states(session, ids)
    return {dataset_id: _state_out(known.get(dataset_id)) for dataset_id in ids}


def causes(session: Session, dataset_id: UUID) -> list[SuspectCause]:
    """Return the failing datasets that a dataset is made of."""
    return [
        SuspectCause(id=cause.id, namespace=cause.namespace, name=cause.name, state=cause.state)  # type: ignore[arg-type]
        for cause in suspects.causes(session, dataset_id)
    ]


def _state_out(state: models.QualityState | None) -> QualityState:
    if state is None:
        return QualityState(state="unknown")
    return QualityState(
        state=state.state,  # type: ignore[arg-type]
        passed=state.passed,
        failed=state.failed,
        errors=state.errors,
        skipped=state.skipped,
        score=round(state.passed / counted, 4) if (counted := state.passed + state.failed + state.errors) else None,
        checked_at=state.checked_at,
    )
