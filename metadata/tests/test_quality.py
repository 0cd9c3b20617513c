"""Check results: one for each check of a dataset in a run, and which of them count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
ASSERTED = {"namespace": "db", "name": "w.curated.t"}


def test_check_results_are_kept_once(api: TestClient) -> None:
    dataset = {"namespace": "db", "name": "t"}
    results = [
        {
            "check": "unique",
            "dataset": dataset,
            "column": "id",
            "status": "failed",
            "severity": "critical",
            "measured": 3,
            "expected": {"max": 0},
            "message": "3 keys twice",
            "sql": "select 1",
            "failed_rows": 6,
            "sample": [{"id": "x"}],
            "engine": "sql",
            "checked_at": "2026-01-01T00:00:00Z",
            "duration_seconds": 0.2,
        },
        {"check": "rows", "dataset": dataset, "status": "passed", "measured": 10, "checked_at": "2026-01-01T00:00:00Z"},
        {"check": "rows", "dataset": dataset, "status": "error", "message": "no such column"},
    ]
    for _ in range(2):
        posted = api.post(
            "/runs/unknown-run/dq_results", json={"job": {"namespace": "n", "name": "j"}, "results": results}
        )
        assert posted.status_code == 201
    assert posted.json() == {
        "run_id": "unknown-run",
        "received": 3,
        "passed": 1,
        "failed": 1,
        "errors": 1,
        "skipped": 0,
    }
    stored = api.get("/runs/unknown-run/dq_results").json()
    assert stored["total"] == 3
    kept = next(item for item in stored["items"] if item["check"] == "unique")
    assert {key: kept[key] for key in results[0] if key != "dataset"} == {
        k: v for k, v in results[0].items() if k != "dataset"
    }
    assert api.get("/runs/unknown-run").json()["job"]["name"] == "j"
    quality = api.get(f"/datasets/{kept['dataset']['id']}/quality").json()
    assert quality["quality"]["state"] == "failing"
    assert len(quality["checks"]) == 3

    better = results[0] | {"status": "passed", "measured": 0, "checked_at": "2026-01-02T00:00:00Z"}
    rows = results[2] | {"status": "passed"}
    assert api.post("/runs/next/dq_results", json=[better, results[1], rows]).status_code == 201
    quality = api.get(f"/datasets/{kept['dataset']['id']}/quality").json()
    assert (quality["quality"]["state"], quality["history"]["total"]) == ("passing", 6)


def test_assertions_of_events_are_results(api: TestClient, event: Make) -> None:
    assertions = [
        {"assertion": "not_null", "column": "id", "success": True},
        {
            "assertion": "custom_sql",
            "name": "positive",
            "success": False,
            "severity": "warn",
            "actual": "2",
            "expected": "0",
            "content": "select 1",
            "description": "two below zero",
        },
    ]
    seen = {"namespace": "db", "name": "t", "inputFacets": {"dataQualityAssertions": {"assertions": assertions}}}
    api.post("/api/v1/lineage", json=event(inputs=[seen]))
    results = {item["check"]: item for item in api.get("/runs/r1/dq_results").json()["items"]}
    assert (results["not_null"]["status"], results["not_null"]["column"]) == ("passed", "id")
    failed = results["positive"]
    assert (failed["status"], failed["severity"], failed["measured"], failed["sql"]) == (
        "failed",
        "warn",
        "2",
        "select 1",
    )
    assert api.get("/datasets").json()["items"][0]["quality"]["state"] == "warning"


@pytest.mark.parametrize("body", [{"results": [{"check": "x"}]}, [{"check": "x", "status": "maybe"}], "x"])
def test_bad_results_are_told(api: TestClient, body: Any) -> None:
    answer = api.post("/runs/r/dq_results", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert api.get("/runs/r").status_code == 404


def asserting(*checks: str, success: bool = True, column: str | None = None) -> dict[str, Any]:
    assertions = [{"assertion": check, "success": success, "column": column} for check in checks]
    return ASSERTED | {"inputFacets": {"dataQualityAssertions": {"assertions": assertions}}}


def quality_of(api: TestClient, name: str = "w.curated.t") -> dict[str, Any]:
    dataset = api.get(f"/datasets?namespace=db&name={name}").json()["items"][0]["id"]
    answer: dict[str, Any] = api.get(f"/datasets/{dataset}/quality").json()
    return answer


@pytest.mark.parametrize("events_first", [True, False])
def test_a_posted_result_stands_against_the_events(api: TestClient, event: Make, events_first: bool) -> None:
    posted = {
        "job": {"namespace": "tests", "name": "j"},
        "results": [
            {
                "check": "unique",
                "dataset": ASSERTED,
                "column": "id",
                "dimension": "uniqueness",
                "status": "failed",
                "severity": "critical",
                "measured": 3,
                "engine": "sql",
                "checked_at": "2026-01-01T00:00:30Z",
            }
        ],
    }

    def post() -> None:
        assert api.post("/runs/r1/dq_results", json=posted).status_code == 201

    def send() -> None:
        for kind, at in (("START", 0), ("COMPLETE", 1)):
            seen = asserting("unique", success=False, column="id")
            api.post("/api/v1/lineage", json=event(kind, at=at, inputs=[seen, asserting("rows")]))

    for step in (send, post, send) if events_first else (post, send, post):
        step()
    quality = quality_of(api)
    results = {item["check"]: item for item in quality["history"]["items"]}
    assert (quality["history"]["total"], quality["quality"]["failed"]) == (2, 1)
    kept = results["unique"]
    assert [kept[key] for key in ("measured", "severity", "engine", "dimension")] == [
        3,
        "critical",
        "sql",
        "uniqueness",
    ]


def test_a_posted_result_replaces_all_that_the_event_said_of_its_check(api: TestClient, event: Make) -> None:
    api.post("/api/v1/lineage", json=event(inputs=[asserting("rows", "rows")]))
    assert len(quality_of(api)["checks"]) == 2
    api.post("/runs/r1/dq_results", json=[{"check": "rows", "dataset": ASSERTED, "status": "passed", "measured": 1}])
    assert [item["measured"] for item in quality_of(api)["checks"]] == [1]


def test_what_an_event_says_twice_counts_once(api: TestClient, event: Make) -> None:
    """As dbt does: the same assertions in the dataset's facets and in the input's."""
    seen = asserting("not_null", "unique", column="id")
    seen["facets"] = seen["inputFacets"]
    job = {"jobType": {"integration": "DBT", "jobType": "TEST", "processingType": "BATCH"}}
    for number, kind in enumerate(("START", "COMPLETE")):
        api.post("/api/v1/lineage", json=event(kind, at=number, inputs=[seen], job_facets=job))
    quality = quality_of(api)
    assert (quality["history"]["total"], quality["quality"]["passed"]) == (2, 2)
    assert {item["engine"] for item in quality["checks"]} == {"dbt"}
    api.post("/api/v1/lineage", json=event(run="r2", at=9, inputs=[seen], job_facets=job))
    assert (quality_of(api)["history"]["total"], quality_of(api)["quality"]["passed"]) == (4, 2)


def test_a_check_that_left_its_suite_counts_no_more(api: TestClient, event: Make) -> None:
    def send(kind: str, run: str, at: int, *checks: str, job: str = "suite", parent: str | None = None) -> None:
        inputs = [asserting(*checks, success="broken" not in checks)] if checks else []
        facet = {"parent": {"run": {"runId": parent}, "job": {"namespace": "tests", "name": "dag"}}} if parent else {}
        sent = event(kind, run=run, at=at, job=job, inputs=inputs, run_facets=facet)
        assert api.post("/api/v1/lineage", json=sent).status_code == 201

    def counted() -> set[str]:
        return {item["check"] for item in quality_of(api)["checks"]}

    send("COMPLETE", "r1", 1, "rows")
    send("COMPLETE", "r2", 2, "broken")
    send("COMPLETE", "other", 3, "elsewhere", job="another")
    assert counted() == {"broken", "elsewhere"}
    send("RUNNING", "r3", 4, "fresh")  # it may still check the rest
    assert counted() == {"broken", "fresh", "elsewhere"}
    assert quality_of(api)["quality"]["state"] == "failing"
    send("COMPLETE", "r3", 5)
    assert counted() == {"fresh", "elsewhere"}
    assert quality_of(api)["quality"]["state"] == "passing"
    assert quality_of(api)["history"]["total"] == 4
    # Mapped tasks are runs of one job that share their parent: they check it together.
    send("COMPLETE", "m1", 6, "first", parent="dag1")
    send("COMPLETE", "m2", 7, "second", parent="dag1")
    assert counted() == {"first", "second", "elsewhere"}
    send("FAIL", "r4", 8)  # it ended before it checked anything
    assert counted() == {"first", "second", "elsewhere"}


def test_results_of_the_first_schema_are_brought_up(empty_database: str) -> None:
    engine = make_engine(ServiceSettings(api_key="k", database_url=empty_database))
    migrate(engine, "0001")
    with psycopg.connect(empty_database) as store:
        store.execute(
            """
            INSERT INTO job (id, namespace, name, created_at, updated_at)
            VALUES ('00000000-0000-0000-0000-000000000001', 'n', 'j', now(), now());
            INSERT INTO facet VALUES
              ('job', '00000000-0000-0000-0000-000000000001', 'jobType', '{"integration": "DBT"}', now());
            INSERT INTO dataset (id, namespace, name, type, created_at, updated_at)
            VALUES ('00000000-0000-0000-0000-000000000002', 'db', 't', 'table', now(), now());
            INSERT INTO run (id, job_id, state, created_at, updated_at)
            VALUES ('r', '00000000-0000-0000-0000-000000000001', 'COMPLETED', now(), now());
            INSERT INTO quality_result
              (id, run_id, dataset_id, check_name, ordinal, status, severity, engine, checked_at)
            SELECT gen_random_uuid(), 'r', '00000000-0000-0000-0000-000000000002', name, place, 'passed', 'error',
                   engine, '2026-01-01Z'
              FROM (VALUES ('unique', 0, 'openlineage'), ('unique', 1, 'openlineage'), ('rows', 0, 'sql'))
                AS results (name, place, engine)
            """
        )
    migrate(engine)
    with psycopg.connect(empty_database) as store:
        kept = store.execute("SELECT check_name, ordinal, engine, from_event FROM quality_result ORDER BY check_name")
        assert kept.fetchall() == [("rows", 0, "sql", False), ("unique", 0, "dbt", True)]
    engine.dispose()


def test_what_is_made_of_a_failing_dataset_is_suspect(api: TestClient, event: Any) -> None:
    chain = [("a", "b"), ("b", "c"), ("x", "c")]
    events = [event(run=f"r{n}", job=f"j{n}", inputs=[i], outputs=[o]) for n, (i, o) in enumerate(chain)]
    api.post("/api/v1/lineage/batch", json=events)
    ids = {item["name"]: item["id"] for item in api.get("/datasets").json()["items"]}

    def check(name: str, status: str, severity: str = "error") -> None:
        result = {"check": "c", "dataset": {"namespace": "db", "name": name}, "status": status, "severity": severity}
        api.post(f"/runs/check-{name}-{status}/dq_results", json=[result])

    def suspect(name: str) -> list[str]:
        detail, of_quality = (api.get(f"/datasets/{ids[name]}{end}").json() for end in ("", "/quality"))
        assert detail["suspect_because"] == of_quality["suspect_because"]
        return [cause["name"] for cause in detail["suspect_because"]]

    check("a", "failed")
    check("x", "failed", "warn")  # a warning makes nobody suspect
    check("b", "passed")
    assert [suspect(name) for name in "abcx"] == [[], ["a"], ["a"], []]
    board = api.get("/analytics/quality").json()["suspect"]
    assert [(item["name"], item["causes"]) for item in board] == [("b", [ids["a"]]), ("c", [ids["a"]])]
    assert api.get(f"/datasets/{ids['b']}").json()["quality"]["score"] == 1.0
    assert api.get(f"/datasets/{ids['c']}").json()["quality"]["score"] is None
    assert "Suspect:" in api.get(f"/ui/datasets/{ids['c']}").text
    check("a", "passed")
    assert [suspect(name) for name in "abcx"] == [[], [], [], []]
