"""The commands of `dp`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.markup import escape
from rich.table import Table

from dataplatform_cli.airflow_commands import app as airflow_app
from dataplatform_cli.bench.commands import app as bench_app
from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.contract import app as contract_app
from dataplatform_cli.dag import app as dag_app
from dataplatform_cli.display import err, out, start_display
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.grant import app as grant_app
from dataplatform_cli.hub import app as dlq_app
from dataplatform_cli.hub import run_consumer, topics
from dataplatform_cli.key import app as key_app
from dataplatform_cli.metadata import app as metadata_app
from dataplatform_cli.minio import app as minio_app
from dataplatform_cli.new import app as new_app
from dataplatform_cli.settings import find_root
from dataplatform_cli.setup import complete_env, unset_variables, write_env

app = typer.Typer(
    help="The data platform's command line: the local stack, the demo, and ingestion by hand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(airflow_app, name="airflow")
app.add_typer(bench_app, name="bench")
app.add_typer(contract_app, name="contract")
app.add_typer(dlq_app, name="dlq")
app.add_typer(grant_app, name="grant")
app.add_typer(key_app, name="key")
app.add_typer(metadata_app, name="metadata")
app.add_typer(minio_app, name="minio")
app.add_typer(dag_app, name="dag")
app.add_typer(new_app, name="new")
app.command("run-consumer")(run_consumer)
app.command("topics")(topics)

Services = Annotated[
    list[str] | None,
    typer.Argument(help="postgres, s3, metadata, airflow, superset. All where none is named.", show_default=False),
]


@app.command()
@reported
def setup(
    production: Annotated[bool, typer.Option(help="Generate every password, not only the machine secrets.")] = False,
) -> None:
    """Write .env with fresh secrets."""
    if (find_root() / ".env").exists() and not production:
        filled = complete_env(find_root())
        out.print(f".env is there already; {'filled in ' + ', '.join(filled) if filled else 'it stays as it is'}")
        if unset := unset_variables(find_root()):
            out.print(f"[dim]the defaults of .env.example hold for {', '.join(unset)}[/]")
        return
    path = write_env(find_root(), production)
    out.print(f"wrote {path} ({'generated' if production else 'development'} passwords, fresh machine secrets)")


@app.command()
@reported
def up(services: Services = None) -> None:
    """Start services and all that they need, and wait until they answer."""
    from dataplatform_cli.stack import kinds, lifecycle

    settings = settings_of_repository()
    kinds.refuse_if_other_is_up(settings, "local")
    with start_display() as watch:
        lifecycle.up(settings, services or (), watch)


@app.command()
@reported
def start() -> None:
    """Start the stack on Docker Compose, its images built anew where they have changed."""
    from dataplatform_cli.stack import compose, kinds

    settings = settings_of_repository()
    kinds.refuse_if_other_is_up(settings, "compose")
    compose.ComposeStack(settings).start()
    out.print(f"Airflow {settings.airflow_url}, dashboards {settings.superset_url}, catalog {settings.metadata_url}")


@app.command()
@reported
def restart() -> None:
    """Stop the stack that is up and start it again."""
    from dataplatform_cli.stack.kinds import running

    stack = running(settings_of_repository())
    stack.stop()
    stack.start()


@app.command()
@reported
def down(services: Services = None) -> None:
    """Stop services and all that need them. Data stay."""
    from dataplatform_cli.stack.kinds import find

    stack = find(settings_of_repository())
    stopped = stack.stop(services or ()) if stack else []
    out.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
@reported
def status(as_json: Json = False) -> None:
    """Show each service: state, address, process and memory. Exit code 1 if one has failed, in whole or in part."""
    from dataplatform_cli.stack.kinds import START, find
    from dataplatform_cli.stack.local import LocalStack

    settings = settings_of_repository()
    up = find(settings)
    found = (up or LocalStack(settings)).status()
    if as_json:
        sys.stdout.write(json.dumps({"stack": up.kind if up else None, "services": found}) + "\n")
    else:
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
        for column in ("service", "state", "address", "pid", "memory"):
            table.add_column(column, justify="right" if column in ("pid", "memory") else "left")
        colours = {"running": "green", "stopped": "dim", "done": "dim", "starting": "yellow"}
        for item in found:
            state = f"[{colours.get(item['state'], 'red')}]{item['state']}[/]"
            memory = f"{item['memory_mb']:.0f} MB" if item["pid"] else ""
            table.add_row(item["name"], state, item["url"], str(item["pid"] or ""), memory)
        out.print(table)
        together = f"{up.kind} stack, all together {sum(item['memory_mb'] for item in found):.0f} MB" if up else ""
        out.print(f"[dim]{together or 'nothing is up: ' + START}[/]")
    if any(item["state"] in ("failed", "degraded") for item in found):
        raise typer.Exit(1)


@app.command()
@reported
def logs(
    program: Annotated[str | None, typer.Argument(help="One program, for example airflow-scheduler.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines of each.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep on printing what comes.")] = False,
) -> None:
    """Show the services' logs."""
    from dataplatform_cli.stack.kinds import find
    from dataplatform_cli.stack.local import LocalStack

    settings = settings_of_repository()
    (find(settings) or LocalStack(settings)).logs(program, lines, follow)  # the local stack's outlive it


