"""`dp airflow`: the `airflow` command inside whichever stack is up, and what its database is made of."""

from __future__ import annotations

import typer
from psycopg import sql
from rich.table import Table

from dataplatform_cli.command import reported, settings_of_repository
from dataplatform_cli.display import err, out
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.kinds import running

app = typer.Typer(help="Airflow of the stack that is up.", no_args_is_help=True)

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command("cli", context_settings=PASS_ON)
@reported
def cli(context: typer.Context) -> None:
    """Run the `airflow` command inside the stack, for example `dp airflow cli dags list`."""
    raise typer.Exit(running(settings_of_repository()).airflow(context.args))


@app.command()
@reported
def connections() -> None:
    """Write the connections and pools of pipelines/config/connections.yaml again, and list them."""
    from dataplatform_cli.airflow_api import AirflowClient

    settings = settings_of_repository()
    running(settings).write_connections()
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("connection", "type", "address", "user", "what it is"):
        table.add_column(column)
    for item in AirflowClient(settings).connections():
        host = f"{item['host']}:{item['port']}" if item["host"] else ""
        place = "/".join(filter(None, (host, item["schema"] if item["conn_type"] == "postgres" else "")))
        words = (item["connection_id"], item["conn_type"], place, item["login"], item["description"])
        table.add_row(*(word or "" for word in words))
    out.print(table)


@app.command()
@reported
def reset(yes: bool = typer.Option(False, "--yes", help="Do not ask.")) -> None:
    """Throw Airflow's database away and make it anew. Buckets, warehouse and ledger stay; runs and their state go."""
    settings = settings_of_repository()
    stack = running(settings)
    if not yes:
        typer.confirm(f"Delete every run and log entry of Airflow ({settings.airflow_url})?", abort=True)
    err.print("stopping Airflow …")
    stack.stop_airflow()
    drop_database(settings)
    err.print("starting Airflow …")
    stack.start_airflow()
    out.print("Airflow's database is new")


def drop_database(settings: StackSettings) -> None:
    """Drop Airflow's database, whoever is still connected to it."""
    from dataplatform_cli.stack.postgres import connect

    with connect(settings) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier("airflow")))
