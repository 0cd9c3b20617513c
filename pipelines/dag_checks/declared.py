"""Checks on what importing a DAG file showed: errors, what it asked for, and the DAGs that came of it."""

from __future__ import annotations

import ast
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.dag_checks.imports import moved_to
from pipelines.dag_checks.known import Known, suggestion
from pipelines.dag_checks.model import Finding, Level, ReadDag, ReadFile
from pipelines.dag_checks.source import cure as connection_cure
from pipelines.dag_checks.source import named_connections

SLOW_SECONDS = 2.0
Found = Iterator[tuple[int, Level, str, str, str]]


def check_read(read: ReadFile, text: str, others: Iterable[ReadFile], known: Known) -> list[Finding]:
    """Return what is wrong with a file that was imported.

    Args:
        read: What the import showed.
        text: The file's text, which gives findings their lines.
        others: The folder's other files: their DAGs' ids are taken.
        known: The connections and pools that there are.
    """
    taken = {dag.dag_id: other.path for other in others for dag in other.dags}
    tree = _parsed(text)
    # Those in the text were judged there, with their lines: here are those that operators bring along.
    judged = {name for _, name in named_connections(tree)}
    known = Known(known.connections | judged, known.pools)
    found = [*_import(read), *_asked(read)]
    for dag in read.dags:
        found += _dag(dag, _line_of(tree, dag.dag_id), known)
        if dag.dag_id in taken:
            found.append(_duplicate(dag, _line_of(tree, dag.dag_id), taken[dag.dag_id]))
    for dag_id, count in Counter(dag.dag_id for dag in read.dags).items():
        if count > 1:
            found.append(_duplicate(read.dags[0], _line_of(tree, dag_id), "this file again"))
    return [Finding(read.path, line, level, rule, what, cure) for line, level, rule, what, cure in found]


def _import(read: ReadFile) -> Found:
    if read.error:
        reason = _reason(read.error)
        yield read.error_line, "error", "import-error", f"the file can't be imported: {reason}", _import_cure(reason)
    elif read.seconds > SLOW_SECONDS:
        yield (
            *(0, "warning", "slow-import", f"importing takes {read.seconds:.1f} s, again and again"),
            "move work and large imports into the tasks",
        )


def _reason(error: str) -> str:
    """Return the line of a traceback that names the exception: a message may have lines of its own after it."""
    lines = error.strip().splitlines()
    return next((line for line in reversed(lines) if re.match(r"[A-Za-z_][\w.]*(: |$)", line)), lines[-1])


def _import_cure(reason: str) -> str:
    missing = re.search(r"No module named '([\w.]+)'", reason)
    if missing:
        place = moved_to(missing[1])
        if place:
            return f"it is in {place} now"
        return (
            f"a library: add {missing[1].partition('.')[0]} to requirements/platform.in, `make lock`, `make install`; "
            "code of your own: put it into the package pipelines, not beside the DAG"
        )
    unknown = re.search(r"cannot import name '(\w+)' from '([\w.]+)'", reason)
    if unknown:
        place = moved_to(unknown[2], unknown[1])
        return f"it is in {place} now" if place else f"look for its name in {unknown[2]}"
    if "TaskTimeout" in reason:
        return "move work into the tasks: Airflow gives a file half a minute"
    if "Cycle" in reason:
        return "let no task be upstream of itself"
    if "SyntaxError" in reason or "IndentationError" in reason:
        return "mend the line"
    return "mend what the error names; tasks' work belongs into tasks"


def _asked(read: ReadFile) -> Found:
    for line, what in read.asked:
        cure = "ask for it inside a task"
        if what.startswith("the variable"):
            cure = "use it in a template ('{{ var.value.name }}') or inside a task"
        elif what.startswith("the connection"):
            cure = "hand the connection's id to an operator or a hook inside a task"
        yield line, "error", "top-level-io", f"reading the file asks for {what}", cure


def _dag(dag: ReadDag, line: int, known: Known) -> Found:
    if not dag.tasks:
        yield line, "warning", "no-task", f"{dag.dag_id} has no task", "call the task functions inside the DAG's"
    if any(not task.has_owner for task in dag.tasks):
        yield (
            *(line, "warning", "no-owner", f"{dag.dag_id} names no owner, so data-platform gets its alerts"),
            'default_args={"owner": "<team>"}',
        )
    if not dag.tags:
        yield line, "warning", "no-tags", f"{dag.dag_id} has no tags", 'tags=["<domain>"], to find it by'
    yield from _start(dag, line)
    told: set[str] = set()
    for task in dag.tasks:
        for argument, name in task.connections.items():
            if name not in known.connections and name not in told:
                told.add(name)
                what = f"{dag.dag_id}.{task.task_id}: there is no connection '{name}' ({argument})"
                yield line, "error", "unknown-connection", what, connection_cure(name, known)
        if task.pool not in known.pools:
            what = f"{dag.dag_id}.{task.task_id}: there is no pool '{task.pool}'"
            yield line, "error", "unknown-pool", what, suggestion(task.pool, known.pools)


def _start(dag: ReadDag, line: int) -> Found:
    if not dag.is_scheduled:
        return
    start = dt.datetime.fromisoformat(dag.start) if dag.start else None
    now = dt.datetime.now(dt.UTC)
    if start and start > now:
        yield (
            *(line, "warning", "future-start", f"{dag.dag_id} does not run before {start:%Y-%m-%d}"),
            "give a start_date in the past",
        )
    elif dag.catchup and start is None:
        yield line, "error", "catchup", f"{dag.dag_id}: catchup without a start_date never runs", "give a start_date"
    elif dag.catchup and start and now - start > dt.timedelta(days=31):
        yield (
            *(line, "warning", "catchup"),
            f"{dag.dag_id} makes up for every run since {start:%Y-%m-%d} as soon as it appears",
            "catchup=False, or a start_date not long ago",
        )


def _duplicate(dag: ReadDag, line: int, other: str) -> tuple[int, Level, str, str, str]:
    place = Path(other).name if "/" in other else other
    what = f"there is another DAG {dag.dag_id} in {place}: Airflow shows one of them, now this, now that"
    return line, "error", "duplicate-id", what, "give one of them another dag_id"


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _line_of(tree: ast.Module, dag_id: str) -> int:
    """Return the line of a DAG's declaration: where its id stands, else its function; 0 where it is made otherwise."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == dag_id:
            return node.lineno
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return next((node.lineno for node in functions if node.name == dag_id), 0)
