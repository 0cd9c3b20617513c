"""Row-level security: whom it holds for, how long, and for which tables."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from metadata_service.migrations.versions.v0012_tenants import POLICIES
from metadata_service.repositories import tenancy

pytestmark = pytest.mark.integration
HIDDEN_TABLES = {
    "alembic_version", "api_key", "audit_entry", "event_failure", "event_queue", "namespace_grant", "search_new_word",
    "search_word",
}  # fmt: skip


def test_streams_of_different_keys_over_the_same_connections(
    serve: Callable[..., TestClient], listen: Any, fill_service: Callable[[TestClient], None]
):
    api = serve(database_pool_size=2)
    api.headers["Authorization"] = "Bearer test-key"
    fill_service(api)
    keys = {
        team: f"Bearer {api.post('/keys', json={'name': team, 'namespaces': names}).json()['key']}"
        for team, names in (("apple", ["apple", "pg://apple"]), ("zebra", ["zebra", "pg://zebra"]))
    }
    with_names = [*({"apple": "zebra", "zebra": "apple"}).items(), ("all", "")]
    ids = {team: api.get("/datasets", params={"q": f"{team}.orders"}).json()["items"][0]["id"] for team in keys}
    base = listen(api)

    def ask(place: int) -> str | None:
        team, hidden = with_names[place % 3]
        headers = {"Authorization": keys.get(team, "Bearer test-key")}
        other = ids.get(hidden, ids["zebra"])
        paths = ("/datasets", f"/datasets/{other}", "/search?q=orders", "/datasets?limit=x", "/graph", "/runs/none")
        path = paths[place // 3 % len(paths)]
        answer = httpx.get(base + path, headers=headers, timeout=60)
        if hidden and hidden in answer.text.replace(f"{hidden} ", ""):
            return f"{team} got {answer.text} at {path}"
        if not hidden and path == "/datasets" and answer.json()["total"] != 4:
            return f"an admin got {answer.text}"
        if path == f"/datasets/{other}" and answer.status_code != (404 if hidden else 200):
            return f"{team} got {answer.status_code} at {path}"
        return None

    with ThreadPoolExecutor(8) as pool:
        faults = [fault for fault in pool.map(ask, range(270)) if fault]
    assert not faults, faults[:3]


@pytest.mark.parametrize("pool", ["sessions", "team_sessions"])
def test_the_namespaces_end_with_their_transaction(filled: TestClient, pool: str):
    sessions = getattr(filled.app.state, pool)  # type: ignore[attr-defined]
    who = text("SELECT current_user, coalesce(current_setting('metadata_tenant.names', true), '')")

    def narrowed_session() -> Any:
        session = sessions()
        tenancy.narrow(session, ["apple", "pg://a*"])
        return session

    with sessions() as session:
        before = tuple(session.execute(who).one())
        assert (before[0] == tenancy.ROLE) == (pool == "team_sessions")
        with pytest.raises(RuntimeError):
            tenancy.narrow(session, ["apple"])
    with narrowed_session() as session:
        assert session.execute(who).one() == (tenancy.ROLE, "{apple}")
        session.rollback()
        assert session.scalar(who) == tenancy.ROLE  # every transaction of the session is narrowed
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT 1 / 0"))
        session.rollback()
        assert session.scalar(who) == tenancy.ROLE
        session.execute(text("SET LOCAL statement_timeout = 10"))
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT pg_sleep(1)"))
    for refused in ("INSERT INTO tag VALUES ('x', NULL, now(), now())", "DELETE FROM dataset", "SELECT * FROM api_key"):
        with narrowed_session() as session, pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text(refused))
    with ExitStack() as stack:
        pooled = [stack.enter_context(sessions.kw["bind"].connect()) for _ in range(6)]
        assert {tuple(connection.execute(who).one()) for connection in pooled} == {before}
    if pool == "team_sessions":  # nothing is seen before it is said what
        with sessions() as session:
            assert session.scalar(text("SELECT count(*) FROM dataset")) == 0


def test_of_each_table_it_is_said_what_a_team_sees(filled: TestClient):
    with filled.app.state.sessions() as session:  # type: ignore[attr-defined]
        rows = session.execute(
            text(
                """
                SELECT c.relname, c.relrowsecurity,
                       has_any_column_privilege(:role, c.oid, 'SELECT'),
                       has_any_column_privilege(:role, c.oid, 'INSERT, UPDATE') OR has_table_privilege(:role, c.oid,
                           'DELETE, TRUNCATE'),
                       (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)
                  FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = 'public'::regnamespace
                """
            ),
            {"role": tenancy.ROLE},
        ).all()
    seen = {name for name, secured, readable, _, policies in rows if readable and secured and policies == 1}
    hidden = {name for name, _, readable, _, _ in rows if not readable}
    assert not [name for name, _, _, writable, _ in rows if writable]
    assert hidden == HIDDEN_TABLES
    assert seen == set(POLICIES)
    assert seen | hidden == {name for name, *_ in rows}, "say in a migration, or in HIDDEN_TABLES, what a team sees"


def test_runs_are_seen_by_their_jobs_namespace_without_a_look_at_jobs(
    filled: TestClient, apple: dict[str, str], zebra: dict[str, str], runs: dict[str, str]
):
    with filled.app.state.team_sessions() as session:  # type: ignore[attr-defined]
        tenancy.narrow(session, ["apple"])
        plan = "\n".join(session.scalars(text("EXPLAIN SELECT count(*) FROM run")))
    assert " on run" in plan
    assert " on job" not in plan
    assert filled.get(f"/runs/{runs['apple']}", headers=zebra).status_code == 404
    # A later event says that the run is another team's job's.
    told = {"eventType": "COMPLETE", "eventTime": "2026-01-01T00:20:00Z", "producer": "https://example.org/tests"}
    told |= {"run": {"runId": runs["apple"]}, "job": {"namespace": "zebra", "name": "zebra_job"}}
    assert filled.post("/api/v1/lineage", json=told).status_code == 201
    assert filled.get(f"/runs/{runs['apple']}", headers=zebra).status_code == 200
    assert filled.get(f"/runs/{runs['apple']}", headers=apple).status_code == 404