@app.command("run-api")
@reported
def run_api() -> None:
    """Run the metadata service in the foreground, on the Postgres of the stack that is up."""
    from dataplatform_cli.run_api import run_api as run

    run(settings_of_repository())


@app.command()
@reported
def verify(
    url: Annotated[str | None, typer.Option(help="The service; that of the stack where it is left out.")] = None,
    file: Annotated[Path | None, typer.Option(help="Other checks than those of submission.yml.")] = None,
    as_json: Json = False,
) -> None:
    """Run the commands of submission.yml against the metadata service and compare what they answer."""
    from dataplatform_cli.verify import load_checks, run_check

    settings = settings_of_repository()
    key = settings.metadata_api_key.get_secret_value()
    variables = {"BASE_URL": (url or settings.metadata_url).rstrip("/"), "API_KEY": key, "RUN_ID": str(uuid4())}
    outcomes = []
    for check in load_checks(file or find_root() / "submission.yml"):
        outcomes.append(run_check(check, variables))
        if not as_json:
            fault = outcomes[-1].fault
            out.print(
                f"[green]ok[/]    {check.name}" if fault is None else f"[red]fault[/] {check.name}: {escape(fault)}"
            )
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes]) + "\n")
    if faults := sum(outcome.fault is not None for outcome in outcomes):
        raise PlatformError(f"{faults} of {len(outcomes)} checks found a fault")


@app.command()
@reported
def doctor(as_json: Json = False) -> None:
    """Check memory, disk, ports and versions; each finding with its cure."""
    from dataplatform_cli.doctor import examine, print_findings

    findings = examine(settings_of_repository())
    if as_json:
        sys.stdout.write(json.dumps({"findings": [finding.to_dict() for finding in findings]}) + "\n")
    else:
        print_findings(findings)
    if any(finding.level == "stop" for finding in findings):
        raise typer.Exit(1)


@app.command()
@reported
def demo(as_json: Json = False) -> None:
    """Start everything, take sample files from bucket to dashboard, and tell what happened.

    Exit code 0 only if all of it came out as it should.
    """
    from dataplatform_cli.demo import run_demo

    _tell_facts(run_demo(settings_of_repository()), as_json)


@app.command("test-pipeline")
@reported
def pipeline_test(as_json: Json = False) -> None:
    """Take the sample through the stack that is up, from bucket to marts, and compare every count with the sample's.

    Then the SDK's example teams tell their lineage. Exit code 0 only if all of it came out as it should.
    """
    from dataplatform_cli.demo import run_pipeline
    from dataplatform_cli.demo.teams import run_teams
    from dataplatform_cli.stack.kinds import running

    settings = settings_of_repository()
    facts = run_pipeline(settings, running(settings))
    teams = run_teams(settings)
    problems = [*facts["problems"], *teams["problems"]]
    _tell_facts(facts | {"teams": teams, "problems": problems, "ok": facts["ok"] and not problems}, as_json)


def _tell_facts(facts: dict[str, Any], as_json: bool) -> None:
    from dataplatform_cli.demo.report import print_report

    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        print_report(facts)
    if not facts["ok"]:
        raise typer.Exit(1)


@app.command()
@reported
def ingest(
    files: Annotated[list[str], typer.Argument(help="Local paths, or s3://bucket/key.", show_default=False)],
    contract: Annotated[str, typer.Option("--contract", "-c", help="A contract file, or the name of a dataset.")],
    dsn: Annotated[str | None, typer.Option(help="Warehouse to load into; the stack's where left out.")] = None,
    as_json: Json = False,
) -> None:
    """Take files in by hand, without Airflow. Exit code 0 only if every file ended well."""
    from dataplatform_cli.ingest import GOOD, ingest_files, print_outcomes

    outcomes = ingest_files(settings_of_repository(), files, contract, dsn)
    if as_json:
        sys.stdout.write(json.dumps({"files": outcomes}) + "\n")
    else:
        print_outcomes(outcomes)
    if any(outcome["status"] not in GOOD for outcome in outcomes):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@reported
