"""What `dp new dag` writes: it keeps the rules, it is formatted, and its own test passes as written."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dataplatform_cli.new import LONGEST_NAME, TEMPLATES, app, suggested

RUFF = Path(sys.executable).parent / "ruff"


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    """A folder in the repository's shape, which `dp` takes for it."""
    (tmp_path / "pipelines" / "dags").mkdir(parents=True)
    (tmp_path / "pipelines" / "dags" / "other.py").write_text("def taken():\n    pass\n")
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    return tmp_path


def new(root: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["dag", *arguments], env={"COLUMNS": "200", "DP_ROOT": str(root)})


def calls(function: Any, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Yield the arguments that pytest would call a test with: fixtures, and each set of its parameters."""
    marks = getattr(function, "pytestmark", [])
    given = [mark.args for mark in marks if mark.name == "parametrize"]
    names, rows = given[0] if given else ((), [()])
    for row in rows:
        parameters = dict(zip(names, row, strict=True))
        wanted = inspect.signature(function).parameters.keys() - parameters.keys()
        yield parameters | {name: request.getfixturevalue(name) for name in sorted(wanted)}


@pytest.mark.integration
@pytest.mark.parametrize("template", TEMPLATES)
def test_its_own_test_passes_as_written(template: str, root: Path, request: pytest.FixtureRequest) -> None:
    name = template.ljust(LONGEST_NAME, "x")
    for each in (f"a_{template}", name):
        done = new(root, each, "--template", template, "--domain", "sales")
        assert done.exit_code == 0, done.output
    files = [root / "pipelines" / "dags" / f"{name}.py", root / "pipelines" / "tests" / "dags" / f"test_{name}.py"]
    for arguments in (["check"], ["format", "--check"]):
        judged = subprocess.run([str(RUFF), *arguments, str(root)], capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout
    spec = importlib.util.spec_from_file_location(f"generated_{name}", files[1])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [function for key, function in vars(module).items() if key.startswith("test_")]
    assert len(tests) == 2
    for function in tests:
        for arguments in calls(function, request):
            function(**arguments)
    dag = request.getfixturevalue("load_dag")(files[0])
    assert dag.tags >= {"sales"}
    assert {task.owner for task in dag.tasks} == {"sales-team"}


def test_nothing_is_overwritten(root: Path) -> None:
    assert new(root, "mine").exit_code == 0
    path = root / "pipelines" / "dags" / "mine.py"
    path.write_text("# changed\n")
    again = new(root, "mine")
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert path.read_text() == "# changed\n"
    taken = new(root, "taken")
    assert taken.exit_code == 1
    assert "pipelines/dags/other.py has a DAG taken already" in taken.output


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("Sales-Report", "sales_report"), ("dailySales", "daily_sales"), ("2024_sales", "sales"), ("dbt_run", "run"),
        ("class", "class_dag"), ("dag", "dag_dag"), ("ä", "my_dag"), ("x" * 51, "x" * 50), ("../up", "up"),
    ],
)  # fmt: skip
def test_a_name_that_can_not_be_used_has_a_suggestion(name: str, better: str, root: Path) -> None:
    done = new(root, name)
    assert done.exit_code == 1
    assert f"for example {better}" in " ".join(done.output.split())
    assert suggested(name) == better
    assert [path.name for path in root.rglob("*.py")] == ["other.py"]
    assert new(root, better).exit_code == 0


def test_templates_and_owners_are_checked(root: Path) -> None:
    unknown = new(root, "mine", "--template", "etl")
    assert unknown.exit_code == 1
    assert "taskflow: Python functions" in unknown.output
    quoted = new(root, "mine", "--owner", 'a"b')
    assert quoted.exit_code == 1
    assert "is no name" in quoted.output
