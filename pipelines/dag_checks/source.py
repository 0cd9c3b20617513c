"""Checks on a DAG file's text: they name lines, and hold for files that can't be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pipelines.dag_checks.imports import HEAVY, moved_to
from pipelines.dag_checks.known import Known, suggestion
from pipelines.dag_checks.model import Finding, Level

MOVING_DATES = ("now", "utcnow", "today", "days_ago")
HOOKS_BY_FIRST_ARGUMENT = ("PostgresHook", "S3Hook", "HttpHook", "get_connection", "warehouse_dsn", "s3_client")
READ_WHEN_PARSED = ("dag", "task_group")


def check_source(path: Path, text: str, known: Known) -> list[Finding]:
    """Return what is wrong with the text of a DAG file; nothing for one that is no Python (the import tells that)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    found = [
        *_file_name(path),
        *_moved_imports(tree),
        *_heavy_imports(tree),
        *_declarations(tree),
        *_unknown_connections(tree, known),
    ]
    return [Finding(str(path), line, level, rule, what, cure) for line, level, rule, what, cure in found]


Found = Iterator[tuple[int, Level, str, str, str]]


def parsed_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the file is read: not the insides of functions, but those of @dag ones."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (node for decorator in child.decorator_list for node in ast.walk(decorator))
            if any(_name(decorator) in READ_WHEN_PARSED for decorator in child.decorator_list):
                yield from parsed_nodes(child)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (node for other in child.orelse for node in (other, *parsed_nodes(other)))
        elif not isinstance(child, ast.Lambda):
            yield child
            yield from parsed_nodes(child)


def _file_name(path: Path) -> Found:
    if path.name.startswith("dbt_"):
        yield (
            *(0, "error", "file-name", f"{path.name}: Airflow takes files named dbt_* for plug-ins of dbt"),
            "give the file another name",
        )


def _moved_imports(tree: ast.AST) -> Found:
    for node in ast.walk(tree):
        names: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [(node.module, alias.name) for alias in node.names]
        for module, name in names:
            place = moved_to(module, name)
            if place:
                told = f"{module}.{name}" if name else module
                yield node.lineno, "warning", "moved-import", f"{told} is Airflow 2's place", f"import from {place}"  # type: ignore[attr-defined]


def _heavy_imports(tree: ast.AST) -> Found:
    for node in parsed_nodes(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
        for module in modules:
            if module.partition(".")[0] in HEAVY:
                yield (
                    *(node.lineno, "warning", "heavy-import"),  # type: ignore[attr-defined]
                    f"{module} is imported whenever Airflow reads the file, every half minute",
                    "import it inside the task that uses it",
                )


def _declarations(tree: ast.Module) -> Found:
    called = {_name(node) for node in parsed_nodes(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            declaration = next((item for item in node.decorator_list if _name(item) == "dag"), None)
            if declaration is not None:
                yield from _declaration(declaration, node.lineno)
                if node.name not in called:
                    yield (
                        *(node.lineno, "error", "never-called"),
                        f"the DAG function {node.name} is never called, so there is no DAG",
                        f"add the line {node.name}() at the end of the file",
                    )
        elif isinstance(node, ast.Call) and _name(node) == "DAG":
            yield from _declaration(node, node.lineno)


def _declaration(declaration: ast.expr, line: int) -> Found:
    keywords = {item.arg: item.value for item in declaration.keywords} if isinstance(declaration, ast.Call) else {}
    if "schedule" not in keywords and None not in keywords:  # None: **arguments, which may hold it
        yield (
            *(line, "warning", "no-schedule", "no schedule is given, so the DAG runs by hand only"),
            'say schedule="@daily" or the like; schedule=None if it is meant so',
        )
    for node in ast.walk(keywords["start_date"]) if "start_date" in keywords else ():
        if isinstance(node, ast.Call) and _name(node) in MOVING_DATES:
            yield (
                *(node.lineno, "error", "moving-start-date"),
                "start_date is another one whenever the file is read, so runs are skipped or never come",
                "give a fixed day, for example dt.datetime(2026, 1, 1, tzinfo=dt.UTC)",
            )


def named_connections(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the connection ids that stand in the text, each with its line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        values = [item.value for item in node.keywords if (item.arg or "").endswith("conn_id")]
        if _name(node) in HOOKS_BY_FIRST_ARGUMENT and node.args:
            values.append(node.args[0])
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and "{{" not in value.value:
                yield value.lineno, value.value


def _unknown_connections(tree: ast.AST, known: Known) -> Found:
    for line, name in named_connections(tree):
        if name and name not in known.connections:
            yield line, "error", "unknown-connection", f"there is no connection '{name}'", cure(name, known)


def cure(connection: str, known: Known) -> str:
    """Return what to do about an unknown connection."""
    return f"{suggestion(connection, known.connections)}; a new one goes into pipelines/config/connections.yaml"


def _name(node: ast.AST) -> str:
    """Return the last name of what is called or used to decorate: `dag` of `@sdk.dag(…)`."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
