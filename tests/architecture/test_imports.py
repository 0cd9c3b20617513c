"""Who may import whom, as docs/architecture.md says, read from the source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = {
    "pipelines": "pipelines",
    "data_quality": "data-quality/src/data_quality",
    "metadata_service": "metadata/src/metadata_service",
    "data_lineage_hub_sdk": "sdk/src/data_lineage_hub_sdk",
    "dataplatform_cli": "cli/src/dataplatform_cli",
}
MAY_IMPORT = {
    "pipelines": {"data_quality", "data_lineage_hub_sdk"},
    "data_quality": set(),
    "metadata_service": set(),
    "data_lineage_hub_sdk": set(),
    "dataplatform_cli": {"pipelines", "data_quality", "data_lineage_hub_sdk", "metadata_service"},
}


def modules(repository: Path, package: str) -> Iterator[Path]:
    folder = repository / PACKAGES[package]
    for path in sorted(folder.rglob("*.py")):
        if "tests" not in path.relative_to(folder).parts:
            yield path


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(repository: Path, package: str) -> None:
    ours = PACKAGES.keys() - {package} - MAY_IMPORT[package]
    paths = list(modules(repository, package))
    assert paths, f"no module of {package} was found"
    for path in paths:
        forbidden = {name for name in imported(path) if name.split(".")[0] in ours}
        assert not forbidden, f"{path} imports {sorted(forbidden)}"


def test_only_pipelines_outside_ingestion_imports_airflow(repository: Path) -> None:
    users = set()
    for package in PACKAGES:
        for path in modules(repository, package):
            if any(name.split(".")[0] == "airflow" for name in imported(path)):
                users.add(path.relative_to(repository))
    assert users, "no module imports Airflow: the test looks in the wrong place"
    assert not [path for path in users if path.parts[0] != "pipelines" or "ingestion" in path.parts[1:2]]


@pytest.mark.parametrize("package", PACKAGES)
def test_only_settings_reads_the_environment(repository: Path, package: str) -> None:
    """Handing an environment on to a child process, or setting a library's own variable, is no reading."""
    readers = []
    for path in modules(repository, package):
        if path.name == "settings.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_getenv = isinstance(node, ast.Attribute) and node.attr == "getenv"
            is_lookup = (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Load)
                and ast.unparse(node.value) == "os.environ"
            )
            if is_getenv or is_lookup:
                readers.append(f"{path}:{node.lineno}")
    assert not readers


def test_dag_files_hold_declarations_only(repository: Path) -> None:
    """What is shared lives in the package, so a DAG file defines DAGs and nothing that others could want."""
    for path in sorted((repository / "pipelines" / "dags").rglob("*.py")):
        tree = ast.parse(path.read_text())
        assert not [node for node in tree.body if isinstance(node, ast.ClassDef)], f"{path} defines a class"
        assert not path.name.startswith("dbt_"), f"{path}: files of that name are taken for dbt's plug-ins"
