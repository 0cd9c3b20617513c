"""`dp contract`: data contracts inferred from files, checked, compared, described, and brought into effect."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from rich.markup import escape
from rich.table import Table

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError

if TYPE_CHECKING:
    from data_quality.contract.lint import Finding
    from pipelines.ingestion.inference import Inference

app = typer.Typer(
    help="Data contracts: infer one from files, find what breaks, bring them into effect.", no_args_is_help=True
)


@app.command()
@reported
def infer(
    files: Annotated[list[Path], typer.Argument(help="Sample files: CSV, JSON, NDJSON, Parquet.", show_default=False)],
    domain: Annotated[str, typer.Option("--domain", "-d", help="Domain, the contract's folder.")],
    dataset: Annotated[str, typer.Option("--dataset", "-n", help="Dataset: folder in the bucket, DAG, table.")],
    key: Annotated[str | None, typer.Option(help="The key's columns, with commas between them.")] = None,
    order_by: Annotated[str | None, typer.Option(help="Column by which the newer row of a key wins.")] = None,
    owner: Annotated[str | None, typer.Option(help="Team that answers for the data; the domain by default.")] = None,
    email: Annotated[str | None, typer.Option(help="Its address.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=20, help="Percent of a column's values that may be dirt, rejected later.")
    ] = 0.0,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Another file, or - to print it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a contract that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a contract that fits sample files, every guess explained: types, key, ranges, lists, personal data."""
    from pipelines.ingestion.inference import infer as infer_contract
    from pipelines.ingestion.model import FileRefused

    for name, value in (("--domain", domain), ("--dataset", dataset)):
        _check_name(name, value)
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise PlatformError(f"there is no file {', '.join(missing)}", "give the paths of local files")
    target = None if output == "-" else Path(output) if output else _place(domain, dataset)
    if target is not None and not output:
        _check_unknown(dataset, target)
    if target is not None and target.exists() and not force:
        raise PlatformError(f"{target} is there already", "--force overwrites it, --output - only shows the new one")
    with err.status("reading") as status:
        try:
            found = infer_contract(
                files,
                domain=domain,
                dataset=dataset,
                key=tuple(filter(None, (key or "").split(","))),
                order_by=order_by,
                tolerance=tolerance / 100,
                owner=owner,
                owner_email=email,
                progress=status.update,
            )
        except FileRefused as refused:
            raise PlatformError(str(refused)) from refused
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(found.text, encoding="utf-8")
    if as_json:
        sys.stdout.write(json.dumps({"path": None if target is None else str(target), **found.to_dict()}) + "\n")
        return
    if target is None:
        sys.stdout.write(found.text)
    _print_inference(found, target)


