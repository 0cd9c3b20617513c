"""What is noted where a build is not published: why, so that the dashboard, the catalog and the owner can be told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.publishing.publication import publisher, set_aside
from pipelines.transformation.builds import failures


@dataclass(frozen=True)
class HeldBack:
    """Why a build is not published. `status` is `held_back` where data are wrong, `failed` where something broke."""

    status: str
    reasons: tuple[str, ...]
    since: dt.datetime | None

    @property
    def message(self) -> str:
        """One sentence for people."""
        served = f"the figures of {self.since:%Y-%m-%d %H:%M} UTC are served" if self.since else "nothing is served yet"
        return f"not published, {served}: {'; '.join(self.reasons)}"


def hold_back(
    dsn: str,
    *,
    build_id: str,
    run_id: str,
    started_at: dt.datetime,
    failed_checks: Sequence[tuple[str, str]],
    broken_tasks: Sequence[str] = (),
) -> HeldBack | None:
    """Note that a build is not published, and why.

    Args:
        dsn: The warehouse, as the role that publishes.
        build_id: The build.
        run_id: Airflow's run.
        started_at: When the build began.
        failed_checks: Name and account of each check that holds it back.
        broken_tasks: Tasks that failed, for where nothing else tells why.

    Returns:
        Why, or None where the build is published already.
    """
    with publisher(dsn) as connection:
        row = connection.execute(
            "SELECT status FROM audit.publications WHERE build_id = %s AND started_at = %s", [build_id, started_at]
        ).fetchone()
        if row == ("published",):
            return None
        set_aside(connection, build_id)
        nodes = failures(connection, build_id)
        tests = [(name, message) for kind, name, message in nodes if kind in ("test", "unit_test")]
        broken = [f"{kind} {name}: {message}" for kind, name, message in nodes if kind not in ("test", "unit_test")]
        wrong = [*tests, *failed_checks]
        reasons = [*broken, *(f"{name}: {told}" for name, told in wrong)]
        since = connection.execute("SELECT max(ended_at) FROM audit.publications WHERE status = 'published'").fetchone()
        held = HeldBack(
            status="held_back" if wrong and not broken else "failed",
            reasons=tuple(reasons or [f"{', '.join(broken_tasks) or 'a task'} failed"]),
            since=since[0] if since else None,
        )
        connection.execute(
            "INSERT INTO audit.publications (build_id, run_id, started_at, status, held_back_by, message, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (build_id) DO UPDATE SET status = excluded.status, started_at = excluded.started_at,"
            " ended_at = clock_timestamp(),"
            " held_back_by = excluded.held_back_by, message = excluded.message, seconds = excluded.seconds",
            [
                *(build_id, run_id, started_at, held.status, [name for name, _ in wrong], held.message),
                (dt.datetime.now(dt.UTC) - started_at).total_seconds(),
            ],
        )
    return held
