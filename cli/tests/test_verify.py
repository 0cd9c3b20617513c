"""Checks of submission.yml: what counts as a right answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.verify import Check, lacking, load_checks, run_check


@pytest.mark.parametrize(
    ("answer", "wanted", "fault"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, "a is 1 instead of 2"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, "has no a.c"),
        ({"a": [{"n": 1}, {"n": 2}]}, {"a": [{"n": 2}]}, None),
        ({"a": [{"n": 1}]}, {"a": [{"n": 2}]}, "a has nothing like {'n': 2}"),
        ([], {"a": 1}, "the answer is [], no object"),
        ({"a": 1}, {"a": [1]}, "a is 1, no list"),
    ],
)
def test_what_is_lacking(answer: Any, wanted: Any, fault: str | None) -> None:
    assert lacking(answer, wanted) == fault


def test_commands_are_run_and_parts_of_their_answers_kept() -> None:
    variables = {"X": "1"}
    kept = run_check(Check("a", "echo '{\"id\": '$X'}'", {"id": 1}, {"FOUND": "id"}), variables)
    assert (kept.fault, variables["FOUND"]) == (None, "1")
    assert run_check(Check("b", "echo $FOUND", "1", {}), variables).fault is None
    assert "instead of" in str(run_check(Check("c", "echo 2", "1", {}), variables).fault)
    assert "ended with 3: why" in str(run_check(Check("d", "echo why >&2; exit 3", "1", {}), variables).fault)
    assert "printed no JSON" in str(run_check(Check("e", "echo hello", {"a": 1}, {}), variables).fault)


def test_a_file_that_is_none_says_so(tmp_path: Path, repository: Path) -> None:
    assert len(load_checks(repository / "submission.yml")) > 10
    path = tmp_path / "checks.yml"
    for text in ("- a", "checks: [{name: a}]", "checks: ["):
        path.write_text(text)
        with pytest.raises(PlatformError, match="can't be read"):
            load_checks(path)
    with pytest.raises(PlatformError, match="there is no"):
        load_checks(tmp_path / "nothing.yml")