@app.command()
@reported
def lint(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; all contracts where left out.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Check contracts: every problem with its place and cure. Exit code 1 if one of them is an error."""
    from data_quality.contract.lint import lint as lint_contracts

    chosen = paths or [settings_of_repository().contracts]
    missing = [str(path) for path in chosen if not path.exists()]
    if missing:
        raise PlatformError(f"there is no {', '.join(missing)}", "give contract files, or folders of them")
    findings = lint_contracts(chosen)
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        sys.stdout.write(json.dumps({"ok": not errors, "findings": [item.to_dict() for item in findings]}) + "\n")
    else:
        _print_findings(findings, errors)
    if errors:
        raise typer.Exit(1)


@app.command()
@reported
def check(
    against: Annotated[
        str, typer.Option(metavar="REF|FOLDER", help="A git revision (a branch, a tag), or a folder of contracts.")
    ],
    as_json: Json = False,
) -> None:
    """Find what changed since a revision, what it breaks, and for whom.

    Exit code 1 if something breaks and the contract's version does not say so by a new major number; 2 if there is no
    such revision.
    """
    from data_quality.contract import load_contracts
    from dataplatform_cli.contract_check import judge, show
    from dataplatform_cli.contract_states import earlier

    settings = settings_of_repository()
    contracts = load_contracts(settings.contracts)
    with earlier(against, settings.contracts) as before:
        verdicts = judge(settings, before, contracts, settings.root / "transformations")
        for problem in before.problems:  # it was in no effect: whatever it became, nothing leant on it
            err.print(f"warning: at {against}: {problem}", style="yellow", markup=False, soft_wrap=True)
    ok = not contracts.problems and not any(verdict.comparison.breaks for verdict in verdicts)
    if as_json:
        told = {
            "ok": ok,
            "against": against,
            "contracts": [verdict.to_dict() for verdict in verdicts],
            "problems": [str(problem) for problem in contracts.problems],
        }
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        for problem in contracts.problems:
            err.print(f"error: {problem}", style="red", markup=False, soft_wrap=True)
        show(out, verdicts, against)
    if not ok:
        raise typer.Exit(1)


@app.command()
@reported
def docs(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; docs/contracts by default.")] = None,
    as_json: Json = False,
) -> None:
    """Write a page about each contract, for people: columns, rules, personal data, freshness, an example."""
    from data_quality.contract import load_contracts
    from data_quality.contract.pages import write_pages

    settings = settings_of_repository()
    contracts = load_contracts(settings.contracts)
    if contracts.problems:
        raise PlatformError("a contract is broken", "`dp contract lint` says which, where, and what helps")
    folder = output or settings.root / "docs" / "contracts"
    changed = write_pages(contracts, folder)
    if as_json:
        sys.stdout.write(json.dumps({"folder": str(folder), "changed": changed}) + "\n")
    else:
        out.print(f"{folder}: " + (", ".join(changed) if changed else "as it was"), markup=False, soft_wrap=True)


@app.command()
@reported
def sync(as_json: Json = False) -> None:
    """Bring contracts into effect: dbt's sources, tables, catalog entries. Airflow does it by itself every few minutes.

    Exit code 1 if a contract is broken or does not fit its table.
    """
    from data_lineage_hub_sdk.transport import client_from
    from data_quality.contract import load_contracts
    from dataplatform_cli.stack.kinds import warehouse_namespace
    from pipelines.onboarding import metadata_declare
    from pipelines.onboarding import sync as sync_contracts
    from pipelines.sources import write_sources

    settings = settings_of_repository()
    contracts = load_contracts(settings.contracts)
    for problem in contracts.problems:
        err.print(f"error: {problem}", style="red", markup=False, soft_wrap=True)
    # A file that can't be read must not take its source from the models that read it.
    written = not contracts.problems and write_sources(contracts, settings.root / "transformations")
    key = settings.metadata_api_key.get_secret_value()
    try:
        done = sync_contracts(
            contracts,
            settings.dsn("loader"),
            warehouse_namespace=warehouse_namespace(settings),
            emit=client_from(settings.metadata_url, key, str(settings.home / "lineage-spool")).emit,
            declare=metadata_declare(settings.metadata_url, key),
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        told = "dbt's sources are up to date, but the warehouse" if not contracts.problems else "the warehouse"
        raise PlatformError(f"{told} can't be reached: {reason}", "`dp up postgres metadata` starts it") from error
    if as_json:
        datasets = [{"dataset": item.dataset, "action": item.action, "message": item.message} for item in done]
        sys.stdout.write(json.dumps({"datasets": datasets, "sources_written": written}) + "\n")
    else:
        for item in done:
            colour = {"failed": "red", "unchanged": "dim", "waiting": "yellow"}.get(item.action, "green")
            out.print(f"{item.dataset}: [{colour}]{item.action}[/]", end=" " if item.message else "\n")
            if item.message:
                out.print(item.message, markup=False, soft_wrap=True)
        out.print("dbt's sources: " + ("written" if written else "as they were"))
    if contracts.problems or any(item.action == "failed" for item in done):
        raise typer.Exit(1)


def _place(domain: str, dataset: str) -> Path:
    return settings_of_repository().contracts / domain / f"{dataset}.odcs.yaml"


def _check_unknown(dataset: str, target: Path) -> None:
    """Refuse a dataset that another file describes: its folder in the bucket and its table are taken."""
    from data_quality.contract import load_contracts

    for contract in load_contracts(settings_of_repository().contracts):
        if dataset in (contract.name, contract.table) and Path(contract.path).resolve() != target.resolve():
            raise PlatformError(f"dataset {dataset!r} is described by {contract.path}", "choose another --dataset")


def _check_name(option: str, value: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", value):
        raise PlatformError(f"{option} {value!r} is no name", "lower-case letters, digits and _, 50 at most")


def _print_inference(found: Inference, target: Path | None) -> None:
    """Print the guesses. Where the contract itself is the output, they go to standard error."""
    console = err if target is None else out
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("column", "type", "why"):
        table.add_column(name, overflow="fold")
    for column in found.columns:
        flags = "".join((" key" if column.key_position else "", " pii" if column.personal else ""))
        told = "; ".join(column.why)
        doubt = f"\n[yellow]in doubt: {escape(column.guess.doubt)}[/]" if column.guess.doubt else ""
        name = column.name if column.name == column.column else f"{column.name} → {column.column}"
        table.add_row(escape(name), f"{column.guess.physical}[cyan]{flags}[/]", escape(told) + doubt)
    console.print(table)
    for note in found.notes:
        console.print(f"- {note}", markup=False)
    if found.rejected is None:
        console.print("[yellow]- the files are too large to try the contract on all of their rows[/]")
    elif found.rejected:
        console.print(f"[yellow]- tried on the files: {found.rejected:,} rows would be rejected[/]")
    else:
        console.print("[green]- tried on the files: no row is rejected[/]")
    if target is not None:
        console.print(f"\nwrote {target}; look at it, then `dp contract lint {target}`", markup=False, soft_wrap=True)


def _print_findings(findings: list[Finding], errors: int) -> None:
    for finding in findings:
        line = f":{finding.line}" if finding.line else ""
        colour = "red" if finding.level == "error" else "yellow"
        out.print(f"[{colour}]{finding.level}[/] ", end="")
        where = f"{finding.where}: " if finding.where else ""
        out.print(f"{finding.path}{line}: {where}{finding.message}", markup=False, soft_wrap=True)
        if finding.suggestion:
            out.print(f"        {finding.suggestion}", style="dim", markup=False, soft_wrap=True)
    warnings = len(findings) - errors
    out.print(f"{errors} errors, {warnings} warnings" if findings else "nothing to mend")