def dbt(context: typer.Context) -> None:
    """Run dbt on the stack's warehouse, for example `dp dbt build --select fct_sales+`."""
    from dataplatform_cli.dbt import run_dbt

    raise typer.Exit(run_dbt(settings_of_repository(), context.args))


@app.command()
@reported
def replay(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.", show_default=False)],
    rejected: Annotated[bool, typer.Option("--rejected", help="Rejected rows, not failed files.")] = False,
    match: Annotated[str, typer.Option(help="Shell pattern for the files' names.")] = "*",
    ids: Annotated[list[int] | None, typer.Option("--id", help="Only these ids of the ledger.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show what waits and change nothing.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write rejected rows into this folder, to mend them.")] = None,
    mended: Annotated[Path | None, typer.Option(help="A file of mended rows; with --rejected and one --id.")] = None,
    as_json: Json = False,
) -> None:
    """Take failed files, or rejected rows, in again after a contract or the data was mended.

    Exit code 0 only if all of them ended well.
    """
    from dataplatform_cli import replay as replaying
    from dataplatform_cli.ingest import GOOD, print_outcomes

    settings = settings_of_repository()
    rejected = rejected or export is not None
    entries = replaying.waiting(settings, dataset, rejected, match, ids or ())
    if export is not None:
        written = [str(path) for path in replaying.export(settings, dataset, entries, export)]
        sys.stdout.write(json.dumps({"written": written}) + "\n" if as_json else "".join(f"{p}\n" for p in written))
        return
    if only_list or not entries:
        if as_json:
            sys.stdout.write(json.dumps({"waiting": [dataclasses.asdict(entry) for entry in entries]}) + "\n")
        elif entries:
            replaying.print_entries(entries, rejected)
        else:
            out.print("no rejected row waits" if rejected else "no file has failed")
        return
    outcomes = replaying.replay_entries(settings, dataset, entries, rejected, mended)
    if as_json:
        sys.stdout.write(json.dumps({"files": outcomes}) + "\n")
    else:
        print_outcomes(outcomes)
    if any(outcome["status"] not in GOOD for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
@reported
def backup(
    folder: Annotated[Path | None, typer.Argument(help="Folder to make. backups/<time> where left out.")] = None,
    as_json: Json = False,
) -> None:
    """Write all databases, buckets and keys of the stack that is up into a folder. The stack goes on working."""
    from dataplatform_cli.backup import take

    path, taken = take(settings_of_repository(), folder, tell=lambda line: err.print(f"  [green]✔[/] {line}"))
    if as_json:
        sys.stdout.write(json.dumps({"folder": str(path), **taken.to_dict()}) + "\n")
    else:
        size = sum(part.bytes for part in taken.parts)
        out.print(f"wrote {path}, {size / 1e6:,.1f} MB. It holds keys and data: keep it where nobody else reads it.")


@app.command()
@reported
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `dp backup` wrote.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Throw away what the stack holds.")] = False,
    check_only: Annotated[bool, typer.Option("--check", help="Only see whether the backup is whole.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in place of an empty stack's databases, buckets and keys, and compare every count with it."""
    from dataplatform_cli import backup as backups

    def tell(line: str) -> None:
        err.print(f"  [green]✔[/] {line}")

    if check_only:
        taken = backups.read(folder)
        backups.check(folder, taken, tell)
    else:
        taken = backups.restore(settings_of_repository(), folder, replace, tell)
    if as_json:
        sys.stdout.write(json.dumps({"folder": str(folder), **taken.to_dict()}) + "\n")
    else:
        out.print("the backup is whole" if check_only else "restored; `dp restart` starts the rest of the stack")


@app.command()
@reported
def destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete all its data and logs, of both kinds. `.env` stays."""
    from dataplatform_cli.stack.kinds import both

    settings = settings_of_repository()
    if not yes:
        typer.confirm(f"Delete all data of the stack, in {settings.home} and in Docker's volumes?", abort=True)
    for stack in both(settings):
        stack.destroy()
    out.print("removed all data and logs of the stack")


if __name__ == "__main__":
    app()
