"""`dp dag`: check DAG files, and run one against the stack. `dp new dag` writes one (new.py)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import find_root

if TYPE_CHECKING:
    from pipelines.dag_checks import Report

app = typer.Typer(help="DAG files: check them, run one.", no_args_is_help=True)


@app.command()
@reported
def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="DAG files or folders; all of pipelines/dags where left out.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check DAG files: every problem with its line and cure. Nothing has to run. Exit code 1 if one is an error."""
    with err.status("reading"):
        report = checked(paths or [dag_folder()])
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict()) + "\n")
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command("run")
@reported
def run_dag(
    file: Annotated[Path, typer.Argument(help="A DAG file.", show_default=False)],
    dag_id: Annotated[str | None, typer.Option("--dag", help="One of its DAGs, where it has several.")] = None,
    conf: Annotated[str, typer.Option(help="The run's configuration, JSON.")] = "{}",
    as_json: Json = False,
) -> None:
    """Run a DAG once in this terminal, on the running stack's services, and show what each task did and returned."""
    file = file.resolve()
    if not file.is_file() or not file.is_relative_to(dag_folder()):
        raise PlatformError(f"there is no DAG file {file}", f"give the path of a file in {dag_folder()}")
    try:
        configuration = json.loads(conf)
    except json.JSONDecodeError as error:
        raise PlatformError(f"--conf is no JSON: {error}", """for example --conf '{"day": "2026-01-01"}'""") from error
    done = _run_on_the_stack(file, dag_id, configuration)
    if as_json:
        sys.stdout.write(json.dumps(done) + "\n")
    else:
        _print_run(done)
    if done["state"] != "success":
        raise typer.Exit(1)


def dag_folder() -> Path:
    """Return Airflow's DAG folder in the repository."""
    return find_root() / "pipelines" / "dags"


def checked(paths: list[Path]) -> Report:
    """Check DAG files against the platform's folder, connections and pools."""
    from pipelines.dag_checks import check as check_files
    from pipelines.dag_checks import known_to_the_platform

    known = known_to_the_platform(find_root() / "pipelines" / "config" / "connections.yaml")
    try:
        return check_files(paths, dag_folder(), known)
    except FileNotFoundError as error:
        raise PlatformError(str(error), "give DAG files, or folders of them") from error
    except RuntimeError as error:
        raise PlatformError(
            str(error), "look for sys.exit, endless loops and crashes at the files' top level"
        ) from error


def print_report(report: Report) -> None:
    """Print findings, each with its cure, and how many there are."""
    for finding in report.findings:
        line = f":{finding.line}" if finding.line else ""
        path = Path(finding.path)
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        out.print(f"[{'red' if finding.level == 'error' else 'yellow'}]{finding.level}[/] ", end="")
        out.print(f"{shown}{line}: {finding.what}", markup=False, soft_wrap=True)
        out.print(f"        {finding.cure}", style="dim", markup=False, soft_wrap=True)
    counts = f"{len(report.files)} files, {len(report.dag_ids)} DAGs: "
    warnings = len(report.findings) - len(report.errors)
    out.print(counts + (f"{len(report.errors)} errors, {warnings} warnings" if report.findings else "nothing to mend"))


def _run_on_the_stack(file: Path, dag_id: str | None, conf: dict[str, object]) -> dict[str, object]:
    """Run a DAG in this process, as Airflow's worker would, with the environment of the stack's Airflow."""
    from dataplatform_cli.stack.airflow import component_environment

    settings = settings_of_repository()
    environment = {**component_environment(settings), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    os.environ.update(environment)  # before Airflow's first import, which reads it
    from pipelines.testing import load_dags, run

    try:
        dags = load_dags(file)
    except AssertionError as error:
        raise PlatformError(str(error), f"`dp dag check {file}` says more") from error
    if dag_id is None and len(dags) > 1:
        raise PlatformError(f"{file} has the DAGs {', '.join(dags)}", "choose one with --dag")
    if dag_id is not None and dag_id not in dags:
        raise PlatformError(f"{file} has no DAG {dag_id}", f"it has {', '.join(dags)}")
    done = run(dags[dag_id] if dag_id else next(iter(dags.values())), conf=conf)
    return done.to_dict()


def _print_run(done: dict[str, object]) -> None:
    tasks: list[dict[str, object]] = done["tasks"]  # type: ignore[assignment]
    for task in tasks:
        colour = {"success": "green", "skipped": "dim"}.get(str(task["state"]), "red")
        out.print(f"[{colour}]{task['state']}[/]  {task['task']}", end=" ")
        out.print(json.dumps(task["result"], default=str) if task["result"] is not None else "", markup=False)
        if task["error"]:
            out.print(f"        {task['error']}", style="red", markup=False, soft_wrap=True)
    out.print(f"{done['dag_id']}: {done['state']}")
