"""Builds in the warehouse: `audit.model_runs`, a row for each node of a build, written while dbt is at work.

A build has a row of its own, of kind `build`. Whoever watches a model asks for its `verdict`: a model is good once its
tests are, and a test that fails is its model's failure.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg.rows import dict_row

from pipelines.ingestion.ledger import lock_number
from pipelines.transformation.running import FAILED, NodeResult, run_dbt

BUILD, BY_HAND = "build", "by hand"
HEARTBEAT = dt.timedelta(seconds=5)
KEPT = dt.timedelta(days=180)
"""How long rows of a build are kept."""
SILENCE = dt.timedelta(minutes=5)
"""After so long without a heartbeat a build is taken for dead."""
_MODELS = ("model", "snapshot", "seed")
_TESTS = ("test", "unit_test")

_UPSERT = """
INSERT INTO audit.model_runs (build_id, unique_id, name, kind, model, tests, status, started_at, ended_at, seconds,
    message)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (build_id, unique_id) DO UPDATE SET status = excluded.status,
    told = model_runs.told AND model_runs.status = excluded.status,
    started_at = coalesce(excluded.started_at, model_runs.started_at),
    ended_at = coalesce(excluded.ended_at, model_runs.ended_at),
    seconds = coalesce(excluded.seconds, model_runs.seconds),
    message = excluded.message
"""
_ROWS = """
SELECT unique_id, name, kind, status, seconds, message, told, tests, model, ended_at
FROM audit.model_runs WHERE build_id = %s
ORDER BY started_at NULLS LAST, unique_id
"""


class BuildRecord:
    """Writes what becomes of a build. Use it as a context: it keeps a heartbeat going, and marks a build that broke."""

    def __init__(self, dsn: str, build_id: str, target: Path, *, last_try: bool = True) -> None:
        self._dsn = dsn
        self._connection = psycopg.connect(dsn, autocommit=True, options="-c timezone=UTC")
        self._build_id, self._target, self._last_try = build_id, target, last_try
        self._models: dict[str, str] = {}
        self._tests: dict[str, int] = {}
        self._ended = threading.Event()
        self._resumed = False

    @classmethod
    def resumed(cls, dsn: str, build_id: str, target: Path) -> Self:
        """Return the record of a build that has ended, for a model of it that is built again alone."""
        record = cls(dsn, build_id, target)
        record._resumed = True
        return record

    def __enter__(self) -> Self:
        with self._connection.transaction():
            self._connection.execute("DELETE FROM audit.model_runs WHERE ended_at < now() - %s", [KEPT])
            if not self._resumed:
                self._connection.execute("DELETE FROM audit.model_runs WHERE build_id = %s", [self._build_id])
            self._write(BUILD, BUILD, BUILD, None, NodeResult(BUILD, "running", _now(), _now()))
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        # On a connection of its own: the heartbeat goes on while this build waits for another.
        self._turn = psycopg.connect(self._dsn, autocommit=True)
        lock_builds(self._turn)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._heart.join()
        # A build that broke and will be tried again is still on its way to whoever watches it.
        status = "success" if error is None else "error" if self._last_try else "running"
        message = None if error is None else str(error)
        self._write(BUILD, BUILD, BUILD, None, NodeResult(BUILD, status, None, _now(), None, message))
        self._connection.close()
        self._turn.close()

    def run(
        self, arguments: Sequence[str], *, project: Path, environment: Mapping[str, str], echo: Callable[[str], None]
    ) -> list[NodeResult]:
        """Run `dbt build` with further arguments, write what becomes of each node as it does, and return all of it.

        Raises:
            BuildError: dbt could not run.
        """
        nodes = run_dbt(
            ["build", *arguments],
            project=project,
            target=self._target,
            environment=environment,
            echo=echo,
            on_node=self.note,
        )
        self.note_all(nodes)
        return nodes

    def note(self, node: NodeResult) -> None:
        """Write what is known of a node by now."""
        if not self._models:
            self._read_manifest()
        if node.kind in (*_MODELS, *_TESTS):
            self._write(node.unique_id, node.name, node.kind, self._models.get(node.unique_id), node)

    def note_all(self, nodes: Iterable[NodeResult]) -> None:
        """Write the end of every node, with its message."""
        with self._connection.transaction():
            for node in nodes:
                self.note(node)

    def _read_manifest(self) -> None:
        manifest = json.loads((self._target / "manifest.json").read_text())
        self._models = models_of_nodes(manifest)
        for unique_id, model in self._models.items():
            if unique_id.split(".", 1)[0] in _TESTS:
                self._tests[model] = self._tests.get(model, 0) + 1

    def _write(self, unique_id: str, name: str, kind: str, model: str | None, node: NodeResult) -> None:
        tests = self._tests.get(name, 0) if kind in _MODELS else 0
        values = (node.status, node.started_at, node.ended_at, node.seconds, node.message)
        self._connection.execute(_UPSERT, [self._build_id, unique_id, name, kind, model, tests, *values])

    def _beat(self) -> None:
        # Where the warehouse is away, the build notices it by itself.
        with suppress(psycopg.Error):
            while not self._ended.wait(HEARTBEAT.total_seconds()):
                self._connection.execute(
                    "UPDATE audit.model_runs SET ended_at = clock_timestamp() WHERE build_id = %s AND kind = 'build'",
                    [self._build_id],
                )


def lock_builds(connection: psycopg.Connection[Any], waiting: Callable[[], None] = lambda: None) -> None:
    """Wait until no other build is at work, as long as the connection lives: by its time a row is told apart.

    Args:
        connection: To the warehouse.
        waiting: Called where there is one to wait for.
    """
    number = lock_number("dataplatform:build")
    if connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone() != (True,):
        waiting()
        connection.execute("SELECT pg_advisory_lock(%s)", [number])


def models_of_nodes(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the name of the model that each model, seed, snapshot and test of a manifest is about.

    A test of several is about the one that is built last, a test of a source about the first model that reads it.
    """
    parents: dict[str, list[str]] = manifest["parent_map"]
    depth: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((height(parent) for parent in parents.get(node, ())), default=0)
        return depth[node]

    found = {}
    for unique_id, node in (manifest["nodes"] | manifest["unit_tests"]).items():
        kind = unique_id.split(".", 1)[0]
        if kind in _MODELS:
            found[unique_id] = node["name"]
        elif kind == "unit_test":
            found[unique_id] = node["model"]
        elif kind == "test":
            read = node["depends_on"]["nodes"]
            about = node.get("attached_node") or max(filter(_is_model, read), key=height, default=None)
            if about is None:
                readers = [child for source in read for child in manifest["child_map"].get(source, ())]
                about = next(filter(_is_model, sorted(readers)), None)
            if about is not None:
                found[unique_id] = about.split(".")[2]
    return found


