"""`dp dag`: check DAG files, and run one against the stack. `dp new dag` writes one (new.py)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from psycopg import sql

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings, find_root
from dataplatform_cli.stack import postgres
from dataplatform_cli.stack.airflow import component_environment, connection_values
from dataplatform_cli.stack.initialise import run_unless_done

if TYPE_CHECKING:
    from pipelines.dag_checks import Report

DATABASE = "airflow_dag_run"
WIDEST = 100  # characters of a result that the terminal shows; --json has all

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
    with _logs_on_standard_error():
        done = _run_on_the_stack(file, dag_id, configuration)
    if as_json:
        sys.stdout.write(json.dumps(done, default=str) + "\n")
    else:
        _print_run(done)
    if done["state"] != "success":
        raise typer.Exit(1)


@contextmanager
def _logs_on_standard_error() -> Iterator[None]:
    """Leave standard output to the command: Airflow and tasks write theirs to the other."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


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


def _run_on_the_stack(file: Path, dag_id: str | None, conf: dict[str, Any]) -> dict[str, Any]:
    """Run a DAG in this process, as Airflow's worker would, on the stack's services.

    Airflow's notes go to a database of their own: in the stack's, its scheduler would take the tasks away.
    """
    settings = settings_of_repository()
    with err.status("preparing"):
        number = _database(settings)
        environment = _environment(settings)
        run_unless_done(
            settings,
            "dag-run",
            "the database for DAG runs in the terminal",
            python=Path(sys.executable),
            script=settings.root / "infrastructure" / "airflow" / "initialise.py",
            # The number is another one where the database was made anew.
            environment={**environment, **connection_values(settings), "DATABASE_NUMBER": str(number)},
            inputs=[settings.root / "requirements" / "platform.txt"],
        )
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


def _environment(settings: StackSettings) -> dict[str, str]:
    """Return the environment of an Airflow with a database of its own, and this machine's addresses of all services."""
    import string

    import yaml

    words = connection_values(settings)

    def filled_in(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled_in(item) for key, item in value.items()}
        return string.Template(value).substitute(words) if isinstance(value, str) else value

    declared = yaml.safe_load((find_root() / "pipelines" / "config" / "connections.yaml").read_text())["connections"]
    connections = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(filled_in(fields)) for name, fields in declared.items()}
    home = settings.home / "dag-run"
    home.mkdir(parents=True, exist_ok=True)
    return {
        **component_environment(settings),
        **connections,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.dsn("airflow", DATABASE, scheme="postgresql+psycopg2"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }


def _database(settings: StackSettings) -> int:
    """Make the database for runs in the terminal unless it is there, and return its number (oid)."""
    find, name = "SELECT oid FROM pg_database WHERE datname = %s", sql.Identifier(DATABASE)
    with postgres.connect(settings) as connection:
        if connection.execute(find, [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER airflow").format(name))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        row: Any = connection.execute(find, [DATABASE]).fetchone()
        return int(row[0])


def _print_run(done: dict[str, Any]) -> None:
    for task in done["tasks"]:
        colour = {"success": "green", "skipped": "dim"}.get(str(task["state"]), "red")
        out.print(f"[{colour}]{task['state']}[/]  {task['task']}", end=" ")
        result = "" if task["result"] is None else json.dumps(task["result"], default=str, ensure_ascii=False)
        out.print(result if len(result) <= WIDEST else f"{result[:WIDEST]}…", markup=False, soft_wrap=True)
        if task["error"]:
            out.print(f"        {task['error']}", style="red", markup=False, soft_wrap=True)
    out.print(f"{done['dag_id']}: {done['state']}")
