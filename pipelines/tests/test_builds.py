"""What watchers of a build are told, from rows on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dataplatform_cli.settings import StackSettings
from pipelines.transformation import BuildRecord, NodeResult, verdict
from pipelines.transformation.builds import mark_told

pytestmark = pytest.mark.integration

MODEL, TEST, CHILD = "model.p.fact", "test.p.positive.1", "model.p.total"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder with the manifest of two models, one of them with a test."""
    nodes = {
        MODEL: {"name": "fact"},
        CHILD: {"name": "total"},
        TEST: {"attached_node": MODEL, "depends_on": {"nodes": [MODEL]}},
    }
    manifest = {"nodes": nodes, "unit_tests": {}, "parent_map": {CHILD: [MODEL], TEST: [MODEL]}, "child_map": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


@pytest.fixture
def dsn(postgres: StackSettings) -> Iterator[str]:
    found = postgres.dsn("transformer")
    yield found
    with psycopg.connect(found) as connection:
        connection.execute("TRUNCATE audit.model_runs")


def test_a_model_is_good_once_its_tests_are(dsn: str, target: Path) -> None:
    assert verdict(dsn, "b", "fact").state == "waiting"
    with BuildRecord(dsn, "b", target) as record:
        assert verdict(dsn, "b", "fact").state == "running"
        record.note(NodeResult(MODEL, "success", seconds=1.0))
        assert verdict(dsn, "b", "fact").state == "running"
        record.note(NodeResult(TEST, "pass"))
        assert verdict(dsn, "b", "fact").state == "success"
    assert verdict(dsn, "b", "total").state == "unchanged"


def test_a_failure_that_was_told_while_dbt_was_at_work_stays_told(dsn: str, target: Path) -> None:
    """The end of a build writes every node once more: a further try has to know that the first was told."""
    with BuildRecord(dsn, "b", target) as record:
        record.note(NodeResult(MODEL, "success"))
        record.note(NodeResult(TEST, "fail"))
        assert verdict(dsn, "b", "fact").told is False
        mark_told(dsn, "b", "fact")
        record.note_all([NodeResult(MODEL, "success"), NodeResult(TEST, "fail", message="Got 1 result"),
                         NodeResult(CHILD, "skipped")])  # fmt: skip
    found = verdict(dsn, "b", "fact")
    assert (found.state, found.told, found.reasons) == ("failed", True, ("test positive fail: Got 1 result",))
    assert (verdict(dsn, "b", "total").state, verdict(dsn, "b", "total").told) == ("failed", False)
    with BuildRecord.resumed(dsn, "b", target) as record:
        record.note_all([NodeResult(MODEL, "success"), NodeResult(TEST, "pass")])
    assert verdict(dsn, "b", "fact").state == "success"


def test_a_build_that_broke_fails_whom_it_left_unbuilt(dsn: str, target: Path) -> None:
    with pytest.raises(RuntimeError), BuildRecord(dsn, "b", target, last_try=False):
        raise RuntimeError("the warehouse went away")
    assert verdict(dsn, "b", "fact").state == "running"  # it will be tried again
    with pytest.raises(RuntimeError), BuildRecord(dsn, "b", target):
        raise RuntimeError("the warehouse went away")
    assert verdict(dsn, "b", "fact").reasons == ("the build broke: the warehouse went away",)