def _is_model(unique_id: str) -> bool:
    return unique_id.split(".", 1)[0] in _MODELS


@dataclass(frozen=True)
class Verdict:
    """How a model fares in a build, the lines that tell of it, and of a failure the reasons.

    `waiting` is before its build has begun, `unchanged` a model that the build did not have to build.
    `told` says that somebody has been told of this failure.
    """

    state: Literal["waiting", "running", "success", "failed", "unchanged"]
    lines: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    told: bool = False


def verdict(dsn: str, build_id: str, model: str) -> Verdict:
    """Return how a model fares by now.

    Raises:
        psycopg.Error: the warehouse is away.
    """
    return judge(rows_of(dsn, build_id), model)


def rows_of(dsn: str, build_id: str) -> list[dict[str, Any]]:
    """Return what is known of a build by now: its own row, and one for each node that has begun.

    Raises:
        psycopg.Error: the warehouse is away.
    """
    with _reading(dsn) as connection:
        return connection.execute(_ROWS, [build_id]).fetchall()


def judge(rows: list[dict[str, Any]], model: str) -> Verdict:
    """Return how a model fares from the rows of its build."""
    build = next((row for row in rows if row["kind"] == BUILD), None)
    if build is None:
        return Verdict("waiting")
    ended = build["status"] != "running"
    nodes = [row for row in rows if row["model"] == model]
    own = next((row for row in nodes if row["kind"] in _MODELS), None)
    tests = [row for row in nodes if row["kind"] in _TESTS]
    lines = tuple(_line(row) for row in nodes if row["status"] not in ("started", "no-op"))
    bad = [row for row in nodes if row["status"] in FAILED]
    skipped = own is not None and own["status"] == "skipped"
    if bad or skipped:
        reasons = tuple(_line(row) for row in bad) or ("it was not built: something that it reads has failed",)
        return Verdict("failed", lines, reasons, any(row["told"] for row in (*bad, own) if row))
    if build["status"] == "error":
        return Verdict("failed", lines, (f"the build broke: {build['message']}",), build["told"])
    if not ended and dt.datetime.now(dt.UTC) - build["ended_at"] > SILENCE:
        return Verdict("failed", lines, ("the build has ended without a word; clear dbt_build to build again",))
    done = [row for row in tests if row["status"] not in ("started", "skipped")]
    if own and own["status"] == "success" and (ended or len(done) >= own["tests"]):
        return Verdict("success", lines)
    if not ended:
        return Verdict("running", lines)
    # Without a row of its own the build passed the model by: nothing that it is made of has changed.
    return Verdict("unchanged", lines)


