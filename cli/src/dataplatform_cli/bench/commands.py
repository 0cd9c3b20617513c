"""`dp bench …`: what the platform costs. Each command has scratch servers of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from dataplatform_cli.command import Json, reported, settings_of_repository
from dataplatform_cli.errors import PlatformError

app = typer.Typer(help="Measure what the platform costs, beside its limit and its peers.", no_args_is_help=True)


def _tell(figures: dict[str, Any], print_report: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        print_report(figures)


@app.command()
@reported
def ingest(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the large file.")] = 2_000_000,
    files: Annotated[int, typer.Option(min=1, help="Small files of 100 rows, for the scenario files.")] = 10_000,
    scenarios: Annotated[str, typer.Option(help="Some of first,upsert,delta,files,memory.")] = "first,upsert,delta",
    ways: Annotated[str, typer.Option(help="Some of copy,ours,dlt,pandas.")] = "copy,ours,dlt,pandas",
    repeat: Annotated[int, typer.Option(min=1, help="Runs of copy and ours; the median counts.")] = 3,
    as_json: Json = False,
) -> None:
    """Load files on scratch servers: bare COPY as the limit, our way, dlt and pandas + ON CONFLICT."""
    from dataplatform_cli.bench.ingest import SCENARIOS, bench_ingest, print_report

    chosen = tuple(scenarios.split(","))
    if unknown := set(chosen) - set(SCENARIOS):
        raise PlatformError(f"there is no scenario {', '.join(sorted(unknown))}", f"known: {', '.join(SCENARIOS)}")
    figures = bench_ingest(settings_of_repository(), rows, files, chosen, tuple(ways.split(",")), repeat)
    _tell(figures, print_report, as_json)


@app.command()
@reported
def search(
    datasets: Annotated[int, typer.Option(min=1000, help="Datasets in the catalog.")] = 1_000_000,
    searches: Annotated[int, typer.Option(min=20, help="Searches of each kind.")] = 100,
    as_json: Json = False,
) -> None:
    """Search a large catalog through the metadata service: exact names, words, filters, typos."""
    from dataplatform_cli.bench.search import bench_search, print_report

    figures = bench_search(settings_of_repository(), datasets, searches)
    _tell(figures, print_report, as_json)


@app.command()
@reported
def lineage(
    datasets: Annotated[int, typer.Option(min=1000, help="Datasets in the graph, and as many jobs.")] = 100_000,
    edges: Annotated[int, typer.Option(min=1000, help="Edges between them.")] = 1_000_000,
    queries: Annotated[int, typer.Option(min=20, help="Questions of each kind.")] = 200,
    as_json: Json = False,
) -> None:
    """Ask the metadata service for lineage in a large graph: tables and columns, beside fetching the same by ids."""
    from dataplatform_cli.bench.lineage import bench_lineage, print_report

    figures = bench_lineage(settings_of_repository(), datasets, edges, queries)
    _tell(figures, print_report, as_json)


@app.command()
@reported
def tenants(
    datasets: Annotated[int, typer.Option(min=1000, help="Datasets in the graph, and as many jobs.")] = 100_000,
    edges: Annotated[int, typer.Option(min=1000, help="Edges between them.")] = 300_000,
    queries: Annotated[int, typer.Option(min=20, help="Questions of each kind.")] = 50,
    as_json: Json = False,
) -> None:
    """Ask the metadata service the same with a key that sees all and with one bound to namespaces."""
    from dataplatform_cli.bench.tenants import bench_tenants, print_report

    figures = bench_tenants(settings_of_repository(), datasets, edges, queries)
    _tell(figures, print_report, as_json)


@app.command()
@reported
def events(
    events: Annotated[
        int, typer.Option(min=1000, help="Events of each way; batches have five times as many.")
    ] = 10_000,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many send at the same time.")] = 16,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each way, after one to warm up; the median counts.")] = 3,
    stored: Annotated[int, typer.Option(min=0, help="Events that are stored beforehand.")] = 0,
    as_json: Json = False,
) -> None:
    """Store lineage events: bare INSERTs of the same JSON as the limit, single events, batches of 100."""
    from dataplatform_cli.bench.events import bench_events, print_report

    figures = bench_events(settings_of_repository(), events, clients, repeat, stored)
    _tell(figures, print_report, as_json)


@app.command()
@reported
def peers(
    events: Annotated[int, typer.Option(min=1000, help="Events for each, one a request.")] = 3_000,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many send at the same time.")] = 16,
    questions: Annotated[int, typer.Option(min=20, help="How often lineage is asked for.")] = 50,
    as_json: Json = False,
) -> None:
    """Send the same events to the metadata service and to a real Marquez (Java, Maven Central), and ask for lineage."""
    from dataplatform_cli.bench.maven import NoPeerError
    from dataplatform_cli.bench.peers import bench_peers, print_report

    try:
        figures = bench_peers(settings_of_repository(), events, clients, questions)
    except NoPeerError as error:
        sys.stderr.write(f"skipped: {error}\n")
        return
    _tell(figures, print_report, as_json)


@app.command()
@reported
def checks(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the table that is checked.")] = 2_000_000,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of the scan and of our checks; the median counts.")] = 5,
    gx: Annotated[bool, typer.Option(help="Whether Great Expectations runs beside ours.")] = True,
    as_json: Json = False,
) -> None:
    """Check a large table by 30 rules: bare scans, our checks, Great Expectations."""
    from dataplatform_cli.bench.checks import bench_checks, print_report

    _tell(bench_checks(settings_of_repository(), rows, repeat, gx), print_report, as_json)


@app.command()
@reported
def build(
    rows: Annotated[int, typer.Option(min=1000, help="Sales in the first build.")] = 2_000_000,
    as_json: Json = False,
) -> None:
    """Build and publish the marts of many sales, then again after one percent of them has changed."""
    from dataplatform_cli.bench.build import bench_build, print_report

    _tell(bench_build(settings_of_repository(), rows), print_report, as_json)


@app.command()
@reported
def monitors(
    checks: Annotated[int, typer.Option(min=1000, help="Normal deliveries that are judged.")] = 10_000,
    seed: Annotated[int, typer.Option(help="What the histories are generated from.")] = 1,
    as_json: Json = False,
) -> None:
    """Judge generated deliveries by their history: how many planted anomalies are found, how many alarms are false."""
    from dataplatform_cli.bench.monitors import bench_monitors, print_report

    _tell(bench_monitors(checks, seed), print_report, as_json)


@app.command()
@reported
def sdk(
    calls: Annotated[int, typer.Option(min=100, help="Calls of each way, hub and pace.")] = 5_000,
    as_json: Json = False,
) -> None:
    """Call functions decorated by the lineage SDK with the hub up, slow and down, beside the bare function."""
    from dataplatform_cli.bench.sdk import bench_sdk, print_report

    _tell(bench_sdk(settings_of_repository(), calls), print_report, as_json)


@app.command()
@reported
def hub(
    events: Annotated[int, typer.Option(min=1000, help="Events of each way, 100 a request.")] = 40_000,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many send at the same time.")] = 8,
    spans: Annotated[int, typer.Option(min=10_000, help="Spans of each way, 10,000 a batch.")] = 200_000,
    as_json: Json = False,
) -> None:
    """Send lineage through API and Kafka into the store, beside a bare producer and consumer; write spans, likewise."""
    from dataplatform_cli.bench.hub import bench_hub, print_report

    _tell(bench_hub(settings_of_repository(), events, clients, spans), print_report, as_json)
