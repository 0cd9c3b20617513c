"""The state of a dataset is kept with its results: it is what its whole history says, whatever came in which order."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from metadata_service.migrations.versions.v0010_quality_state import FILL

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]

# The rule, read from the whole history at once.
HISTORY = text("""
SELECT DISTINCT ON (canonical, check_name, column_name, ordinal) canonical::text, check_name, status, severity
  FROM (
    SELECT coalesce(d.canonical_id, d.id) AS canonical, q.*,
           max(q.checked_at) OVER (PARTITION BY coalesce(d.canonical_id, d.id), r.job_id,
                                                coalesce(r.parent_run_id, r.id)) AS run_at,
           max(q.checked_at) FILTER (WHERE r.job_id IS NOT NULL AND r.state <> 'RUNNING')
               OVER (PARTITION BY coalesce(d.canonical_id, d.id), r.job_id) AS newest_run_at
      FROM quality_result q JOIN dataset d ON d.id = q.dataset_id LEFT JOIN run r ON r.id = q.run_id) AS c
 WHERE newest_run_at IS NULL OR run_at >= newest_run_at
 ORDER BY canonical, check_name, column_name, ordinal, checked_at DESC, run_id DESC, status DESC, id
""")
CURRENT = text("""
SELECT c.dataset_id::text, q.check_name, q.status, q.severity
  FROM quality_current c JOIN quality_result q ON q.id = c.result_id
""")
STATES = text("SELECT dataset_id::text, state, passed, failed, errors, skipped, checked_at FROM quality_state")


def _rows(session: Session, query: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in session.execute(query))


def _assertion(name: str, passed: bool) -> dict[str, Any]:
    return {"assertion": name, "success": passed}


def _writes(chance: random.Random, event: Make) -> list[tuple[str, Any]]:
    """Make requests: runs of two jobs, some under a parent, with assertions and posted results of three tables."""
    made: list[tuple[str, Any]] = []
    for number in range(40):
        run, at = f"run-{number // 2}", number
        job = chance.choice("ab")
        tables = []
        for name in chance.sample(["t1", "t2", "t3"], 2):
            checks = [_assertion(c, chance.random() < 0.7) for c in chance.sample(["rows", "unique", "fresh"], 2)]
            facets: dict[str, Any] = {"dataQualityAssertions": {"assertions": checks}}
            if name == "t3":
                facets["symlinks"] = {"identifiers": [{"namespace": "db", "name": "t2", "type": "TABLE"}]}
            tables.append({"namespace": "db", "name": name, "facets": facets})
        parent = {"run": {"runId": f"parent-{number // 8}"}, "job": {"namespace": "tests", "name": "dag"}}
        facets = {"parent": parent} if chance.random() < 0.3 else {}
        kind = chance.choice(["START", "COMPLETE", "FAIL"])
        made.append(("/api/v1/lineage", event(kind, run=run, job=job, at=at, inputs=tables, run_facets=facets)))
        if chance.random() < 0.4:
            status = chance.choice(["passed", "failed", "error", "skipped"])
            result = {"check": "rows", "dataset": {"namespace": "db", "name": "t1"}, "status": status}
            result |= {"severity": chance.choice(["warn", "error"]), "checked_at": f"2026-01-01T00:{at:02d}:30Z"}
            made.append((f"/runs/{run}/dq_results", [result]))
    return made


@pytest.mark.parametrize("seed", range(3))
def test_the_state_is_that_of_the_history(api: TestClient, event: Make, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    writes = _writes(chance, event)
    sessions = api.app.state.sessions  # type: ignore[attr-defined]
    for number, (path, body) in enumerate(chance.sample(writes, len(writes))):
        assert api.post(path, json=body).status_code == 201
        if number % 10 == 0 or number == len(writes) - 1:
            api.get("/datasets")  # waits until all of it is in the graph
            with sessions() as session:
                assert _rows(session, CURRENT) == _rows(session, HISTORY)
    with sessions() as session:
        states = _rows(session, STATES)
        assert states
        # The migration that brought the tables fills them alike.
        for statement in ("DELETE FROM quality_run", "DELETE FROM quality_current", "DELETE FROM quality_state", *FILL):
            session.execute(text(statement))
        assert _rows(session, STATES) == states
        assert _rows(session, CURRENT) == _rows(session, HISTORY)
    levels = {item["quality"]["state"] for item in api.get("/datasets").json()["items"]}
    counted = api.get("/analytics/quality").json()
    assert set(counted["datasets"]) == levels
    assert all(item["status"] in ("failed", "error") for item in counted["failing"])