def unbuilt(dsn: str, build_id: str, models: Iterable[str]) -> list[str]:
    """Return those of some models that have failed in a build."""
    rows = rows_of(dsn, build_id)
    return [model for model in models if judge(rows, model).state == "failed"]


def mark_told(dsn: str, build_id: str, model: str) -> None:
    """Note that a model's failure has been told, so that the next try builds the model again."""
    with _reading(dsn) as connection:
        connection.execute(
            "UPDATE audit.model_runs SET told = true WHERE build_id = %s AND model = %s", [build_id, model]
        )


def failures(connection: psycopg.Connection[Any], build_id: str) -> list[tuple[str, str, str]]:
    """Return kind, name and message of the nodes of a build that failed, and of the build where it broke."""
    rows = connection.execute(
        "SELECT kind, name, coalesce(message, status) FROM audit.model_runs WHERE build_id = %s AND status = ANY(%s)"
        " ORDER BY ended_at, name",
        [build_id, list(FAILED)],
    )
    return [(str(kind), str(name), str(message)) for kind, name, message in rows]


def unpublished_models(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the models that were built since the last publication, by builds that were held back or are at work."""
    rows = connection.execute(
        "SELECT DISTINCT name FROM audit.model_runs WHERE kind = 'model' AND status = 'success'"
        " AND build_id NOT IN (SELECT build_id FROM audit.publications WHERE status = 'published')"
        " AND ended_at > coalesce((SELECT max(started_at) FROM audit.publications WHERE status = 'published'),"
        " '-infinity')"
    )
    return {str(name) for (name,) in rows}


def note_by_hand(connection: psycopg.Connection[Any]) -> None:
    """Note that dbt was run by hand: what it wrote has passed no check, and no build knows of it."""
    connection.execute(
        "INSERT INTO audit.model_runs (build_id, unique_id, name, kind, status, started_at, ended_at)"
        " VALUES ('by hand ' || clock_timestamp(), %s, %s, %s, 'success', clock_timestamp(), clock_timestamp())",
        [BUILD, BUILD, BY_HAND],
    )


def by_hand_since(connection: psycopg.Connection[Any], moment: dt.datetime | None) -> bool:
    """Whether dbt was run by hand after a moment, or ever."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM audit.model_runs WHERE kind = %(kind)s"
        " AND (%(moment)s::timestamptz IS NULL OR ended_at > %(moment)s))",
        {"kind": BY_HAND, "moment": moment},
    ).fetchone()
    return row == (True,)


@contextmanager
def _reading(dsn: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    options = "-c timezone=UTC"
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10, options=options, row_factory=dict_row) as connection:
        yield connection


def _line(row: dict[str, Any]) -> str:
    took = f" in {row['seconds']:.2f} s" if row["seconds"] is not None else ""
    message = f": {row['message']}" if row["message"] else ""
    return f"{row['kind']} {row['name']} {row['status']}{took}{message}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
