"""The commands of `dp`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.contract import app as contract_app
from dataplatform_cli.display import out, start_display
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import find_root
from dataplatform_cli.setup import write_env

app = typer.Typer(
    help="The data platform's command line: the local stack, the demo, and ingestion by hand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(contract_app, name="contract")

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
    path = write_env(find_root(), production)
    out.print(f"wrote {path} ({'generated' if production else 'development'} passwords, fresh machine secrets)")


@app.command()
@reported
def up(services: Services = None) -> None:
    """Start services and all that they need, and wait until they answer."""
    from dataplatform_cli.stack import lifecycle

    settings = settings_of_repository()
    with start_display() as watch:
        lifecycle.up(settings, services or (), watch)


@app.command()
@reported
def down(services: Services = None) -> None:
    """Stop services and all that need them. Data stay."""
    from dataplatform_cli.stack import lifecycle

    stopped = lifecycle.down(settings_of_repository(), services or ())
    out.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
@reported
def status(as_json: Json = False) -> None:
    """Show each service: state, address, process and memory. Exit code 1 if one has failed, in whole or in part."""
    from dataplatform_cli.stack.status import status as stack_status

    found = stack_status(settings_of_repository())
    if as_json:
        sys.stdout.write(json.dumps({"services": found}) + "\n")
    else:
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
        for column in ("service", "state", "address", "pid", "memory"):
            table.add_column(column, justify="right" if column in ("pid", "memory") else "left")
        colours = {"running": "green", "stopped": "dim", "starting": "yellow"}
        for item in found:
            state = f"[{colours.get(item['state'], 'red')}]{item['state']}[/]"
            memory = f"{item['memory_mb']:.0f} MB" if item["pid"] else ""
            table.add_row(item["name"], state, item["url"], str(item["pid"] or ""), memory)
        out.print(table)
        out.print(f"[dim]all together {sum(item['memory_mb'] for item in found):.0f} MB[/]")
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
    from dataplatform_cli.logs import show_logs

    show_logs(settings_of_repository(), program, lines, follow)


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
    from dataplatform_cli.demo.report import print_report

    facts = run_demo(settings_of_repository())
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


bench_app = typer.Typer(help="Measure what the platform costs, beside its limit and its peers.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


@bench_app.command("ingest")
@reported
def bench_ingest(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the large file.")] = 2_000_000,
    files: Annotated[int, typer.Option(min=1, help="Small files of 100 rows, for the scenario files.")] = 10_000,
    scenarios: Annotated[str, typer.Option(help="Some of first,upsert,delta,files,memory.")] = "first,upsert,delta",
    ways: Annotated[str, typer.Option(help="Some of copy,ours,dlt,pandas.")] = "copy,ours,dlt,pandas",
    repeat: Annotated[int, typer.Option(min=1, help="Runs of copy and ours; the median counts.")] = 3,
    as_json: Json = False,
) -> None:
    """Load files on scratch servers: bare COPY as the limit, our way, dlt and pandas + ON CONFLICT."""
    from dataplatform_cli.bench import SCENARIOS, print_report
    from dataplatform_cli.bench import bench_ingest as run

    chosen = tuple(scenarios.split(","))
    if unknown := set(chosen) - set(SCENARIOS):
        raise PlatformError(f"there is no scenario {', '.join(sorted(unknown))}", f"known: {', '.join(SCENARIOS)}")
    figures = run(settings_of_repository(), rows, files, chosen, tuple(ways.split(",")), repeat)
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        print_report(figures)


@app.command()
@reported
def destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete all its data and logs. `.env` stays."""
    from dataplatform_cli.stack import lifecycle

    settings = settings_of_repository()
    if not yes:
        typer.confirm(f"Delete all data of the stack in {settings.home}?", abort=True)
    lifecycle.destroy(settings)
    out.print(f"removed {settings.home}")


if __name__ == "__main__":
    app()
